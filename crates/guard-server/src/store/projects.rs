//! Projects and their keys.

use super::{BoxFuture, Project, ProjectSettings};
use crate::projects::KeyHash;

/// Projects and their keys.
pub trait Projects: Send + Sync {
    /// The project that the key with this hash belongs to. The store looks the hash up in an index.
    /// The time that takes reveals nothing useful, because nobody can choose a key by its hash.
    fn project_of_key(&self, key: KeyHash) -> BoxFuture<'_, Option<Project>>;

    /// The project called `name`.
    fn project_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Project>>;

    /// Creates the project called `name` or changes it.
    fn save_project<'a>(&'a self, name: &'a str, settings: ProjectSettings) -> BoxFuture<'a, ()>;
}
