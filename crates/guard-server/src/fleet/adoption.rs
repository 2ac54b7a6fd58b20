//! Which agents have which version of the rules.

use std::cmp::Reverse;
use std::fmt::{self, Display, Formatter};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::store::{Fleet, ProjectId, RuleSubscriber, RulesStore, StoreError};

/// An agent whose requests are held counts as silent after this time. A request is held for at most
/// a minute, and the pause between two requests is no longer than that.
const HELD_SILENCE: SignedDuration = SignedDuration::from_mins(3);
/// The usual interval, assumed for an agent that has asked only once.
const USUAL_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// Why the adoption of a version is unknown.
#[derive(Debug, Error)]
pub enum AdoptionError {
    /// The version does not exist.
    #[error("there is no version {version} of the rules; {}", or_none(*.newest))]
    NoSuchVersion {
        /// The requested version.
        version: i64,
        /// The newest version.
        newest: Option<i64>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn or_none(newest: Option<i64>) -> String {
    newest.map_or_else(
        || "none was set yet".to_owned(),
        |newest| format!("the newest is {newest}"),
    )
}

/// How far an agent is with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdoptionState {
    /// The agent refused the document.
    Refused,
    /// The agent has not fetched it yet.
    Waiting,
    /// The agent has fetched it, but not reported anything since.
    Fetched,
    /// The agent reported this version, or a later one, as applied or in force.
    Applied,
    /// The agent was silent for so long that it has probably ended.
    Silent,
}

impl Display for AdoptionState {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Waiting => "waiting",
            Self::Fetched => "fetched",
            Self::Applied => "applied",
            Self::Silent => "silent",
        })
    }
}

/// An agent and its state for a version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Adopter {
    /// The state. Null while no rules are set, unless the agent is silent.
    #[schema(required = true)]
    pub state: Option<AdoptionState>,
    /// When a waiting agent will ask again, if it polls.
    #[schema(required = true)]
    pub expected_by: Option<Timestamp>,
    /// The agent.
    #[serde(flatten)]
    pub subscriber: RuleSubscriber,
}

/// The number of agents in each state.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AdoptionCounts {
    /// Agents that refused the document.
    pub refused: u64,
    /// Agents that have not fetched it yet.
    pub waiting: u64,
    /// Agents that have fetched it, but not reported anything since.
    pub fetched: u64,
    /// Agents that reported it as applied or in force.
    pub applied: u64,
    /// Agents that have been silent for long.
    pub silent: u64,
    /// Agents that are not silent and poll, so that they learn of changes only at intervals.
    pub in_intervals: u64,
}

/// The adoption of a version of the rules.
#[derive(Debug, Serialize, ToSchema)]
pub struct Adoption {
    /// The version. Null while no rules are set.
    #[schema(required = true)]
    pub version: Option<i64>,
    /// The number of agents in each state.
    pub counts: AdoptionCounts,
    /// All agents, those that are furthest behind first.
    pub agents: Vec<Adopter>,
}

/// Which agents have `version` of the rules, or a later one; by default the one in force. Every
/// version contains everything in force, so a later one is equally good.
///
/// # Errors
///
/// [`AdoptionError`] if the version does not exist, or the store fails.
pub async fn adoption(
    rules: &dyn RulesStore,
    fleet: &dyn Fleet,
    project: ProjectId,
    version: Option<i64>,
    now: Timestamp,
) -> Result<Adoption, AdoptionError> {
    let newest = rules.rules_version(project).await?;
    let version = match version {
        None => newest,
        Some(version) if version >= 1 && Some(version) <= newest => Some(version),
        Some(version) => return Err(AdoptionError::NoSuchVersion { version, newest }),
    };
    let subscribers = fleet.subscribers(project).await?;
    let mut agents: Vec<_> = subscribers
        .into_iter()
        .map(|subscriber| Adopter::of(subscriber, version, now))
        .collect();
    agents.sort_by_key(|agent| (agent.state, Reverse(agent.subscriber.seen_at)));
    Ok(Adoption {
        version,
        counts: count(&agents),
        agents,
    })
}

fn count(agents: &[Adopter]) -> AdoptionCounts {
    let mut counts = AdoptionCounts::default();
    for agent in agents {
        let n = match agent.state {
            None => &mut 0,
            Some(AdoptionState::Refused) => &mut counts.refused,
            Some(AdoptionState::Waiting) => &mut counts.waiting,
            Some(AdoptionState::Fetched) => &mut counts.fetched,
            Some(AdoptionState::Applied) => &mut counts.applied,
            Some(AdoptionState::Silent) => &mut counts.silent,
        };
        *n += 1;
        if agent.state != Some(AdoptionState::Silent) && !agent.subscriber.holds {
            counts.in_intervals += 1;
        }
    }
    counts
}

impl Adopter {
    fn of(subscriber: RuleSubscriber, version: Option<i64>, now: Timestamp) -> Self {
        let state = subscriber.state(version, now);
        let expected_by = subscriber
            .interval
            .filter(|_| state == Some(AdoptionState::Waiting) && !subscriber.holds)
            .and_then(|interval| subscriber.asked_at.saturating_add(interval).ok());
        Self {
            state,
            expected_by,
            subscriber,
        }
    }

    /// How the agent learns of new rules.
    pub fn pace(&self) -> String {
        match (self.subscriber.holds, self.subscriber.interval) {
            (true, _) => "at once".to_owned(),
            (false, Some(interval)) => format!("every {} s", interval.as_secs()),
            (false, None) => "in intervals".to_owned(),
        }
    }
}

impl RuleSubscriber {
    /// The newest version that the agent is known to have.
    pub fn newest(&self) -> Option<i64> {
        let applied = self.applied.map(|applied| applied.version);
        let fetched = self.fetched.map(|fetched| fetched.version);
        fetched.max(applied).max(self.in_force)
    }

    /// How far the agent is with `version`. `None` if there is no version.
    fn state(&self, version: Option<i64>, now: Timestamp) -> Option<AdoptionState> {
        // A time in the future comes from before the clock was set back.
        if now.duration_since(self.seen_at).abs() > self.patience() {
            return Some(AdoptionState::Silent);
        }
        let version = version?;
        let has = |known: Option<i64>| known.is_some_and(|known| known >= version);
        let fetched_at = self.fetched.map(|fetched| fetched.at);
        let state = if has(self.in_force) || has(self.applied.map(|applied| applied.version)) {
            AdoptionState::Applied
        } else if !has(self.fetched.map(|fetched| fetched.version)) {
            AdoptionState::Waiting
        } else if self.refused.is_some() && self.reported_at >= fetched_at {
            AdoptionState::Refused
        } else {
            AdoptionState::Fetched
        };
        Some(state)
    }

    /// How long the agent may be silent.
    fn patience(&self) -> SignedDuration {
        if self.holds {
            return HELD_SILENCE;
        }
        let interval = self.interval.unwrap_or_default().max(USUAL_INTERVAL);
        interval * 2
    }
}
