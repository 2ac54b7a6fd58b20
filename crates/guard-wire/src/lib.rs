//! The HTTP contract between guard agents and a Guard backend, as types.
//!
//! This crate does no I/O. An agent uses it to turn what the host application
//! hands over into bytes that are safe to send; a backend uses it to read them.
//!
//! ```text
//! fields (borrowed Values), at once or from a tape::Tape
//!   -> encode::Encoder: redact, truncate, write once as JSON  -> Record bytes
//!   -> envelope::Envelope: many records, one body
//!   -> sign::sign, encrypt::Encryptor                          -> what is posted
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`kind`] | the two kinds of record, and where each is posted |
//! | [`value`] | the borrowed tree a record is made of before it is encoded |
//! | [`event`], [`metric`] | typed builders for the two kinds |
//! | [`field`] | the names of the contract's fields |
//! | [`fields`] | how a record's fields are handed over |
//! | [`tape`] | a flat copy of them, to be encoded on another thread |
//! | [`encode`] | the one way from fields to bytes: validation, redaction, truncation |
//! | [`redact`], [`truncate`], [`anonymize`], [`hash`] | the pure functions behind it |
//! | [`envelope`] | the body of a batch |
//! | [`sign`], [`encrypt`] | `X-Payload-Signature` and encrypted payloads |
//! | [`answer`], [`rules`], [`status`] | what backends answer and what agents report |
//! | [`timestamp`], [`retry_after`], [`backoff`] | readings of time shared by all parties |
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod anonymize;
pub mod answer;
pub mod backoff;
pub mod encode;
pub mod encrypt;
pub mod envelope;
pub mod event;
pub mod field;
pub mod fields;
pub mod hash;
pub mod header;
mod json;
mod key;
pub mod kind;
pub mod metric;
pub mod redact;
pub mod retry_after;
pub mod rules;
pub mod sign;
pub mod status;
pub mod tape;
pub mod timestamp;
pub mod truncate;
pub mod value;

pub use event::SecurityEvent;
pub use kind::Kind;
pub use metric::{MetricType, SecurityMetric};
pub use value::Value;
