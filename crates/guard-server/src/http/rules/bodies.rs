//! The bodies of requests that change rules. An error names the path of the wrong field.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use guard_wire::rules::DynamicRules;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Deserializer, Map, Value};
use utoipa::ToSchema;

use crate::http::body;
use crate::http::error::ApiError;
use crate::http::state::AppState;
use crate::ingest::structure;
use crate::rules::fields;
use crate::rules::versions::ChangeError;

/// The most values in a body. An address in a list counts as one.
const MAX_VALUES: usize = 150_000;

/// A body that is a JSON object. A missing body counts as an empty object.
pub(crate) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<AppState>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let limit = guard_wire::rules::MAX_PUBLISHED_BYTES;
        let body = body::read(request.into_body(), limit, &state.memory).await?;
        if structure::values(&body, usize::MAX) > MAX_VALUES {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The body holds more than {MAX_VALUES} values"),
            ));
        }
        state.workers.run(move || read(&body)).await?.map(Self)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = body.trim_ascii_start();
    let body = if body.is_empty() { b"{}" } else { body };
    let refused = |why| ApiError::bad_request(format!("not a JSON object: {why}"));
    if !body.starts_with(b"{") {
        return Err(refused("it does not begin with a brace".to_owned()));
    }
    // Check that it is JSON before checking the fields.
    serde_json::from_slice::<&RawValue>(body).map_err(|error| refused(error.to_string()))?;
    let fields = fields::read(&mut Deserializer::from_slice(body));
    Ok(fields.map_err(ChangeError::from)?)
}

/// Why the rules are changed, and whether the author confirms the risks. The author is who makes the
/// request.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "false alarm" }))]
pub(crate) struct Note {
    /// Why: one line of at most 1,000 characters.
    #[schema(max_length = 1000)]
    pub(super) reason: Option<String>,
    /// True, to do what may do harm.
    pub(super) confirm: Option<bool>,
}

/// An operation. Fields that are not listed here belong to its kind.
#[derive(Deserialize)]
pub(crate) struct OperationBody {
    reason: Option<String>,
    confirm: Option<bool>,
    pub(super) duration_s: Option<i64>,
    #[serde(flatten)]
    pub(super) fields: Map<String, Value>,
}

impl OperationBody {
    /// Takes the note out of the body.
    pub(super) fn note(&mut self) -> Note {
        Note {
            reason: self.reason.take(),
            confirm: self.confirm.take(),
        }
    }
}

/// A document to publish.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "document": { "blocked_countries": ["KP"], "global_rate_limit": 600, "global_rate_window": 60 },
    "reason": "release 7",
}))]
pub(crate) struct DocumentBody {
    /// The document. Fields that are missing have their defaults.
    #[schema(value_type = DynamicRules)]
    pub(super) document: Box<RawValue>,
    /// Why: one line of at most 1,000 characters.
    #[schema(max_length = 1000)]
    reason: Option<String>,
    /// True, to do what may do harm.
    confirm: Option<bool>,
}

impl DocumentBody {
    /// Splits the body into the document and the note.
    pub(super) fn parts(self) -> (Box<RawValue>, Note) {
        let note = Note {
            reason: self.reason,
            confirm: self.confirm,
        };
        (self.document, note)
    }
}

/// A document to save as the draft.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "document": { "blocked_countries": ["KP"] } }))]
pub(crate) struct DraftBody {
    /// The document.
    #[schema(value_type = DynamicRules)]
    pub(super) document: Box<RawValue>,
}
