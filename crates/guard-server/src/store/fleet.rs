//! Agents that ask for rules: what is heard of each, and what is known by that.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::ProjectId;

/// An agent that asks for rules and was not heard of for this long is forgotten.
pub const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// An agent that was not heard of for this long makes way for a new one, when as many
/// as may be are remembered. Agents report every five minutes.
pub const MAKES_WAY_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Who sent a request, as its headers say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct AgentId {
    /// The installation.
    pub install_id: String,
    /// The process; empty for agents that do not name it.
    pub process: String,
    /// The agent and its version: its `User-Agent`.
    pub agent: String,
}

/// Something heard of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Whose agent.
    pub project: ProjectId,
    /// Which.
    pub agent: AgentId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Heard,
}

/// What was heard. Only agents that ask for rules are remembered; what others say
/// is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It asked for the rules.
    Asked {
        /// Whether the request may be held until they change.
        holds: bool,
    },
    /// It was answered this version, or has it already.
    Fetched(i64),
    /// Its guard applied this version. Counts only if the agent has fetched it:
    /// events can be delivered by another agent than the one they come from.
    Applied(i64),
    /// It reported its status.
    Reported {
        /// The version in force.
        in_force: Option<i64>,
        /// Why it refused a document, if it did.
        refused: Option<String>,
    },
}

/// A version, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Since {
    /// The version.
    pub version: i64,
    /// Since when.
    pub at: Timestamp,
}

/// An agent that asks for rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Follower {
    /// Which.
    #[serde(flatten)]
    pub id: AgentId,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// When it last asked.
    pub asked_at: Timestamp,
    /// Whether its requests may be held, so that it hears of changes at once.
    pub holds: bool,
    /// The time between its last two requests.
    #[serde(rename = "interval_s", serialize_with = "seconds")]
    pub interval: Option<SignedDuration>,
    /// The newest version it got.
    pub fetched: Option<Since>,
    /// The newest version that its guard applied, by its events.
    pub applied: Option<Since>,
    /// The version in force, by its last status report.
    pub in_force: Option<i64>,
    /// Why it refused a document, by its last status report.
    pub refused: Option<String>,
    /// When it last reported its status.
    pub reported_at: Option<Timestamp>,
}

fn seconds<S: serde::Serializer>(
    interval: &Option<SignedDuration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    interval
        .map(|interval| interval.as_millis_f64() / 1000.0)
        .serialize(serializer)
}
