//! The HTTP contract between guard agents and a Guard backend, as types.
//!
//! This crate does no I/O. An agent uses it to turn records of the host application into bytes
//! that are safe to send; a backend uses it to read them.
//!
//! ```text
//! fields of a record, at once or from a snapshot::RecordSnapshot
//!   -> encode::Encoder: checks, redacts, truncates, writes JSON once -> bytes of a record
//!   -> envelope::Envelope: puts many records into one body
//!   -> sign::sign, encrypt::Encryptor                                -> request body
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`kind`] | the two kinds of record, and where each is posted |
//! | [`value`] | the values of a record before it is encoded |
//! | [`event`], [`metric`] | typed builders for the two kinds |
//! | [`field`] | the names of the contract's fields |
//! | [`fields`] | the traits with which a record passes its fields to the encoder |
//! | [`snapshot`] | a flat copy of a record, to be encoded on another thread |
//! | [`encode`] | from fields to bytes: validation, redaction, truncation |
//! | [`redact`], [`truncate`], [`anonymize`], [`hash`] | the pure functions that it uses |
//! | [`envelope`] | the body of a batch |
//! | [`sign`], [`encrypt`] | `X-Payload-Signature` and encrypted payloads |
//! | [`answer`], [`rules`], [`status`] | answers of backends, dynamic rules, status reports of agents |
//! | [`timestamp`], [`retry_after`], [`backoff`] | reading timestamps and headers, retry delays |
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
