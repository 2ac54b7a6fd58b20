//! Projects and their API keys.

pub mod key;

pub use self::key::KeyHash;
