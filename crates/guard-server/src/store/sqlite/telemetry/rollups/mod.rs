//! The counts of events and the sums of metrics, by spans of time.

mod events;
mod fill;
mod metrics;
mod minutes;

pub(super) use self::events::{ADDRESS, EventCounts, EventGroup, GROUPS, STATUS, WIDE};
pub(in super::super) use self::fill::fill;
pub(super) use self::metrics::{MetricGroup, MetricRollups, SPANS};
pub(in super::super) use self::minutes::of_field;

const MICROS: i64 = 1_000_000;
/// The spans of rollups, in seconds.
pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 3600;
pub(super) const QUARTER: i64 = 6 * HOUR;
pub(super) const DAY: i64 = 24 * HOUR;
/// Stands for a missing value, because a key cannot be NULL.
pub(super) const ABSENT: i64 = -1;

/// The start of the span that contains `timestamp`, in seconds.
pub(super) const fn start(timestamp: i64, span: i64) -> i64 {
    timestamp.div_euclid(span * MICROS) * span
}
