//! What the calls that read and change the rules answer.

use guard_wire::rules::{DynamicRules, RulesError};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::rules::draft::Difference;
use crate::rules::policy::Entry;
use crate::rules::versions::ChangeError;
use crate::store::Change;

/// The rules were changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// The version that guards get now.
    #[schema(example = 7)]
    pub(super) version: i64,
    /// The id of the entry that was added. Others have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
}

/// The operations in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entries {
    /// The version in force; null while there are no rules.
    #[schema(required = true)]
    pub(super) version: Option<i64>,
    /// The operations.
    pub(super) entries: Vec<EntryAnswer>,
}

/// An operation in force. [`described`](super::described) has its schema.
#[derive(Debug, Serialize)]
pub(crate) struct EntryAnswer {
    id: String,
    #[serde(flatten)]
    entry: Entry,
}

impl From<Entry> for EntryAnswer {
    fn from(entry: Entry) -> Self {
        let id = entry.operation.id();
        Self { id, entry }
    }
}

/// The published document, without operations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublishedAnswer {
    /// The document.
    pub(super) document: DynamicRules,
}

/// A version of the rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RulesVersion {
    /// Its number.
    pub(super) version: i64,
    #[serde(flatten)]
    pub(super) change: Change,
    /// The document as it was made; only in the answer about one version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DynamicRules>)]
    pub(super) document: Option<Box<RawValue>>,
}

/// A page of the history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// The versions, newest first.
    pub(super) versions: Vec<RulesVersion>,
    /// `before` of the next page; null if there is none.
    #[schema(required = true)]
    pub(super) next_before: Option<i64>,
}

/// The draft.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DraftAnswer {
    /// The document.
    #[schema(value_type = DynamicRules)]
    pub(super) document: Box<RawValue>,
    /// When it was saved.
    pub(super) saved_at: Timestamp,
    /// Who saved it.
    #[schema(required = true)]
    pub(super) author: Option<String>,
}

/// What publishing the draft would change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Differences {
    /// The fields that differ.
    pub(super) changes: Vec<Difference>,
}

/// Returns a stored document unchanged.
pub(super) fn raw(document: String) -> Result<Box<RawValue>, ChangeError> {
    Ok(RawValue::from_string(document).map_err(RulesError::from)?)
}
