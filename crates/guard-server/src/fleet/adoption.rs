//! Who has which version of the rules.

use std::cmp::Reverse;
use std::fmt::{self, Display, Formatter};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use thiserror::Error;

use crate::store::{Fleet, ProjectId, RuleSubscriber, RulesStore, StoreError};

/// An agent whose requests are held counts as silent after this time. A request is held
/// for a minute at most, and the pause between two requests is no longer.
const HELD_SILENCE: SignedDuration = SignedDuration::from_mins(3);
/// The interval that is assumed of an agent that has asked only once: the usual one.
const USUAL_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// Why the adoption of a version is unknown.
#[derive(Debug, Error)]
pub enum AdoptionError {
    /// There is no such version.
    #[error("there is no version {version} of the rules; {}", or_none(*.newest))]
    NoSuchVersion {
        /// The version that was asked for.
        version: i64,
        /// The newest there is.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdoptionState {
    /// It refused the document.
    Refused,
    /// It has not fetched it yet.
    Waiting,
    /// It has fetched it, and not yet reported more.
    Fetched,
    /// It reported it, or a later one, as applied or in force.
    Applied,
    /// It has sent no signal for so long that it has probably ended.
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

/// One agent and a version.
#[derive(Debug, Serialize)]
pub struct Adopter {
    /// How far it is; none while no rules were set, unless it is silent.
    pub state: Option<AdoptionState>,
    /// When an agent that waits will ask again, if it asks in intervals.
    pub expected_by: Option<Timestamp>,
    /// The agent.
    #[serde(flatten)]
    pub subscriber: RuleSubscriber,
}

/// How many agents are how far.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct AdoptionCounts {
    /// Refused the document.
    pub refused: u64,
    /// Have not fetched it yet.
    pub waiting: u64,
    /// Have fetched it, and not yet reported more.
    pub fetched: u64,
    /// Reported it as applied or in force.
    pub applied: u64,
    /// Have sent no signal for long.
    pub silent: u64,
    /// Of those that are not silent: poll in intervals, and learn of changes only then.
    pub in_intervals: u64,
}

/// Who has a version of the rules.
#[derive(Debug, Serialize)]
pub struct Adoption {
    /// The version; none while no rules were set.
    pub version: Option<i64>,
    /// How many agents are how far.
    pub counts: AdoptionCounts,
    /// All agents, those first that are least far.
    pub agents: Vec<Adopter>,
}

/// Who has `version` of the rules, or a later one; without it, the one in force.
/// Every version holds all that is in force, so that a later one is as good.
///
/// # Errors
///
/// [`AdoptionError`] when there is no such version, or the store fails.
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

    /// How the agent comes to new rules.
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

    /// How far it is with `version`; without one there is nothing to have.
    fn state(&self, version: Option<i64>, now: Timestamp) -> Option<AdoptionState> {
        // Ahead of now it was seen by a clock that was set back since.
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

    /// How long it may say nothing.
    fn patience(&self) -> SignedDuration {
        if self.holds {
            return HELD_SILENCE;
        }
        let interval = self.interval.unwrap_or_default().max(USUAL_INTERVAL);
        interval * 2
    }
}
