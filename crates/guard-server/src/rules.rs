//! Rules: checked when they are set, answered with an entity tag.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use guard_wire::header::SIGNATURE;
use guard_wire::rules::{DynamicRules, RulesError};
use guard_wire::sign;
use thiserror::Error;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::fingerprint::fingerprint;
use crate::routes::AppState;
use crate::store::{Control, Project, RulesOutcome, StoreError, StoredRules};

/// What agents are answered while no rules are set.
const NO_RULES: &str = "{}";

/// Why rules were not set.
#[derive(Debug, Error)]
pub enum SetError {
    /// The document is not one that guards could use.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Guards would ignore it.
    #[error("rules field `version`: {given} is not above the stored {current}; give {} or more", current.saturating_add(1))]
    Version {
        /// The document's version.
        given: i64,
        /// The stored version.
        current: i64,
    },
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks a rules document and stores it for `project`; answers its version.
///
/// # Errors
///
/// [`SetError`] when the document is not valid, its version does not rise, or
/// the store fails.
pub async fn set(
    control: &dyn Control,
    project: &Project,
    document: &[u8],
) -> Result<i64, SetError> {
    let rules = DynamicRules::from_json(document)?;
    let version = rules.version;
    let document = serde_json::to_string(&rules).map_err(RulesError::Malformed)?;
    let stored = StoredRules { version, document };
    match control.set_rules(project.id, stored).await? {
        RulesOutcome::Set => Ok(version),
        RulesOutcome::VersionNotAbove { current } => Err(SetError::Version {
            given: version,
            current,
        }),
    }
}

/// `GET /api/v1/rules`.
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    Caller(project): Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let stored = state.control.rules(project.id).await?;
    let document = stored.map_or_else(|| NO_RULES.to_owned(), |rules| rules.document);
    let tag = format!("\"{}\"", fingerprint(&[&document]));
    let unchanged = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| names(value, &tag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let signature = project
            .signing_secret
            .and_then(|secret| sign::sign(document.as_bytes(), secret.expose()));
        let mut response = ([(header::CONTENT_TYPE, "application/json")], document).into_response();
        insert(&mut response, SIGNATURE, signature.as_deref());
        response
    };
    insert(&mut response, header::ETAG.as_str(), Some(&tag));
    insert(
        &mut response,
        header::CACHE_CONTROL.as_str(),
        Some("no-cache"),
    );
    Ok(response)
}

fn insert(response: &mut Response, name: &'static str, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok())
        && let Ok(name) = header::HeaderName::try_from(name)
    {
        response.headers_mut().insert(name, value);
    }
}

/// Whether an `If-None-Match` names `tag`, by the weak comparison of RFC 9110.
fn names(if_none_match: &str, tag: &str) -> bool {
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_alone_in_a_list_weak_or_by_the_star() {
        for value in ["\"a\"", "\"b\", \"a\"", "W/\"a\"", "*"] {
            assert!(names(value, "\"a\""), "{value}");
        }
        for value in ["", "a", "\"b\"", "W/\"b\""] {
            assert!(!names(value, "\"a\""), "{value}");
        }
    }
}
