//! A project.

use jiff::Timestamp;

use super::settings::Settings;
use super::{KeyHash, KeyId};
use crate::network::Network;
use crate::secret::Secret;

/// Identifies a project within the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectId(pub i64);

/// A project. Each API key gives access to one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its number in the store.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its settings.
    pub settings: Settings,
    /// Decrypts encrypted payloads; without it they are refused.
    pub encryption_key: Option<Secret>,
    /// Verifies the signatures of requests, and signs the rules.
    pub signing_secret: Option<Secret>,
}

impl Project {
    /// Whether the settings let this address use the project's keys.
    pub fn allows(&self, address: std::net::IpAddr) -> bool {
        let allowed: &[Network] = &self.settings.ip_allowlist;
        allowed.is_empty() || allowed.iter().any(|network| network.holds(address))
    }
}

/// A change that the options of the server make when it starts. `None` keeps the stored value; an
/// empty secret removes it.
#[derive(Debug, Default)]
pub struct ProjectSettings {
    /// Replaces the key that was set at an earlier start. Other keys stay.
    pub key: Option<KeyHash>,
    /// Replaces the encryption key.
    pub encryption_key: Option<Secret>,
    /// Replaces the signing secret.
    pub signing_secret: Option<Secret>,
}

/// The project and the key that a request's key belongs to.
#[derive(Debug, Clone)]
pub struct KeyOwner {
    /// The project.
    pub project: Project,
    /// The key.
    pub key: KeyId,
}
