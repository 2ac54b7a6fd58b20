//! Turns the bytes of a request into a batch that can be stored.

pub(crate) mod envelope;
pub(crate) mod intake;
pub(crate) mod record;
mod repair;
pub(crate) mod signals;
pub(crate) mod structure;

use thiserror::Error;

/// Why a body is not a valid batch or report.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum BatchError {
    #[error("Malformed JSON: {0}")]
    Json(String),
    #[error("Malformed batch: it has neither `events` nor `metrics`; give one as an array")]
    NoRecords,
    #[error("The batch holds more than {most} records; send fewer at a time")]
    TooManyRecords { most: usize },
}
