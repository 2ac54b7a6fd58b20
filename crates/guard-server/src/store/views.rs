//! Saved views.

use jiff::Timestamp;

use super::{BoxFuture, ProjectId};
use crate::people::AuditEntry;

/// A saved view of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredView {
    /// Identifies it in its project.
    pub id: String,
    /// When it was saved.
    pub created_at: Timestamp,
    /// Who saved it.
    pub created_by: String,
    /// What it shows, as JSON.
    pub content: String,
}

/// Saved views. The [`Audit`](super::Audit) log says what an `entry` is.
pub trait Views: Send + Sync {
    /// The views of a project, the oldest first.
    fn views(&self, project: ProjectId) -> BoxFuture<'_, Vec<StoredView>>;

    /// Saves a view. Returns whether there was room: a project has at most `limit`.
    fn save_view(
        &self,
        project: ProjectId,
        view: StoredView,
        limit: usize,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Removes a view. Returns it if it was there.
    fn remove_view<'a>(
        &'a self,
        project: ProjectId,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<StoredView>>;
}
