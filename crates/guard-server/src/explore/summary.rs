//! The counts of a project at a glance.

use serde::Serialize;
use utoipa::ToSchema;

use crate::query::MAX_LIST_BYTES;
use crate::store::{AgentReport, ProjectId, RecordCounts, StoreError, Stores};

/// The most agents in a summary.
const SUMMARY_AGENTS: u16 = 100;

/// The counts of a project's records, and its agents.
#[derive(Debug, Serialize, ToSchema)]
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
