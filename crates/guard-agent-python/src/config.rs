//! Converts `guard_agent.AgentConfig` to the core's builder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use guard_agent::clock::SystemClock;
use guard_agent::store::SpoolFsync;
use guard_agent::store::keyvalue::{KeyValueOptions, KeyValueStore};
use guard_agent::{Agent, AgentBuilder, Anonymize, OverflowPolicy, default_name};
use guard_wire::encode::Encoder;
use guard_wire::redact::Redactor;
use pyo3::intern;
use pyo3::prelude::*;

use crate::errors::value_error;
use crate::keyvalue::Calls;
use crate::report;
use crate::transport::Requests;

/// Longer than any useful wait. A longer duration would overflow a clock.
const MAX_SECONDS: u64 = 10 * 365 * 86_400;

/// Creates the builder for `config`. `report` receives the agent's reports; `transport`
/// replaces HTTP.
pub(crate) fn builder(
    config: &Bound<'_, PyAny>,
    report: Py<PyAny>,
    transport: Option<&Requests>,
) -> PyResult<AgentBuilder> {
    let mut builder = Agent::builder(read::<String>(config, "api_key")?)
        .endpoint(read::<String>(config, "endpoint")?)
        .buffer_size(read(config, "buffer_size")?)
        .flush_interval(seconds(config, "flush_interval")?)
        .high_watermark_ratio(read(config, "high_watermark_ratio")?)
        .max_concurrent_flushes(read(config, "max_concurrent_flushes")?)
        .max_buffer_bytes(read(config, "max_buffer_bytes")?)
        .max_batch_bytes(read(config, "max_batch_bytes")?)
        .overflow_policy(policy(config)?)
        .enable_events(read(config, "enable_events")?)
        .enable_metrics(read(config, "enable_metrics")?)
        .retry_attempts(read(config, "retry_attempts")?)
        .backoff_factor(read(config, "backoff_factor")?)
        .timeout(seconds(config, "timeout")?)
        .max_payload_size(read(config, "max_payload_size")?)
        .anonymize(anonymize(config)?)
        .sensitive_headers(read(config, "sensitive_headers")?)
        .compression_enabled(read(config, "compression_enabled")?)
        .compression_threshold(read(config, "compression_threshold")?)
        .status_interval(seconds(config, "status_interval")?)
        .dynamic_rule_interval(seconds(config, "dynamic_rule_interval")?)
        .spool_max_bytes(read(config, "spool_max_bytes")?)
        .spool_fsync(fsync(config)?)
        .redis_max_bytes(read(config, "redis_max_bytes")?)
        .on_report(report::hook(report));
    if let Some(path) = read::<Option<PathBuf>>(config, "rules_cache_path")? {
        builder = builder.rules_cache_path(path);
    }
    if let Some(id) = read::<Option<String>>(config, "project_id")? {
        builder = builder.project_id(id);
    }
    if let Some(directory) = read::<Option<PathBuf>>(config, "spool_dir")? {
        builder = builder.spool_dir(directory);
    }
    if let Some(url) = read::<Option<String>>(config, "redis_url")? {
        builder = builder.redis_url(url);
    }
    if let Some(limit) = read::<Option<usize>>(config, "max_buffered")? {
        builder = builder.max_buffered(limit);
    }
    if let Some(requests) = transport {
        // Python reads the bodies, so they are not compressed or encrypted.
        let transport = requests.transport(seconds(config, "timeout")?);
        builder = builder.transport(transport).compression_enabled(false);
    } else if let Some(key) = read::<Option<String>>(config, "project_encryption_key")? {
        builder = builder.project_encryption_key(key);
    }
    if let Some(secret) = read::<Option<String>>(config, "payload_signing_secret")? {
        builder = builder.payload_signing_secret(secret);
    }
    if let Some(version) = read::<Option<String>>(config, "guard_version")? {
        builder = builder.guard_version(version);
    }
    if let Some(version) = read::<Option<String>>(config, "guard_core_version")? {
        builder = builder.guard_core_version(version);
    }
    if let Some(id) = read::<Option<String>>(config, "install_id")? {
        builder = builder.install_id(id);
    }
    let name = read::<Option<String>>(config, "name")?;
    Ok(builder.name(name.unwrap_or_else(|| default_name(&program(config.py())))))
}

/// The name of the Python program, from `sys.argv`.
fn program(py: Python<'_>) -> String {
    let called = || -> PyResult<String> {
        py.import(intern!(py, "sys"))?
            .getattr(intern!(py, "argv"))?
            .get_item(0)?
            .extract()
    };
    let called = called().unwrap_or_default();
    let path = Path::new(&called);
    // Under `python -m`, it is the path of a package's `__main__.py`.
    let is_package = path.file_name().is_some_and(|name| name == "__main__.py");
    let path = if is_package {
        path.parent()
    } else {
        Some(path)
    };
    let name = path.and_then(Path::file_stem).unwrap_or_default();
    match name.to_string_lossy() {
        // The interpreter itself: an interactive session, or `python -c`.
        name if name.is_empty() || name.starts_with('-') => "python".to_owned(),
        name => name.into_owned(),
    }
}

/// Saves the records in the key-value store behind `calls`.
pub(crate) fn keep_in(
    builder: AgentBuilder,
    config: &Bound<'_, PyAny>,
    calls: &Calls,
) -> PyResult<AgentBuilder> {
    let client = calls.client();
    let redactor = Redactor::new(read::<Vec<String>>(config, "sensitive_headers")?);
    let max_text = read(config, "max_payload_size")?;
    let max_record = read(config, "max_batch_bytes")?;
    let anonymize = anonymize(config)?;
    let max_bytes = read(config, "spool_max_bytes")?;
    Ok(builder.store(move || {
        let encoder = Encoder::new(redactor.clone(), max_text, max_record);
        let options = KeyValueOptions {
            max_bytes,
            encoder: encoder.anonymize(anonymize.clone()),
            clock: Arc::new(SystemClock),
        };
        Ok(Box::new(KeyValueStore::new(client.clone(), options)))
    }))
}

/// Reads one field. `AgentConfig` has checked its type, but its range may not fit.
fn read<'py, T>(config: &Bound<'py, PyAny>, name: &str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    let value = config.getattr(name)?;
    value
        .extract()
        .map_err(|_| value_error(format!("{name}: out of range; give a smaller number")))
}

fn seconds(config: &Bound<'_, PyAny>, name: &str) -> PyResult<Duration> {
    let seconds: u64 = read(config, name)?;
    Ok(Duration::from_secs(seconds.min(MAX_SECONDS)))
}

fn policy(config: &Bound<'_, PyAny>) -> PyResult<OverflowPolicy> {
    match read::<String>(config, "buffer_overflow_policy")?.as_str() {
        "block" => Ok(OverflowPolicy::Block),
        "raise" => Ok(OverflowPolicy::Raise),
        "drop" => Ok(OverflowPolicy::Drop),
        other => Err(value_error(format!(
            "buffer_overflow_policy: {other:?} is unknown; give drop, block or raise"
        ))),
    }
}

fn fsync(config: &Bound<'_, PyAny>) -> PyResult<SpoolFsync> {
    match read::<String>(config, "spool_fsync")?.as_str() {
        "interval" => Ok(SpoolFsync::Interval),
        "always" => Ok(SpoolFsync::Always),
        other => Err(value_error(format!(
            "spool_fsync: {other:?} is unknown; give interval or always"
        ))),
    }
}

fn anonymize(config: &Bound<'_, PyAny>) -> PyResult<Anonymize> {
    match read::<String>(config, "anonymize_ip")?.as_str() {
        "none" => Ok(Anonymize::None),
        "truncate" => Ok(Anonymize::Truncate),
        "hash" => Ok(Anonymize::Hash {
            salt: read(config, "api_key")?,
        }),
        other => Err(value_error(format!(
            "anonymize_ip: {other:?} is unknown; give none, truncate or hash"
        ))),
    }
}
