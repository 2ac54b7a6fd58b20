//! The HTTP contract between guard agents and a Guard backend, as types.
//!
//! This crate does no I/O. An agent uses it to turn what the host application
//! hands over into bytes that are safe to send; a backend uses it to read them.
//!
//! ```text
//! fields (borrowed Values), at once or from a snapshot::RecordSnapshot
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
//! | [`snapshot`] | a flat copy of them, to be encoded on another thread |
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

mod contract;
mod crypto;
mod privacy;
mod record;
pub mod timestamp;
pub mod value;

pub use contract::{answer, backoff, envelope, header, retry_after, rules, status};
pub use crypto::{encrypt, hash, sign};
pub use privacy::{anonymize, redact, truncate};
pub use record::{encode, event, field, fields, kind, metric, snapshot};

pub use event::SecurityEvent;
pub use kind::Kind;
pub use metric::{MetricType, SecurityMetric};
pub use value::Value;
