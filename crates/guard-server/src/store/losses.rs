//! The records that agents and the server lost, over time.

use std::collections::BTreeMap;

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
