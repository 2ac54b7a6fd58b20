//! What people ask about the records of a project.

use serde::Serialize;

use crate::store::{AgentReport, ProjectId, RecordCounts, StoreError, Stores};

/// A list ends with the record by which it holds this many bytes of JSON, also before its
/// limit.
pub const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;
/// The most agents that a summary names.
const SUMMARY_AGENTS: u16 = 100;

/// What a project received, in numbers, and its agents.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Counts of records.
    #[serde(flatten)]
    pub counts: RecordCounts,
    /// The agents that reported, latest first, at most 100 and up to [`MAX_LIST_BYTES`].
    pub agents: Vec<AgentReport>,
}

/// The summary of a project.
///
/// # Errors
///
/// [`StoreError`] when a store fails.
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
