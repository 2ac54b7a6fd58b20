//! Small JSON bodies of the operator API. An error names the path of the wrong field.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use guard_wire::rules::RulesError;
use serde::de::DeserializeOwned;
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::body;
use super::error::ApiError;
use super::state::AppState;
use crate::rules::fields;

/// The largest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// A body that is a JSON object. A missing body counts as an empty object.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<AppState>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let body = body::read(request.into_body(), MAX_BODY, &state.memory).await?;
        read(&body).map(Self)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = body.trim_ascii();
    let body = if body.is_empty() { b"{}" } else { body };
    let not_an_object = |why: &str| ApiError::bad_request(format!("not a JSON object: {why}"));
    if !body.starts_with(b"{") {
        return Err(not_an_object("it does not begin with a brace"));
    }
    let refused = |field: String, problem: String| {
        // The position says nothing to a program.
        let problem = problem
            .rsplit_once(" at line ")
            .map_or(&*problem, |it| it.0);
        ApiError::bad_request(format!("{field}: {problem}")).field(field)
    };
    // Check that it is JSON before checking the fields.
    serde_json::from_slice::<&RawValue>(body).map_err(|error| not_an_object(&error.to_string()))?;
    fields::read(&mut Deserializer::from_slice(body)).map_err(|error| match error {
        RulesError::Field { field, problem } => refused(field, problem),
        other => ApiError::bad_request(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::people::{Role, Scope};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Wanted {
        role: Role,
        projects: Option<Scope>,
    }

    #[test]
    fn the_path_of_a_wrong_field_is_named() {
        for (body, expected) in [
            ("", "role: missing field `role`"),
            ("[]", "not a JSON object"),
            (r#"{"role""#, "not a JSON object"),
            (r#"{"role":"admin"} x"#, "not a JSON object"),
            (r#"{"role":"root"}"#, "role: unknown variant `root`"),
            (r#"{"role":"admin","rule":1}"#, "rule: unknown field `rule`"),
            (r#"{"role":"admin","projects":[]}"#, "projects: it is empty"),
        ] {
            let error = read::<Wanted>(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(read::<Wanted>(br#" {"role":"viewer","projects":["*"]} "#).is_ok());
    }
}
