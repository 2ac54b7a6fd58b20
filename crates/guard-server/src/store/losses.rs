//! The records that agents and the server lost, over time.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;

use super::{BoxFuture, ProjectId};
use crate::query::TimeRange;

/// What a process says it has lost since it started.
#[derive(Debug, Clone)]
pub struct LossReport {
    /// The project.
    pub project: ProjectId,
    /// The installation of the process.
    pub install_id: String,
    /// The process: totals of different processes are independent.
    pub process: String,
    /// When it said so.
    pub at: Timestamp,
    /// The totals by reason.
    pub totals: BTreeMap<String, u64>,
}

/// Losses of one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossCount {
    /// When the minute begins.
    pub minute: Timestamp,
    /// The installation that lost them. Empty for the server itself.
    pub install_id: String,
    /// Why.
    pub reason: String,
    /// How many records.
    pub n: u64,
}

/// How long losses are kept, in seconds.
pub(super) const LOSSES_KEPT: i64 = 90 * 86_400;
/// After how much silence the totals of a process are forgotten, in seconds.
pub(super) const TOTALS_KEPT: i64 = 7 * 86_400;

/// The beginnings of the minutes of a range, in seconds since the epoch. The minute in which the range
/// begins belongs to it, so that no loss falls between two ranges.
pub(super) fn minutes(range: TimeRange) -> Range<i64> {
    let end = -(-range.to.as_microsecond()).div_euclid(60_000_000);
    range.from.as_second().div_euclid(60) * 60..end * 60
}

/// The records that agents and the server lost, over time.
pub trait Losses: Send + Sync {
    /// Adds what a process lost since its last report, in the minute of this one, and returns it. A
    /// total below the one before is of a process that started again.
    fn report_losses(&self, report: LossReport) -> BoxFuture<'_, BTreeMap<String, u64>>;

    /// Adds records that the server itself left out, by reason.
    fn count_losses(
        &self,
        project: ProjectId,
        at: Timestamp,
        lost: BTreeMap<&'static str, u64>,
    ) -> BoxFuture<'_, ()>;

    /// The losses of a project, by minute, installation and reason.
    fn losses(&self, project: ProjectId, range: TimeRange) -> BoxFuture<'_, Vec<LossCount>>;
}
