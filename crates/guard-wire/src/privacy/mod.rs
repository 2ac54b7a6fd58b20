//! Pure functions that remove secrets from values, shorten them, and write what is left.

pub mod anonymize;
pub(crate) mod json;
pub mod redact;
pub mod truncate;
