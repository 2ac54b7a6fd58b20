//! What an agent reports of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How an entry of [`StatusReport::errors`] begins that says why rules were refused.
pub const RULES_REFUSED: &str = "rules refused: ";

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Records are delivered.
    Healthy,
    /// The breaker is open, the buffer nearly full, or many sends fail.
    Degraded,
    /// Nothing is delivered.
    Failed,
}

/// How many records an agent took and what became of them:
/// `accepted = delivered + queued + spooled + dropped`, always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerReport {
    /// Handed in.
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
    /// How the agent is.
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
    /// What went wrong lately, newest last.
    pub errors: Vec<String>,
    /// The installation, stable over restarts.
    pub install_id: String,
    /// The agent's version.
    pub agent_version: String,
    /// The machine's name.
    pub hostname: String,
    /// The process.
    pub pid: u32,
    /// Every record accounted for.
    pub ledger: LedgerReport,
    /// The version of the rules in force; left out while there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_version: Option<i64>,
}
