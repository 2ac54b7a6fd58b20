//! The core's counters as a dict.

use guard_agent::stats::{Account, BreakerState, LossReason};
use guard_agent::{Health, Stats};
use guard_wire::Kind;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A flat dict with one nested dict for each kind of record.
pub(crate) fn dict<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let requests = &stats.requests;
    let dict = PyDict::new(py);
    dict.set_item("running", stats.running)?;
    dict.set_item("uptime", stats.uptime.as_secs_f64())?;
    dict.set_item("health", health(stats.health))?;
    dict.set_item("events", account(py, stats.ledger.account(Kind::Event))?)?;
    dict.set_item("metrics", account(py, stats.ledger.account(Kind::Metric))?)?;
    dict.set_item("ledger", ledger(py, stats)?)?;
    dict.set_item("buffer_fill", stats.buffer_fill)?;
    dict.set_item("circuit_breaker_state", breaker(stats.breaker))?;
    dict.set_item("failure_count", stats.breaker_failures)?;
    dict.set_item("requests_sent", requests.requests_sent)?;
    dict.set_item("requests_failed", requests.requests_failed)?;
    dict.set_item("bytes_sent", requests.bytes_sent)?;
    dict.set_item("status_failures", requests.status_failures)?;
    dict.set_item("rules_failures", requests.rules_failures)?;
    dict.set_item("rules_fetched", requests.rules_fetched)?;
    dict.set_item("has_rules", stats.has_rules)?;
    dict.set_item("rules_version", stats.rules_version)?;
    let updated = stats.rules_updated.map(|at| at.as_duration().as_secs_f64());
    dict.set_item("rules_updated", updated)?;
    let delivery = requests
        .last_delivery
        .map(|at| at.as_duration().as_secs_f64());
    dict.set_item("last_delivery", delivery)?;
    dict.set_item("last_status_ok", requests.last_status_ok)?;
    dict.set_item("recent_errors", &requests.recent_errors)?;
    dict.set_item("internal_errors", requests.internal_errors)?;
    dict.set_item("durability", durability(py, stats)?)?;
    Ok(dict)
}

fn account<'py>(py: Python<'py>, account: &Account) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("accepted", account.accepted)?;
    dict.set_item("delivered", account.delivered)?;
    dict.set_item("queued", account.queued)?;
    dict.set_item("dropped", account.failed())?;
    dict.set_item("withdrawn", account.dropped(LossReason::Withdrawn))?;
    Ok(dict)
}

fn ledger<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let report = stats.ledger.report();
    let dict = PyDict::new(py);
    dict.set_item("accepted", report.accepted)?;
    dict.set_item("delivered", report.delivered)?;
    dict.set_item("queued", report.queued)?;
    dict.set_item("spooled", report.spooled)?;
    dict.set_item("dropped", report.dropped)?;
    Ok(dict)
}

/// The store's contents and condition; None without a store.
fn durability<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(durability) = &stats.durability else {
        return Ok(None);
    };
    let recovered = Kind::ALL.map(|kind| stats.ledger.account(kind).recovered);
    let dict = PyDict::new(py);
    dict.set_item("degraded", durability.degraded)?;
    dict.set_item("failures", durability.failures)?;
    dict.set_item("records", durability.usage.records)?;
    dict.set_item("bytes", durability.usage.bytes)?;
    dict.set_item("quarantined", durability.usage.quarantined)?;
    dict.set_item("recovered", recovered.iter().sum::<u64>())?;
    Ok(Some(dict))
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Failed => "failed",
    }
}

fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "CLOSED",
        BreakerState::Open => "OPEN",
        BreakerState::HalfOpen => "HALF_OPEN",
    }
}
