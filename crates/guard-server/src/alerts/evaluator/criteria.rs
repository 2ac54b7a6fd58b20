//! When a count starts an alert, and when it keeps one going.

use super::counter::Measure;
use super::state::{Finding, GroupKey};
use crate::alerts::Condition;
use crate::alerts::condition::{CountInWindow, Rise, Threshold};

/// Whether an alert starts at this measure.
pub(super) fn is_over(condition: &Condition, measure: &Measure) -> bool {
    match condition {
        Condition::Threshold(Threshold { count, .. }) => measure.count >= *count,
        Condition::Rise(Rise { ratio, minimum, .. }) => {
            measure.count >= *minimum && measure.count >= times(measure.before, *ratio)
        }
        _ => false,
    }
}

/// An alert that has started continues as long as the count is at least this: four fifths of what
/// starts it.
pub(super) fn needed(condition: &Condition, baseline: Option<u64>) -> u64 {
    match condition {
        Condition::Threshold(Threshold { count, .. }) => four_fifths(*count),
        Condition::Rise(Rise { ratio, minimum, .. }) => {
            // The window before now holds the rise itself, so the one before the rise counts.
            four_fifths(times(baseline.unwrap_or(0), *ratio).max(*minimum))
        }
        _ => 0,
    }
}

/// Four fifths, rounded up.
const fn four_fifths(count: u64) -> u64 {
    count.saturating_mul(4).div_ceil(5)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are far below 2^52"
)]
fn times(count: u64, ratio: f64) -> u64 {
    (count as f64 * ratio).ceil() as u64
}

/// The finding for a count within a window.
pub(super) fn in_window(condition: &CountInWindow, measure: Measure) -> Option<Finding> {
    (measure.count >= four_fifths(condition.count)).then_some(Finding {
        group: GroupKey::Whole,
        is_over: measure.count >= condition.count,
        count: measure.count,
        baseline: None,
        since: measure.since,
        detail: None,
    })
}
