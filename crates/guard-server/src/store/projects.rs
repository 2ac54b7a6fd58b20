//! Projects, their keys, and the use of both.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{BoxFuture, Project, ProjectId, ProjectSettings};
use crate::people::AuditEntry;
use crate::projects::activity::Activity;
use crate::projects::{ApiKey, KeyHash, KeyId, KeyOwner, NewKey};

/// The outcome of adding a project or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddOutcome {
    /// It is stored.
    Added,
    /// There is one with this name, or this key belongs to a project already.
    Exists,
    /// There are as many as may be.
    Full,
}

/// Projects and their keys. The [`Audit`](super::Audit) log says what an `entry` is.
pub trait Projects: Send + Sync {
    /// The owner of the key with this hash. The store looks the hash up in an index. The time that
    /// takes reveals nothing useful, because nobody can choose a key by its hash.
    fn key_owner(&self, key: KeyHash) -> BoxFuture<'_, Option<KeyOwner>>;

    /// The project that the key with this hash belongs to.
    fn project_of_key(&self, key: KeyHash) -> BoxFuture<'_, Option<Project>> {
        Box::pin(async move { Ok(self.key_owner(key).await?.map(|owner| owner.project)) })
    }

    /// The project called `name`.
    fn project_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Project>>;

    /// All projects, by name.
    fn projects(&self) -> BoxFuture<'_, Vec<Project>>;

    /// Creates a project with the default settings, if there are fewer than `limit`.
    fn create_project<'a>(
        &'a self,
        name: &'a str,
        now: Timestamp,
        limit: u32,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, AddOutcome>;

    /// Applies the options of a start to the project called `name`, and creates it if it is
    /// missing. Changes nothing and returns [`AddOutcome::Exists`] if the key belongs to another
    /// project.
    fn save_project<'a>(
        &'a self,
        name: &'a str,
        settings: ProjectSettings,
    ) -> BoxFuture<'a, AddOutcome>;

    /// Replaces settings and secrets, unless they changed since `from` was read. Returns whether
    /// they did not.
    fn change_project(
        &self,
        from: Project,
        to: Project,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Removes a project: its name is free and its keys end at once. Its data is removed by
    /// [`sweep`](Self::sweep). Returns whether there was such a project.
    fn remove_project(
        &self,
        project: ProjectId,
        now: Timestamp,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Removes a part of the data of removed projects. Each call takes the writer for a short time
    /// only. Returns whether there is more.
    fn sweep(&self) -> BoxFuture<'_, bool>;

    /// Projects that were removed lately, whose telemetry another engine has to remove. A batch that
    /// was on its way may have come after that, so they are named for a day.
    fn removed_projects(&self) -> BoxFuture<'_, Vec<ProjectId>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Commits something to show that changes can be stored. An engine that also has the telemetry
    /// leaves that to [`Telemetry::probe`](super::Telemetry::probe).
    fn probe(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// The keys of a project, oldest first.
    fn keys(&self, project: ProjectId) -> BoxFuture<'_, Vec<ApiKey>>;

    /// Adds a key to a project that has fewer than `limit`.
    fn add_key(
        &self,
        project: ProjectId,
        key: NewKey,
        limit: u32,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, AddOutcome>;

    /// Removes a key of a project. Returns whether there was one with this id.
    fn remove_key(
        &self,
        project: ProjectId,
        key: KeyId,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Which of these keys are live.
    fn live_keys(&self, keys: Vec<KeyId>) -> BoxFuture<'_, Vec<KeyId>>;

    /// Saves when keys were used, and adds refused requests to their counts.
    fn save_activity(&self, activity: Activity) -> BoxFuture<'_, ()>;

    /// How many requests of a project were refused, by reason.
    fn refusals(&self, project: ProjectId) -> BoxFuture<'_, BTreeMap<String, u64>>;
}
