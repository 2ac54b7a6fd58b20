//! The agents of projects: their status reports, and what is known of those that ask for rules.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{BoxFuture, ProjectId};

/// The sender of a request, by its headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct AgentId {
    /// The installation.
    pub install_id: String,
    /// The process; empty for agents that do not name it.
    pub process: String,
    /// The agent and its version: its `User-Agent`.
    pub agent: String,
}

/// A signal received from an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckIn {
    /// The project of the agent.
    pub project: ProjectId,
    /// The agent.
    pub agent: AgentId,
    /// When.
    pub at: Timestamp,
    /// What it said.
    pub signal: AgentSignal,
}

/// What an agent said. Only agents that ask for rules are remembered; the signals of
/// others are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSignal {
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
pub struct RuleSubscriber {
    /// The agent.
    #[serde(flatten)]
    pub id: AgentId,
    /// When it last sent a signal.
    pub seen_at: Timestamp,
    /// When it last asked.
    pub asked_at: Timestamp,
    /// Whether its requests may be held, so that it learns of changes at once.
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

/// The latest report of one installation.
#[derive(Debug)]
pub struct StatusReport {
    /// The project.
    pub project: ProjectId,
    /// The installation it comes from.
    pub install_id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The JSON object as it came.
    pub body: String,
}

/// The latest report of one installation, as queries answer it.
#[derive(Debug, Serialize)]
pub struct AgentReport {
    /// The installation.
    pub install_id: String,
    /// When the report came.
    pub received_at: Timestamp,
    /// The report as it came.
    pub status: Box<RawValue>,
}

/// How many installs or processes of a project are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// At most this many.
    pub installs: u32,
    /// When all places are taken, the one that was silent for longest gives its place to a
    /// new one, if it was silent for this long. Otherwise the new one is left out.
    pub silent_for: SignedDuration,
}

/// How check-ins change what is known of subscribers.
#[derive(Debug, Clone, Copy)]
pub struct SubscriberPolicy {
    /// Makes of what was known what is known after a check-in; `None` if the agent is not
    /// a subscriber.
    pub apply: fn(Option<RuleSubscriber>, &CheckIn) -> Option<RuleSubscriber>,
    /// How many are remembered.
    pub room: Room,
    /// A subscriber that was silent for longer than this is removed.
    pub forget_after: SignedDuration,
}

/// The agents of projects.
pub trait Fleet: Send + Sync {
    /// Applies check-ins in this order, all or none. Returns how many agents there was no
    /// room for.
    fn save_check_ins(
        &self,
        check_ins: Arc<[CheckIn]>,
        policy: SubscriberPolicy,
    ) -> BoxFuture<'_, u64>;

    /// The agents that ask for the rules of a project, by installation and process.
    fn subscribers(&self, project: ProjectId) -> BoxFuture<'_, Vec<RuleSubscriber>>;

    /// Keeps the latest report of an installation. Returns whether there was room for it.
    fn save_report(&self, report: StatusReport, room: Room) -> BoxFuture<'_, bool>;

    /// The latest reports, newest first: at most `limit`, up to the one by which they hold
    /// `bytes` bytes of JSON.
    fn reports(
        &self,
        project: ProjectId,
        limit: u16,
        bytes: usize,
    ) -> BoxFuture<'_, Vec<AgentReport>>;

    /// Moves the times of all agents: the clock was set by this much.
    fn shift_times(&self, by: SignedDuration) -> BoxFuture<'_, ()>;
}
