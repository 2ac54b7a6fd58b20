//! A program that uses guard-agent-rs as documented: what `client.py` is for the agents in Python.
//!
//! Reads from stdin `{"config": {...}, "events": [...], "metrics": [...]}`: fields of the agent's
//! configuration, and records. Records without a timestamp happen now.

use std::error::Error;

use guard_agent_rs::{AgentConfig, GuardAgent, MetricType, SecurityEvent, SecurityMetric};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Task {
    config: Config,
    events: Vec<Map<String, Value>>,
    metrics: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    api_key: String,
    endpoint: String,
    project_id: String,
    buffer_size: usize,
    payload_signing_secret: Option<String>,
    project_encryption_key: Option<String>,
    compression_enabled: Option<bool>,
    compression_threshold: Option<usize>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let task: Task = serde_json::from_reader(std::io::stdin())?;
    let mut config = AgentConfig::new(task.config.api_key);
    config.endpoint = task.config.endpoint;
    config.project_id = Some(task.config.project_id);
    config.buffer_size = task.config.buffer_size;
    config.payload_signing_secret = task.config.payload_signing_secret;
    config.project_encryption_key = task.config.project_encryption_key;
    config.compression_enabled = task.config.compression_enabled.unwrap_or(false);
    config.compression_threshold = task.config.compression_threshold.unwrap_or(1024);
    let agent = GuardAgent::new(config)?;
    agent.start().await;
    for fields in task.events {
        agent
            .send_event(with(SecurityEvent::new(""), fields)?)
            .await;
    }
    for fields in task.metrics {
        let metric_type: MetricType = serde_json::from_value(fields["metric_type"].clone())?;
        let metric = with(SecurityMetric::new(metric_type, 0.0), fields)?;
        agent.send_metric(metric).await;
    }
    agent.stop().await;
    Ok(())
}

/// A record of now, with these fields.
fn with<T: Serialize + DeserializeOwned>(
    record: T,
    fields: Map<String, Value>,
) -> serde_json::Result<T> {
    let mut all: Map<String, Value> = serde_json::from_value(serde_json::to_value(record)?)?;
    all.extend(fields);
    serde_json::from_value(Value::Object(all))
}
