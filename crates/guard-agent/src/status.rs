//! Status reports: sends the agent's state to the backend.

use std::time::Duration;

use guard_wire::status::{Health, StatusReport};
use jiff::Timestamp;

use crate::delivery::breaker::BreakerState;
use crate::delivery::classify::{Verdict, because, classify};
use crate::shared::Shared;
use crate::sync::lock;

const PATH: &str = "/api/v1/status";

/// The agent counts as degraded if its buffer is filled beyond this share.
pub const DEGRADED_FILL: f64 = 0.90;
/// The agent counts as degraded if more than this share of attempts failed.
pub const DEGRADED_FAILURES: f64 = 0.10;
/// The agent counts as failed if its buffer is filled beyond this share.
pub const FAILED_FILL: f64 = 0.95;
/// The agent counts as failed if more than this share of attempts failed.
pub const FAILED_FAILURES: f64 = 0.50;

/// Delay of a report after rules changed or were refused. Further changes in this time are in
/// the same report.
pub const STATUS_CHANGE_DELAY: Duration = Duration::from_secs(5);
/// Share of the delay by which reports may be earlier, so that not all agents report at once.
pub const STATUS_CHANGE_JITTER: f64 = 0.4;

/// Health of the agent, from the current statistics.
pub(crate) fn health(shared: &Shared) -> Health {
    let fill = shared.queue.fill().ratio;
    let requests = shared.requests.stats();
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let failures = requests.requests_failed as f64 / requests.requests_sent.max(1) as f64;
    let is_closed = lock(&shared.throttle).breaker.state() == BreakerState::Closed;
    if fill > FAILED_FILL || failures > FAILED_FAILURES {
        Health::Failed
    } else if !is_closed || fill > DEGRADED_FILL || failures > DEGRADED_FAILURES {
        Health::Degraded
    } else {
        Health::Healthy
    }
}

/// Posts one report. A failure is counted but not repeated, because the next report contains
/// the same data and more.
pub(crate) async fn push(shared: &Shared) {
    let body = serde_json::to_vec(&report(shared)).unwrap_or_default();
    post(shared, body).await;
}

/// Posts the JSON of a report. Returns true if the backend accepted it.
pub(crate) async fn post(shared: &Shared, body: Vec<u8>) -> bool {
    let answer = shared.exchange(shared.sealer.post(PATH, body)).await;
    let verdict = classify(&answer, shared.clock().wall());
    let is_ok = verdict == Verdict::Delivered;
    shared.requests.status_pushed(is_ok);
    if !is_ok {
        shared.warn("status", "status_report", || {
            let why = match verdict {
                Verdict::Retry(error) | Verdict::Wait(_, error) => error.message(),
                Verdict::Refused(reason) => {
                    format!("backend refused it{}", because(reason.as_deref(), ""))
                }
                Verdict::Delivered | Verdict::TooLarge => "backend refused it".to_owned(),
            };
            format!("status report failed: {why}")
        });
    }
    is_ok
}

fn report(shared: &Shared) -> StatusReport {
    let requests = shared.requests.stats();
    let ledger = shared.queue.ledger();
    let events = ledger.account(guard_wire::Kind::Event);
    let wall = shared.clock().wall();
    StatusReport {
        timestamp: Timestamp::try_from(wall).unwrap_or_default().to_string(),
        status: health(shared),
        uptime: (shared.clock().now() - shared.requests.started).as_secs_f64(),
        events_sent: events.delivered,
        events_failed: events.failed(),
        buffer_size: shared.queue.fill().items as u64,
        last_flush: requests.last_delivery.map(|at| at.to_string()),
        errors: requests.recent_errors,
        install_id: shared.install_id.clone(),
        agent_name: shared.config.settings.agent_name(),
        agent_version: shared.config.settings.agent_version.clone(),
        hostname: gethostname::gethostname().to_string_lossy().into_owned(),
        pid: std::process::id(),
        ledger: ledger.report(),
        rules_version: shared
            .rules
            .version(Timestamp::try_from(wall).unwrap_or_default()),
    }
}
