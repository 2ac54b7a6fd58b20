//! The defaults and limits of the settings, for `guard_agent.config`. They are defined in
//! [`guard_agent::defaults`].

use std::time::Duration;

use guard_agent::defaults::*;
use guard_agent::limits::FIRST_SEND_DELAY;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Adds the constants to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("DEFAULTS", defaults(module.py())?)?;
    module.add("MINIMUMS", minimums(module.py())?)?;
    module.add("FIRST_SEND_SECONDS", FIRST_SEND_DELAY.as_secs_f64())
}

/// The default of each field of `AgentConfig` that has one in Rust.
fn defaults(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("endpoint", DEFAULT_ENDPOINT)?;
    dict.set_item("buffer_size", DEFAULT_BUFFER_SIZE)?;
    dict.set_item("flush_interval", seconds(DEFAULT_FLUSH_INTERVAL))?;
    dict.set_item("dynamic_rule_interval", seconds(DEFAULT_RULES_INTERVAL))?;
    dict.set_item("status_interval", seconds(DEFAULT_STATUS_INTERVAL))?;
    dict.set_item("high_watermark_ratio", DEFAULT_HIGH_WATERMARK)?;
    dict.set_item("max_concurrent_flushes", DEFAULT_CONCURRENT_FLUSHES)?;
    dict.set_item("retry_attempts", DEFAULT_RETRY_ATTEMPTS)?;
    dict.set_item("timeout", seconds(DEFAULT_TIMEOUT))?;
    dict.set_item("backoff_factor", DEFAULT_BACKOFF_FACTOR)?;
    dict.set_item("sensitive_headers", DEFAULT_SENSITIVE_HEADERS)?;
    dict.set_item("max_payload_size", DEFAULT_MAX_PAYLOAD_SIZE)?;
    dict.set_item("compression_threshold", DEFAULT_COMPRESSION_THRESHOLD)?;
    dict.set_item("max_buffered", DEFAULT_MAX_BUFFERED)?;
    dict.set_item("max_buffer_bytes", DEFAULT_MAX_BUFFER_BYTES)?;
    dict.set_item("max_batch_bytes", DEFAULT_MAX_BATCH_BYTES)?;
    dict.set_item("spool_max_bytes", DEFAULT_SPOOL_MAX_BYTES)?;
    dict.set_item("redis_max_bytes", DEFAULT_REDIS_MAX_BYTES)?;
    Ok(dict)
}

/// The smallest accepted value of each field that has one above 1.
fn minimums(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("api_key", MIN_API_KEY)?;
    dict.set_item("dynamic_rule_interval", seconds(MIN_RULES_INTERVAL))?;
    dict.set_item("status_interval", seconds(MIN_STATUS_INTERVAL))?;
    dict.set_item("max_batch_bytes", MIN_BATCH_BYTES)?;
    dict.set_item("spool_max_bytes", MIN_SPOOL_MAX_BYTES)?;
    dict.set_item("spool_batches", MIN_SPOOL_BATCHES)?;
    dict.set_item("redis_max_bytes", MIN_REDIS_MAX_BYTES)?;
    Ok(dict)
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}
