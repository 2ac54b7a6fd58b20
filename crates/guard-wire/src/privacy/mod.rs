//! Pure functions that remove secrets from values, truncate them, and write them as JSON.

pub mod anonymize;
pub(crate) mod json;
pub mod redact;
pub mod truncate;
