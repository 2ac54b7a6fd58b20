//! The agents of projects: their status reports, and what is known of the agents that ask for
//! rules.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{BoxFuture, ProjectId};

/// The sender of a request, as its headers name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, ToSchema)]
pub struct AgentId {
    /// The installation.
    pub install_id: String,
    /// The process. Empty for agents that do not send it.
    pub process: String,
    /// The agent and its version, from `User-Agent`.
    pub agent: String,
}

/// A signal received from an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckIn {
    /// The project of the agent.
    pub project: ProjectId,
    /// The agent.
    pub agent: AgentId,
    /// When the signal came.
    pub at: Timestamp,
    /// The signal.
    pub signal: AgentSignal,
}

/// A signal from an agent. Only agents that ask for rules are remembered; signals of other agents
/// are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSignal {
    /// The agent asked for the rules.
    Asked {
        /// Whether the request may be held until the rules change.
        holds: bool,
    },
    /// The agent received this version, or has it already.
    Fetched(i64),
    /// The agent's guard applied this version. Counts only if the agent has fetched it: an event
    /// can be delivered by another agent than the one that created it.
    Applied(i64),
    /// The agent reported its status.
    Reported {
        /// The version in force.
        in_force: Option<i64>,
        /// Why it refused a document, if it refused one.
        refused: Option<String>,
    },
}

/// A version and a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Since {
    /// The version.
    pub version: i64,
    /// When the agent reached the version.
    pub at: Timestamp,
}

/// An agent that asks for rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RuleSubscriber {
    /// The agent.
    #[serde(flatten)]
    pub id: AgentId,
    /// When it last sent a signal.
    pub seen_at: Timestamp,
    /// When it last asked for rules.
    pub asked_at: Timestamp,
    /// Whether its requests may be held. Such an agent learns of changes at once.
    pub holds: bool,
    /// The time between its last two requests.
    #[serde(rename = "interval_s", serialize_with = "seconds")]
    #[schema(value_type = Option<f64>, required = true)]
    pub interval: Option<SignedDuration>,
    /// The newest version it received.
    #[schema(required = true)]
    pub fetched: Option<Since>,
    /// The newest version that its guard applied, according to its events.
    #[schema(required = true)]
    pub applied: Option<Since>,
    /// The version in force, according to its last status report.
    #[schema(required = true)]
    pub in_force: Option<i64>,
    /// Why it refused a document, according to its last status report.
    #[schema(required = true)]
    pub refused: Option<String>,
    /// When it last reported its status.
    #[schema(required = true)]
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

/// The latest status report of an installation.
#[derive(Debug)]
pub struct StatusReport {
    /// The project.
    pub project: ProjectId,
    /// The installation that sent it.
    pub install_id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The JSON object as received.
    pub body: String,
}

/// The latest status report of an installation, as queries return it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentReport {
    /// The installation.
    pub install_id: String,
    /// When the report came.
    pub received_at: Timestamp,
    /// The report as received.
    #[schema(value_type = Object)]
    pub status: Box<RawValue>,
}

/// How many installs or processes of a project are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The limit.
    pub installs: u32,
    /// When all places are taken, a new agent replaces the one that was silent for longest, if that
    /// one was silent for this long. Otherwise the new one is left out.
    pub silent_for: SignedDuration,
}

/// How check-ins change the stored subscribers.
#[derive(Debug, Clone, Copy)]
pub struct SubscriberPolicy {
    /// Computes the subscriber after a check-in from the one before. `None` if the agent is not a
    /// subscriber.
    pub apply: fn(Option<RuleSubscriber>, &CheckIn) -> Option<RuleSubscriber>,
    /// How many subscribers are remembered.
    pub room: Room,
    /// A subscriber that was silent for longer than this is removed.
    pub forget_after: SignedDuration,
}

/// The agents of projects.
pub trait Fleet: Send + Sync {
    /// Applies check-ins in this order, all or none. Returns how many agents were left out for lack
    /// of room.
    fn save_check_ins(
        &self,
        check_ins: Arc<[CheckIn]>,
        policy: SubscriberPolicy,
    ) -> BoxFuture<'_, u64>;

    /// The agents that ask for the rules of a project, ordered by installation and process.
    fn subscribers(&self, project: ProjectId) -> BoxFuture<'_, Vec<RuleSubscriber>>;

    /// Stores the latest report of an installation. Returns whether there was room for it.
    fn save_report(&self, report: StatusReport, room: Room) -> BoxFuture<'_, bool>;

    /// The latest reports, newest first: at most `limit`, up to the report that brings the total to
    /// `bytes` bytes of JSON.
    fn reports(
        &self,
        project: ProjectId,
        limit: u16,
        bytes: usize,
    ) -> BoxFuture<'_, Vec<AgentReport>>;

    /// The latest report of an installation.
    fn report<'a>(
        &'a self,
        project: ProjectId,
        install_id: &'a str,
    ) -> BoxFuture<'a, Option<AgentReport>>;

    /// Moves the times of all agents after the clock was set by this much.
    fn shift_times(&self, by: SignedDuration) -> BoxFuture<'_, ()>;
}
