//! The JSON of a batch: which records it holds, and each of them still as text.

use guard_wire::Kind;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::repair::repair;
use super::{BatchError, structure};

/// How deep the records of a batch are: in an array within the object.
const RECORDS: usize = 2;
/// Values that a batch may hold beside its records.
const BESIDE: usize = 64;

/// A batch in the clear. Unknown keys are passed over.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    metrics: Option<Vec<&'a RawValue>>,
    batch_id: Option<String>,
}

/// A batch whose records are encrypted.
#[derive(Debug, Deserialize)]
pub(crate) struct SealedEnvelope {
    pub(crate) encrypted_payload: String,
    batch_id: Option<String>,
}

impl SealedEnvelope {
    pub(crate) fn batch_id(&self) -> Option<&str> {
        named(self.batch_id.as_deref())
    }
}

impl<'a> Envelope<'a> {
    /// Reads `text`, which was repaired. The records themselves are not read yet.
    pub(crate) fn parse(text: &'a str) -> Result<Self, BatchError> {
        let envelope: Self = object(text)?;
        if envelope.events.is_none() && envelope.metrics.is_none() {
            return Err(BatchError::NoRecords);
        }
        Ok(envelope)
    }

    pub(crate) fn records(&self, kind: Kind) -> &[&'a RawValue] {
        let records = match kind {
            Kind::Event => &self.events,
            Kind::Metric => &self.metrics,
        };
        records.as_deref().unwrap_or_default()
    }

    pub(crate) fn batch_id(&self) -> Option<&str> {
        named(self.batch_id.as_deref())
    }
}

/// An empty id names no batch.
fn named(batch_id: Option<&str>) -> Option<&str> {
    batch_id.filter(|id| !id.is_empty())
}

/// Checks that the batch in `bytes` holds about `most` records at most, before it is read.
pub(crate) fn check_records(bytes: &[u8], most: usize) -> Result<(), BatchError> {
    if structure::values(bytes, RECORDS) > most.saturating_add(BESIDE) {
        return Err(BatchError::TooManyRecords { most });
    }
    Ok(())
}

/// The text of a body.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, BatchError> {
    std::str::from_utf8(bytes).map_err(|error| BatchError::Json(error.to_string()))
}

/// Reads an object that borrows nothing.
pub(crate) fn owned<T: DeserializeOwned>(text: &str) -> Result<T, BatchError> {
    object(text).or_else(|_| object(&repair(text)))
}

fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, BatchError> {
    // Serde would take an array for a struct, its items in order.
    if !text.trim_start().starts_with('{') {
        return Err(BatchError::Json("the body is not an object".to_owned()));
    }
    serde_json::from_str(text).map_err(|error| BatchError::Json(error.to_string()))
}
