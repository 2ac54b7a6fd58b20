//! The rules of projects: versions and drafts.

use jiff::Timestamp;
use serde::Serialize;

use super::{BoxFuture, ProjectId};

/// One version of the rules of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRules {
    /// The version.
    pub version: i64,
    /// The JSON that agents get.
    pub document: String,
    /// The JSON of the policy it was composed of.
    pub policy: String,
    /// When the bans that it gives out end.
    pub lease_ends: Option<Timestamp>,
    /// When it must be composed again.
    pub due: Option<Timestamp>,
    /// How it came about.
    pub change: Change,
}

/// How a version of the rules came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When.
    pub created_at: Timestamp,
    /// What was done, in words.
    pub action: String,
    /// Who did it.
    pub author: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A rules document that is not published yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its JSON.
    pub document: String,
    /// Names the document that was published when it was saved.
    pub base: Option<String>,
    /// When it was saved.
    pub saved_at: Timestamp,
    /// Who saved it.
    pub author: Option<String>,
}

/// The outcome of setting rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulesOutcome {
    /// It is what agents get from now on.
    Set,
    /// Another version was set since the one it was made from.
    Outdated,
}

/// Which versions a project keeps when a new one is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepVersions {
    /// At most this many.
    pub versions: u32,
    /// At most this many bytes of documents and policies.
    pub bytes: u64,
    /// Whether the version that the new one was made from is removed.
    pub replaces_from: bool,
}

impl KeepVersions {
    /// Keeps every version.
    pub const ALL: Self = Self {
        versions: u32::MAX,
        bytes: u64::MAX,
        replaces_from: false,
    };
}

/// The rules of projects.
pub trait RulesStore: Send + Sync {
    /// The rules of a project, if any were set.
    fn rules(&self, project: ProjectId) -> BoxFuture<'_, Option<StoredRules>>;

    /// The version of the rules of a project, if any were set. Cheap.
    fn rules_version(&self, project: ProjectId) -> BoxFuture<'_, Option<i64>>;

    /// The version `version` of the rules of a project, if it is kept.
    fn rules_at(&self, project: ProjectId, version: i64) -> BoxFuture<'_, Option<StoredRules>>;

    /// Versions before `before`, newest first, at most `limit`.
    fn rules_history(
        &self,
        project: ProjectId,
        before: i64,
        limit: u16,
    ) -> BoxFuture<'_, Vec<(i64, Change)>>;

    /// The projects whose rules are due at `now`, or were made later than `ahead`.
    fn rules_due(&self, now: Timestamp, ahead: Timestamp) -> BoxFuture<'_, Vec<ProjectId>>;

    /// Stores rules made from the version `from`, if that is still in force, and removes
    /// the versions that `keep` does not keep. The newest always stays.
    fn set_rules(
        &self,
        project: ProjectId,
        from: Option<i64>,
        rules: StoredRules,
        keep: KeepVersions,
    ) -> BoxFuture<'_, RulesOutcome>;

    /// The draft of a project, if there is one.
    fn draft(&self, project: ProjectId) -> BoxFuture<'_, Option<Draft>>;

    /// Keeps a draft in place of the one before.
    fn save_draft(&self, project: ProjectId, draft: Draft) -> BoxFuture<'_, ()>;

    /// Removes `draft`, unless another one was saved since.
    fn remove_draft(&self, project: ProjectId, draft: Draft) -> BoxFuture<'_, ()>;
}
