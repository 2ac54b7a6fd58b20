//! The bodies of requests that change rules: read field by field, so that a wrong one is named.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use guard_wire::rules::RulesError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::http::body;
use crate::http::error::ApiError;
use crate::http::state::AppState;
use crate::ingest::structure;
use crate::rules::operation::Operation;
use crate::rules::versions::ChangeError;

/// The collections, and the kind of operation that each holds.
const COLLECTIONS: [(&str, &str); 11] = [
    ("bans", "ban"),
    ("unbans", "unban"),
    ("countries", "country"),
    ("limits", "limit"),
    ("user-agents", "user_agent"),
    ("clouds", "cloud"),
    ("patterns", "pattern"),
    ("features", "feature"),
    ("rate-limit", "rate_limit"),
    ("auto-ban", "auto_ban"),
    ("emergency", "emergency"),
];

/// Values that a body may hold: an address in a list is one.
const MAX_VALUES: usize = 150_000;

/// What is wrong with a field that nothing reads.
const UNKNOWN: &str = "unknown; correct its name or remove it";

/// The fields of a body that are still to be read.
pub(crate) struct Fields(pub(super) Map<String, Value>);

impl FromRequest<Arc<AppState>> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let limit = guard_wire::rules::MAX_PUBLISHED_BYTES;
        let body = body::read(request.into_body(), limit, &state.memory).await?;
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        if structure::values(&body, usize::MAX) > MAX_VALUES {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The body holds more than {MAX_VALUES} values"),
            ));
        }
        let read = move || serde_json::from_slice(&body);
        let read = state.workers.run(read).await?;
        read.map(Self)
            .map_err(|error| ApiError::bad_request(format!("not a JSON object: {error}")))
    }
}

impl Fields {
    pub(super) fn take<T: DeserializeOwned>(&mut self, field: &str) -> Result<Option<T>, ApiError> {
        let value = self.0.shift_remove(field).unwrap_or_default();
        serde_json::from_value(value).map_err(|error| refused(field, &error.to_string()))
    }

    pub(super) fn end(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            Some(field) => Err(refused(field, UNKNOWN)),
            None => Ok(()),
        }
    }

    /// The rules document, which is all that is left.
    pub(super) fn document(mut self) -> Result<Value, ApiError> {
        let document = self.take("document")?;
        let document =
            document.ok_or_else(|| refused("document", "missing; give the rules document"))?;
        self.end()?;
        Ok(document)
    }

    /// The operation of a kind: the fields that are left.
    pub(super) fn operation(mut self, collection: &str) -> Result<Operation, ApiError> {
        let kind = COLLECTIONS.iter().find(|(name, _)| *name == collection);
        let Some((_, kind)) = kind else {
            return Err(ApiError::new(StatusCode::NOT_FOUND, "No such path"));
        };
        if self.0.insert("kind".to_owned(), json!(kind)).is_some() {
            return Err(refused("kind", UNKNOWN));
        }
        operation_of(&self.0).map_err(|problem| refused(&culprit(&self.0, &problem), &problem))
    }
}

fn operation_of(fields: &Map<String, Value>) -> Result<Operation, String> {
    serde_json::from_value(Value::Object(fields.clone())).map_err(|error| error.to_string())
}

/// The field that is missing, or the one without which there is another problem or
/// none: for a wrong value serde does not name it.
fn culprit(fields: &Map<String, Value>, problem: &str) -> String {
    let missing = problem.strip_prefix("missing field `");
    if let Some((missing, _)) = missing.and_then(|rest| rest.split_once('`')) {
        return missing.to_owned();
    }
    let is_culprit = |field: &&String| {
        let mut others = fields.clone();
        others.shift_remove(*field);
        operation_of(&others).map_or_else(|other| other != problem, |_| true)
    };
    let named = fields.keys().filter(|field| *field != "kind");
    named
        .into_iter()
        .find(is_culprit)
        .cloned()
        .unwrap_or_default()
}

fn refused(field: &str, problem: &str) -> ApiError {
    ChangeError::from(RulesError::Field {
        field: field.to_owned(),
        problem: problem.to_owned(),
    })
    .into()
}
