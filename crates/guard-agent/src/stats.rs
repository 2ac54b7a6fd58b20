//! A look at an agent from outside.

use std::time::Duration;

use guard_wire::Kind;
pub use guard_wire::status::{Health, LedgerReport};
use jiff::Timestamp;

pub use crate::delivery::breaker::BreakerState;
pub use crate::ledger::{Account, Ledger, LossReason};
pub use crate::request_stats::RequestStats;
use crate::shared::Shared;
use crate::status;
pub use crate::store::durability::DurabilityStats;
use crate::sync::lock;

/// The numbers of an agent at one moment.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Whether the worker runs.
    pub running: bool,
    /// Since the agent was made.
    pub uptime: Duration,
    /// Every record accounted for.
    pub ledger: Ledger,
    /// Events waiting for a send.
    pub events_waiting: usize,
    /// Metrics waiting for a send.
    pub metrics_waiting: usize,
    /// Bytes waiting or in flight.
    pub buffered_bytes: usize,
    /// The nearer of the buffer's limits, as a share used.
    pub buffer_fill: f64,
    /// What the circuit breaker lets through.
    pub breaker: BreakerState,
    /// Failures in a row.
    pub breaker_failures: u32,
    /// About requests.
    pub requests: RequestStats,
    /// How the agent is.
    pub health: Health,
    /// Whether rules are known.
    pub has_rules: bool,
    /// Their version.
    pub rules_version: Option<i64>,
    /// When rules were last taken over.
    pub rules_updated: Option<Timestamp>,
    /// How well records are saved, if there is a store.
    pub durability: Option<DurabilityStats>,
}

impl Stats {
    pub(crate) fn of(shared: &Shared, running: bool) -> Self {
        let fill = shared.queue.fill();
        let now = shared.clock().now();
        let wall = Timestamp::try_from(shared.clock().wall()).unwrap_or_default();
        let (breaker, breaker_failures) = {
            let throttle = lock(&shared.throttle);
            (throttle.breaker.state(), throttle.breaker.failures())
        };
        let rules_version = shared.rules.version(wall);
        Self {
            running,
            uptime: now.saturating_duration_since(shared.requests.started),
            ledger: shared.queue.ledger(),
            events_waiting: fill.waiting[Kind::Event.index()],
            metrics_waiting: fill.waiting[Kind::Metric.index()],
            buffered_bytes: fill.bytes,
            buffer_fill: fill.ratio,
            breaker,
            breaker_failures,
            requests: shared.requests.stats(),
            health: status::health(shared),
            has_rules: rules_version.is_some(),
            rules_version,
            rules_updated: shared.rules.updated(),
            durability: shared
                .config
                .store
                .as_ref()
                .map(|_| shared.durability.stats()),
        }
    }
}
