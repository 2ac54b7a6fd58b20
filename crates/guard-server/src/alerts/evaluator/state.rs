//! Where a group of an alert stands, and its notifications.
//!
//! What is (`ended_at`) is kept apart from what receivers know (`told_at`). While an alert is muted or in
//! its quiet hours, only the first changes; afterwards receivers are told what is different from
//! what they know.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::alerts::notification::NotificationState;
use crate::query::group::Key;

/// An alert ends when its condition did not hold for this long, so that a flickering condition does
/// not make a storm.
pub(super) const CALM: Duration = Duration::from_secs(60);

/// A group of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::alerts) enum GroupKey {
    /// The alert has no groups.
    Whole,
    /// The events with this value.
    Value(Key),
    /// All groups beyond the limit together.
    Rest,
}

impl GroupKey {
    /// How it is stored.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Value(None) => "n".to_owned(),
            Self::Value(Some(value)) => format!("v{value}"),
            Self::Rest => "r".to_owned(),
        }
    }

    /// Reads what is stored.
    pub(in crate::alerts) fn of_text(text: &str) -> Self {
        match text.split_at_checked(1) {
            None => Self::Whole,
            Some(("v", value)) => Self::Value(Some(value.to_owned())),
            Some(("r", _)) => Self::Rest,
            Some(_) => Self::Value(None),
        }
    }
}

/// What an evaluation found for a group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    /// The group.
    pub(super) group: GroupKey,
    /// Whether this starts the alert. If not, it only keeps an alert that has started: the condition
    /// nearly holds.
    pub(super) is_over: bool,
    /// How many.
    pub(super) count: u64,
    /// What the count is compared with, for a rise.
    pub(super) baseline: Option<u64>,
    /// When it started.
    pub(super) since: Timestamp,
    /// What it is about, if the condition does not say it, such as the names of agents.
    pub(super) detail: Option<String>,
}

/// Where a group stands. A group without a state is calm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::alerts) struct GroupState {
    /// When it started.
    pub(in crate::alerts) since: Timestamp,
    /// When it ended, if receivers do not know that yet.
    pub(in crate::alerts) ended_at: Option<Timestamp>,
    /// The largest count.
    pub(in crate::alerts) count: u64,
    /// What the count was compared with when it started.
    pub(super) baseline: Option<u64>,
    /// When receivers were last told. `None` if they know nothing.
    pub(in crate::alerts) told_at: Option<Timestamp>,
    /// What it is about.
    pub(in crate::alerts) detail: Option<String>,
    /// Since when the condition does not hold.
    #[serde(skip)]
    pub(super) calm_since: Option<Duration>,
}

/// The moment of an evaluation, for one alert.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) uptime: Duration,
    /// Whether alerts may end: counts are complete for a whole window.
    pub(super) can_end: bool,
    /// Whether notifications are held back.
    pub(super) is_silenced: bool,
    /// The time between two notifications while it continues.
    pub(super) interval: SignedDuration,
}

/// What happened to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) state: NotificationState,
    /// Whether receivers are told.
    pub(super) is_told: bool,
}

/// Moves a group on. Returns its new state, and what happened.
pub(super) fn advance(
    state: Option<GroupState>,
    finding: Option<&Finding>,
    moment: Moment,
) -> (Option<GroupState>, Option<Step>) {
    use NotificationState::{Ended, Ongoing, Started};
    let is_new = state.is_none();
    let mut state = match (state, finding) {
        (Some(state), _) => state,
        (None, Some(finding)) if finding.is_over => GroupState::new(finding),
        (None, _) => return (None, None),
    };
    let has_ended = state.observe(finding, moment);
    let is_told = !moment.is_silenced;
    let step = match (state.ended_at, state.told_at) {
        (None, None) if is_told => Some(Started),
        (None, None) => is_new.then_some(Started),
        (None, Some(told)) if is_told && state.is_due(told, moment) => Some(Ongoing),
        (None, Some(_)) => None,
        (Some(_), Some(_)) if is_told => Some(Ended),
        (Some(_), _) => has_ended.then_some(Ended),
    };
    let knew = state.told_at.is_some();
    if is_told && step.is_some() {
        state.told_at = Some(moment.now);
    }
    let step = step.map(|state| Step {
        state,
        is_told: is_told && (state != Ended || knew),
    });
    let is_over = state.ended_at.is_some() && (is_told || !knew);
    ((!is_over).then_some(state), step)
}

impl GroupState {
    fn new(finding: &Finding) -> Self {
        Self {
            since: finding.since,
            ended_at: None,
            count: finding.count,
            baseline: finding.baseline,
            told_at: None,
            detail: finding.detail.clone(),
            calm_since: None,
        }
    }

    /// Takes over what was found. Returns whether the alert ended now.
    fn observe(&mut self, finding: Option<&Finding>, moment: Moment) -> bool {
        if let Some(finding) = finding {
            self.calm_since = None;
            // One whose end was not notified continues if it starts again.
            if finding.is_over {
                self.ended_at = None;
            }
            if self.ended_at.is_none() {
                self.count = self.count.max(finding.count);
                self.detail.clone_from(&finding.detail);
            }
            return false;
        }
        if self.ended_at.is_some() || !moment.can_end {
            return false;
        }
        let calm = *self.calm_since.get_or_insert(moment.uptime);
        let has_ended = moment.uptime.saturating_sub(calm) >= CALM;
        if has_ended {
            self.ended_at = Some(moment.now);
        }
        has_ended
    }

    fn is_due(&self, told: Timestamp, moment: Moment) -> bool {
        self.calm_since.is_none() && moment.now.duration_since(told) >= moment.interval
    }

    /// Moves its times with the clock.
    pub(super) fn follow_clock(&mut self, by: SignedDuration) {
        let times = [
            Some(&mut self.since),
            self.ended_at.as_mut(),
            self.told_at.as_mut(),
        ];
        for at in times.into_iter().flatten() {
            *at = at.saturating_add(by).unwrap_or(*at);
        }
    }
}

#[cfg(test)]
mod tests;
