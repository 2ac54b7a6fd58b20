//! The JSON of a batch. Each record stays as text.

use guard_wire::Kind;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::repair::repair;
use super::{BatchError, structure};

/// The depth of the records in a batch: items of an array within the object.
const RECORDS: usize = 2;
/// The most values in a batch besides its records.
const BESIDE: usize = 64;

/// An unencrypted batch. Unknown keys are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    metrics: Option<Vec<&'a RawValue>>,
    batch_id: Option<String>,
}

/// A batch with encrypted records.
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
    /// Parses `text`, which must be repaired already. The records stay as text.
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

/// An empty id counts as no id.
fn named(batch_id: Option<&str>) -> Option<&str> {
    batch_id.filter(|id| !id.is_empty())
}

/// Checks, before parsing, that the batch in `bytes` holds at most about `most` records.
pub(crate) fn check_records(bytes: &[u8], most: usize) -> Result<(), BatchError> {
    if structure::values(bytes, RECORDS) > most.saturating_add(BESIDE) {
        return Err(BatchError::TooManyRecords { most });
    }
    Ok(())
}

/// The body as text.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, BatchError> {
    std::str::from_utf8(bytes).map_err(|error| BatchError::Json(error.to_string()))
}

/// Parses an object into a type that borrows nothing.
pub(crate) fn owned<T: DeserializeOwned>(text: &str) -> Result<T, BatchError> {
    object(text).or_else(|_| object(&repair(text)))
}

fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, BatchError> {
    // Serde would accept an array for a struct, with its items in order.
    if !text.trim_start().starts_with('{') {
        return Err(BatchError::Json("the body is not an object".to_owned()));
    }
    serde_json::from_str(text).map_err(|error| BatchError::Json(error.to_string()))
}
