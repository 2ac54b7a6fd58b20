//! What a record costs guard-agent-rs.

use std::error::Error;

use guard_agent_rs::{AgentConfig, GuardAgent, SecurityEvent};
use record::Subject;
use serde_json::json;
use tokio::runtime::Runtime;

struct Peer {
    runtime: Runtime,
    agent: GuardAgent,
}

impl Subject for Peer {
    type Event = SecurityEvent;

    fn event(index: usize) -> SecurityEvent {
        SecurityEvent::new("suspicious_request")
            .with_ip_address("203.0.113.7")
            .with_user_agent("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
            .with_endpoint("/api/v1/items")
            .with_method("GET")
            .with_action_taken("blocked")
            .with_reason("SQL injection pattern in query parameter id")
            .with_status_code(403)
            .with_response_time(0.0042)
            .with_metadata(json!({"sequence": index, "guard.threat_score": 0.9}))
    }

    fn send_all(&self, events: impl Iterator<Item = SecurityEvent>) {
        self.runtime.block_on(async {
            for event in events {
                self.agent.send_event(event).await;
            }
        });
    }

    fn flush(&self) {
        self.runtime.block_on(self.agent.flush_buffer());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    record::run(|sink, capacity, _holds| {
        let mut config = AgentConfig::new("benchmark-key-1234567890");
        config.endpoint = sink.to_owned();
        config.buffer_size = capacity;
        let agent = GuardAgent::new(config)?;
        runtime.block_on(agent.start());
        Ok(Peer { runtime, agent })
    })
}
