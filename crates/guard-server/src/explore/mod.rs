//! What the pages of the dashboard show: answers put together from several queries.

pub mod address;
pub mod agents;
pub mod answer;
mod filters;
pub mod losses;
pub mod neighbours;
pub mod overview;
pub mod passive;
pub mod summary;

pub use self::summary::{Summary, summary};
