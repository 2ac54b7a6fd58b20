//! Projects: their names and settings, their API keys, and the limits on their use.

pub mod activity;
pub mod key;
pub mod name;
mod project;
pub mod quota;
pub mod settings;
mod usage;
pub(crate) mod watch;

pub use self::key::{ApiKey, KeyHash, KeyId, NewKey};
pub use self::project::{KeyOwner, Project, ProjectId, ProjectSettings};
pub use self::settings::{Settings, SettingsChange, SettingsError};
pub use self::usage::Usage;
