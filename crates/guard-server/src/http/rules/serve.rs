//! `GET /api/v1/rules`: answers at once, or holds the request until the rules change.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use guard_wire::header::SIGNATURE;
use guard_wire::rules::DynamicRules;
use guard_wire::sign;
use tokio::sync::watch;
use tracing::Instrument as _;
use utoipa::IntoParams;

use crate::http::caller::Caller;
use crate::http::connections::Connection;
use crate::http::error::ApiError;
use crate::http::later::later;
use crate::http::openapi::params::SenderHeaders;
use crate::http::sender::sender;
use crate::http::state::AppState;
use crate::projects::KeyId;
use crate::rules::Current;
use crate::secret::Secret;
use crate::store::{AgentId, AgentSignal, ProjectId};

/// The longest time that a request is held, in seconds. Many proxies and balancers give up after 60.
const MAX_WAIT: u64 = 55;
const PREFER: &str = "prefer";
const PREFERENCE_APPLIED: &str = "preference-applied";

/// What a request for rules knows, and how long it waits.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the description is used")]
struct RulesHeaders {
    /// The `ETag` of the rules that the agent has.
    #[param(rename = "If-None-Match")]
    known: Option<String>,
    /// `wait=N`: waits up to N seconds, at most 55, for the rules to change.
    #[param(rename = "Prefer")]
    preference: Option<String>,
}

/// Returns the rules in force.
///
/// If `If-None-Match` names them, the answer is 304. With `Prefer: wait=N` (RFC 7240) the 304 comes
/// only after N seconds, and a change is answered as soon as it happens. If too many requests wait
/// already, the answer comes at once and without `Preference-Applied`.
#[utoipa::path(
    get, path = "/api/v1/rules", operation_id = "get_rules", tag = "Agents",
    security(("key" = [])), params(SenderHeaders, RulesHeaders),
    responses(
        (status = OK, body = DynamicRules, description = "The rules; `{}` if there are none.",
            headers(
                ("ETag" = String, description = "Names the rules."),
                ("Preference-Applied" = String, description = "`wait=N`, if it was honoured."),
                ("X-Payload-Signature" = String,
                    description = "The signature of the body, if the project has a secret.")
            )),
        (status = 304, description = "Nothing changed.")
    )
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    Caller(project, key): Caller,
    connection: Option<Extension<Arc<Connection>>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let rules = state.feed.subscribe(project.id).await?;
    let mut wait = preferred_wait(&headers);
    let holds = wait.is_some_and(|seconds| seconds > 0);
    let asked = Asked {
        known: tags(&headers, &header::IF_NONE_MATCH)
            .map(Box::from)
            .collect(),
        agent: sender(&headers),
        project: project.id,
        signing_secret: project.signing_secret,
        key,
        state,
    };
    asked.note(AgentSignal::Asked { holds });
    let mut held = None;
    if let (Some(Extension(connection)), Some(1..)) = (connection, wait)
        && asked.knows(&rules.borrow().tag)
    {
        held = connection.hold();
        // The request got no place to wait, so the answer must not claim that it waited.
        wait = wait.filter(|_| held.is_some());
    }
    let Some(held) = held else {
        return asked.answer(rules, wait).await;
    };
    let making = async move {
        let answer = asked.answer(rules, wait).await;
        drop(held);
        answer.into_response()
    };
    Ok(later(making.in_current_span()))
}

/// What a request for rules asked for.
struct Asked {
    /// The tags of rules that the agent has.
    known: Box<[Box<str>]>,
    agent: AgentId,
    project: ProjectId,
    signing_secret: Option<Secret>,
    key: KeyId,
    state: Arc<AppState>,
}

impl Asked {
    fn note(&self, what: AgentSignal) {
        let check_ins = &self.state.check_ins;
        check_ins.note(self.project, self.agent.clone(), what);
    }

    fn knows(&self, tag: &str) -> bool {
        self.known.iter().any(|known| names(known, tag))
    }

    /// Waits until the agent does not know the rules, at most this many seconds. Then answers.
    async fn answer(
        self,
        mut rules: watch::Receiver<Arc<Current>>,
        wait: Option<u64>,
    ) -> Result<Response, ApiError> {
        let state = &self.state;
        if let Some(seconds) = wait {
            let changed = rules.wait_for(|current| !self.knows(&current.tag));
            let mut watched = state.held_keys.watch(&self.key);
            tokio::select! {
                _ = changed => {}
                () = watched.revoked() => {}
                () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
                () = state.feed.stopped() => {}
            }
            if watched.is_revoked() {
                return Err(ApiError::unauthorized("This API key was revoked").code("key_revoked"));
            }
        }
        let current = Arc::clone(&rules.borrow());
        if let Some(version) = current.version {
            self.note(AgentSignal::Fetched(version));
        }
        let mut response = if self.knows(&current.tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let body = current.body(state.clock.now());
            let secret = self.signing_secret.as_ref();
            let signature = secret.and_then(|secret| sign::sign(&body, secret.expose()));
            let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
            insert(&mut response, SIGNATURE, signature);
            response
        };
        insert(&mut response, "etag", Some(current.tag.clone()));
        insert(&mut response, "cache-control", Some("no-cache".to_owned()));
        let applied = wait.map(|seconds| format!("wait={seconds}"));
        insert(&mut response, PREFERENCE_APPLIED, applied);
        Ok(response)
    }
}

fn insert(response: &mut Response, name: &'static str, value: Option<String>) {
    if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok())
        && let Ok(name) = HeaderName::try_from(name)
    {
        response.headers_mut().insert(name, value);
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value| value.to_str().ok())
}

/// The entity tags of a condition, or `*`.
pub(super) fn tags<'a>(
    headers: &'a HeaderMap,
    condition: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let lists = values(headers, condition.as_str());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

/// Whether a tag from `If-None-Match` equals `tag`, by the weak comparison of RFC 9110.
fn names(named: &str, tag: &str) -> bool {
    named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag
}

/// The seconds of the first `wait` preference, at most [`MAX_WAIT`].
fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    values(headers, PREFER)
        .flat_map(|value| value.split(','))
        .find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("wait") {
                return None;
            }
            let seconds: u64 = value.trim().trim_matches('"').parse().ok()?;
            Some(seconds.min(MAX_WAIT))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_matches_alone_in_a_list_weak_or_by_the_star() {
        let is_named = |value: &str| {
            let headers = [(header::IF_NONE_MATCH, value.parse().unwrap())];
            let headers = HeaderMap::from_iter(headers);
            tags(&headers, &header::IF_NONE_MATCH).any(|it| names(it, "\"a\""))
        };
        for value in ["\"a\"", "\"b\", \"a\"", "W/\"a\"", "*"] {
            assert!(is_named(value), "{value}");
        }
        for value in ["", "a", "\"b\"", "W/\"b\""] {
            assert!(!is_named(value), "{value}");
        }
    }

    #[test]
    fn the_preferred_wait_is_found_among_other_preferences_and_capped() {
        let wait = |value: &str| {
            let headers = [(HeaderName::from_static(PREFER), value.parse().unwrap())];
            preferred_wait(&HeaderMap::from_iter(headers))
        };
        assert_eq!(wait("wait=30"), Some(30));
        assert_eq!(wait("respond-async, WAIT = \"5\"; x=y"), Some(5));
        assert_eq!(wait("wait=0"), Some(0));
        assert_eq!(wait("wait=3600"), Some(MAX_WAIT));
        for value in ["", "wait", "wait=", "wait=-1", "wait=1.5", "awaiting=3"] {
            assert_eq!(wait(value), None, "{value}");
        }
    }
}
