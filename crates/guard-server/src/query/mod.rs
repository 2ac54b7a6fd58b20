//! Queries of people about the records of a project.

pub mod buckets;
mod error;
pub mod filter;
pub mod group;
pub mod metric;
mod range;
#[cfg(test)]
pub(crate) mod reference;
pub mod series;
pub mod token;
pub mod top;
mod utc;

pub use self::error::QueryError;
pub use self::range::TimeRange;
pub use self::utc::Utc;

/// A list ends with the record that brings it to this many bytes of JSON, even before its limit.
pub const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;
