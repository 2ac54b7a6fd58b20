//! A project and its settings.

use super::KeyHash;
use crate::secret::Secret;

/// Identifies a project within the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProjectId(pub i64);

/// A project. Each API key gives access to one project.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its number in the store.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// Decrypts encrypted payloads; without it they are refused.
    pub encryption_key: Option<Secret>,
    /// Verifies the signatures of requests, which are mandatory then, and signs the rules.
    pub signing_secret: Option<Secret>,
}

/// A change to a project. `None` keeps the stored value; an empty secret removes it.
#[derive(Debug, Default)]
pub struct ProjectSettings {
    /// Replaces the project's keys.
    pub key: Option<KeyHash>,
    /// Replaces the encryption key.
    pub encryption_key: Option<Secret>,
    /// Replaces the signing secret.
    pub signing_secret: Option<Secret>,
}
