//! Statistics of an agent.

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

/// Statistics of an agent at one moment.
#[derive(Debug, Clone)]
pub struct Stats {
    /// True if the worker runs.
    pub running: bool,
    /// Time since the agent was created.
    pub uptime: Duration,
    /// Counts of all records and their outcomes.
    pub ledger: Ledger,
    /// Events waiting for a send.
    pub events_waiting: usize,
    /// Metrics waiting for a send.
    pub metrics_waiting: usize,
    /// Bytes that wait or are in flight.
    pub buffered_bytes: usize,
    /// Used share of the buffer limit that is closer to being reached.
    pub buffer_fill: f64,
    /// State of the circuit breaker.
    pub breaker: BreakerState,
    /// Number of consecutive failures.
    pub breaker_failures: u32,
    /// Statistics about requests.
    pub requests: RequestStats,
    /// Health of the agent.
    pub health: Health,
    /// True if rules are in force.
    pub has_rules: bool,
    /// Version of the rules.
    pub rules_version: Option<i64>,
    /// Time when rules were last accepted.
    pub rules_updated: Option<Timestamp>,
    /// Saving state, if there is a store.
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
