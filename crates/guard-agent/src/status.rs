//! The status loop's errand: telling the backend how this agent is.

use std::time::Duration;

use guard_wire::status::{Health, StatusReport};
use jiff::Timestamp;

use crate::delivery::breaker::BreakerState;
use crate::delivery::classify::{Verdict, because, classify};
use crate::shared::Shared;
use crate::sync::lock;

const PATH: &str = "/api/v1/status";

/// Above this share of its limits the buffer makes the agent degraded.
pub const DEGRADED_FILL: f64 = 0.90;
/// Above this share of failed attempts the agent is degraded.
pub const DEGRADED_FAILURES: f64 = 0.10;
/// Above this share of its limits the buffer makes the agent fail.
pub const FAILED_FILL: f64 = 0.95;
/// Above this share of failed attempts the agent fails.
pub const FAILED_FAILURES: f64 = 0.50;

/// How soon a report tells of other rules, or that some were refused. What happens
/// meanwhile is in the same report.
pub const STATUS_CHANGE_DELAY: Duration = Duration::from_secs(5);
/// The share of that by which reports are earlier, so that not all agents report at once.
pub const STATUS_CHANGE_JITTER: f64 = 0.4;

/// How the agent is, from the numbers at hand.
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

/// Posts one report. A failure is counted, not repeated: the next report says
/// the same and more.
pub(crate) async fn push(shared: &Shared) {
    let body = serde_json::to_vec(&report(shared)).unwrap_or_default();
    post(shared, body).await;
}

/// Posts a report's JSON; whether it was taken.
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
        agent_version: shared.config.settings.agent_version.clone(),
        hostname: gethostname::gethostname().to_string_lossy().into_owned(),
        pid: std::process::id(),
        ledger: ledger.report(),
        rules_version: shared
            .rules
            .version(Timestamp::try_from(wall).unwrap_or_default()),
    }
}
