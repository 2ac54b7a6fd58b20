//! Records: their fields, and the way from fields to bytes.

mod admission;
pub mod encode;
pub mod event;
pub mod field;
pub mod fields;
mod idempotency;
pub mod kind;
pub mod metric;
pub mod snapshot;
