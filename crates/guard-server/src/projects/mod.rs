//! Projects and their API keys.

pub mod key;
mod project;

pub use self::key::KeyHash;
pub use self::project::{Project, ProjectId, ProjectSettings};
