//! Queries of people about the records of a project.

pub mod buckets;
mod error;
pub mod filter;
pub mod group;
pub mod metric;
mod range;
#[cfg(test)]
pub(crate) mod reference;
pub mod series;
pub mod token;
pub mod top;
mod utc;

pub use self::error::QueryError;
pub use self::range::TimeRange;
pub use self::utc::Utc;

use serde::Serialize;

use crate::store::{AgentReport, ProjectId, RecordCounts, StoreError, Stores};

/// A list ends with the record that brings it to this many bytes of JSON, even before its limit.
pub const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;
/// The most agents in a summary.
const SUMMARY_AGENTS: u16 = 100;

/// The counts of a project's records, and its agents.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The counts of records.
    #[serde(flatten)]
    pub counts: RecordCounts,
    /// The agents that reported, latest first, at most 100 and up to [`MAX_LIST_BYTES`].
    pub agents: Vec<AgentReport>,
}

/// The summary of a project.
///
/// # Errors
///
/// [`StoreError`] if a store fails.
pub async fn summary(stores: &Stores, project: ProjectId) -> Result<Summary, StoreError> {
    let counts = stores.telemetry.counts(project).await?;
    let reports = stores
        .fleet
        .reports(project, SUMMARY_AGENTS, MAX_LIST_BYTES);
    Ok(Summary {
        counts,
        agents: reports.await?,
    })
}
