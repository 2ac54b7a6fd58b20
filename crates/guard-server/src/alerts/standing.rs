//! Where an alert stands, for those who look at it.

use serde::Serialize;
use utoipa::ToSchema;

use super::AlertRule;
use super::evaluator::state::{GroupKey, GroupState};
use crate::query::Utc;
use crate::store::StoredState;

/// A group that an alert is going on for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ActiveGroup {
    /// The value of the field that the alert is grouped by. `None` for an alert without groups, and
    /// for the groups beyond the limit together.
    #[schema(required = true)]
    pub group: Option<String>,
    /// Since when.
    pub since: Utc,
    /// The largest count so far, as of the last change that was stored.
    pub count: u64,
    /// What it is about.
    #[schema(required = true)]
    pub detail: Option<String>,
    /// Whether the receivers know of it.
    pub told: bool,
}

/// The groups that an alert is going on for, the longest first.
pub fn active_groups(rule: &AlertRule, states: Vec<StoredState>) -> Vec<ActiveGroup> {
    let group = |stored: StoredState| {
        let state: GroupState = serde_json::from_str(&stored.content).ok()?;
        let is_active = rule.settings.enabled && state.ended_at.is_none();
        is_active.then(|| ActiveGroup {
            group: match GroupKey::of_text(&stored.group) {
                GroupKey::Value(value) => Some(value.unwrap_or_default()),
                GroupKey::Whole | GroupKey::Rest => None,
            },
            since: Utc(state.since),
            count: state.count,
            detail: state.detail,
            told: state.told_at.is_some(),
        })
    };
    let mut active: Vec<_> = states.into_iter().filter_map(group).collect();
    active.sort_by_key(|group| group.since);
    active
}
