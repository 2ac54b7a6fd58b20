//! Limits the groups of an alert.

use std::collections::BTreeMap;

use super::super::state::{Finding, GroupKey, GroupState};

/// The most groups of an alert with a notification each.
const MAX_GROUPS: usize = 20;

/// Combines the groups beyond [`MAX_GROUPS`] into one, the rest. A group that has been notified about
/// separately stays separate. As long as there is a rest, new groups join it.
pub(super) fn with_rest(
    mut findings: Vec<Finding>,
    states: &BTreeMap<GroupKey, GroupState>,
) -> Vec<Finding> {
    let has_rest = states.contains_key(&GroupKey::Rest);
    let separate = states.len() - usize::from(has_rest);
    let free = if has_rest {
        0
    } else {
        MAX_GROUPS.saturating_sub(separate)
    };
    findings.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.group.cmp(&b.group)));
    let (mut kept, others): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .filter(|it| it.is_over || has_rest || states.contains_key(&it.group))
        .partition(|it| states.contains_key(&it.group));
    let mut others = others.into_iter();
    kept.extend(others.by_ref().take(free));
    let rest: Vec<_> = others.collect();
    if let Some(since) = rest.iter().map(|it| it.since).min() {
        kept.push(Finding {
            group: GroupKey::Rest,
            is_over: rest.iter().any(|it| it.is_over),
            count: rest.iter().map(|it| it.count).sum(),
            baseline: None,
            since,
            detail: Some(format!("{} more groups", rest.len())),
        });
    }
    kept
}
