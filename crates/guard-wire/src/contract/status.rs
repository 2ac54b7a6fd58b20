//! The status report of an agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Prefix of the entry in [`StatusReport::errors`] that says why rules were refused.
pub const RULES_REFUSED: &str = "rules refused: ";

/// The health of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Records are delivered.
    Healthy,
    /// The circuit breaker is open, the buffer is nearly full, or many sends fail.
    Degraded,
    /// Nothing is delivered.
    Failed,
}

/// How many records an agent accepted, and where they are now. It always holds that
/// `accepted = delivered + queued + spooled + dropped`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerReport {
    /// Records that the application passed to the agent.
    pub accepted: u64,
    /// Confirmed by the backend.
    pub delivered: u64,
    /// In memory.
    pub queued: u64,
    /// On disk or in Redis.
    pub spooled: u64,
    /// Lost, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl LedgerReport {
    /// Whether every accepted record is accounted for.
    pub fn is_balanced(&self) -> bool {
        let dropped: u64 = self.dropped.values().sum();
        self.accepted == self.delivered + self.queued + self.spooled + dropped
    }
}

/// The body of `POST /api/v1/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReport {
    /// RFC 3339.
    pub timestamp: String,
    /// The agent's health.
    pub status: Health,
    /// Seconds since it started.
    pub uptime: f64,
    /// Events delivered.
    pub events_sent: u64,
    /// Events lost.
    pub events_failed: u64,
    /// Records in memory.
    pub buffer_size: u64,
    /// When a batch was last delivered, RFC 3339.
    pub last_flush: Option<String>,
    /// Recent errors, the newest last.
    pub errors: Vec<String>,
    /// Identifies the installation; stable across restarts.
    pub install_id: String,
    /// The agent's name, for people.
    #[serde(default)]
    pub agent_name: String,
    /// The agent's version.
    pub agent_version: String,
    /// The host name.
    pub hostname: String,
    /// The process id.
    pub pid: u32,
    /// The ledger of all records.
    pub ledger: LedgerReport,
    /// The version of the rules in force; left out while there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_version: Option<i64>,
}
