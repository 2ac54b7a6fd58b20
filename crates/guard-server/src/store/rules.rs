//! The rules of projects: versions and drafts.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BoxFuture, ProjectId};
use crate::people::AuditEntry;

/// One version of the rules of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRules {
    /// The version.
    pub version: i64,
    /// The JSON that agents receive.
    pub document: String,
    /// The JSON of the policy that the document was composed from.
    pub policy: String,
    /// When the bans in it end.
    pub lease_ends: Option<Timestamp>,
    /// When it must be composed again.
    pub due: Option<Timestamp>,
    /// The origin of the version.
    pub change: Change,
    /// Whether a program or the server made it, not a person.
    pub automatic: bool,
}

/// The origin of a version of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    /// When.
    pub created_at: Timestamp,
    /// What was done, in words.
    pub action: String,
    /// The author.
    #[schema(required = true)]
    pub author: Option<String>,
    /// The reason.
    #[schema(required = true)]
    pub reason: Option<String>,
}

/// A rules document that is not published yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its JSON.
    pub document: String,
    /// Identifies the document that was published when the draft was saved.
    pub base: Option<String>,
    /// When it was saved.
    pub saved_at: Timestamp,
    /// Who saved it.
    pub author: Option<String>,
}

/// The outcome of setting rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulesOutcome {
    /// Agents get these rules from now on.
    Set,
    /// Another version was set after the one that this one is based on.
    Outdated,
}

/// Which versions a project keeps after a new one is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepVersions {
    /// The most versions that people made.
    pub versions: u32,
    /// The most versions that programs and the server made.
    pub automatic: u32,
    /// The most bytes of documents and policies.
    pub bytes: u64,
    /// Whether the version that the new one is based on is removed.
    pub replaces_from: bool,
}

impl KeepVersions {
    /// Keeps all versions.
    pub const ALL: Self = Self {
        versions: u32::MAX,
        automatic: u32::MAX,
        bytes: u64::MAX,
        replaces_from: false,
    };
}

/// The rules of projects. The [`Audit`](super::Audit) log says what an `entry` is.
pub trait RulesStore: Send + Sync {
    /// The rules of a project, if any were set.
    fn rules(&self, project: ProjectId) -> BoxFuture<'_, Option<StoredRules>>;

    /// The version of the rules of a project, if any were set. This query is cheap.
    fn rules_version(&self, project: ProjectId) -> BoxFuture<'_, Option<i64>>;

    /// The versions of the rules of these projects, as far as any were set.
    fn rules_versions(&self, projects: Vec<ProjectId>) -> BoxFuture<'_, Vec<(ProjectId, i64)>> {
        Box::pin(async move {
            let mut versions = Vec::new();
            for project in projects {
                let version = self.rules_version(project).await?;
                versions.extend(version.map(|version| (project, version)));
            }
            Ok(versions)
        })
    }

    /// Version `version` of the rules of a project, if it is stored.
    fn rules_at(&self, project: ProjectId, version: i64) -> BoxFuture<'_, Option<StoredRules>>;

    /// Versions before `before`, newest first, at most `limit`.
    fn rules_history(
        &self,
        project: ProjectId,
        before: i64,
        limit: u16,
    ) -> BoxFuture<'_, Vec<(i64, Change)>>;

    /// The projects whose rules are due at `now`, or were created after `ahead`, with their names.
    fn rules_due(
        &self,
        now: Timestamp,
        ahead: Timestamp,
    ) -> BoxFuture<'_, Vec<(ProjectId, String)>>;

    /// Stores rules that are based on version `from`, if that is still in force, and removes the
    /// versions that `keep` does not cover. The newest version always stays. The `draft` that they
    /// publish is removed in the same commit, unless another one was saved since it was read.
    fn set_rules(
        &self,
        project: ProjectId,
        from: Option<i64>,
        rules: StoredRules,
        keep: KeepVersions,
        draft: Option<Draft>,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, RulesOutcome>;

    /// The draft of a project, if there is one.
    fn draft(&self, project: ProjectId) -> BoxFuture<'_, Option<Draft>>;

    /// Stores a draft in place of the one before.
    fn save_draft(
        &self,
        project: ProjectId,
        draft: Draft,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, ()>;

    /// Removes `draft`, unless another one was saved meanwhile. Returns whether it did.
    fn remove_draft(
        &self,
        project: ProjectId,
        draft: Draft,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;
}
