//! Sessions of people: signing in and out, by a cookie that scripts cannot read.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::accounts::{self, PeopleError, password};
use crate::http::client::Client;
use crate::http::error::{ApiError, ErrorAnswer};
use crate::http::json::JsonBody;
use crate::http::principal::{self, Credential, Principal, Viewer};
use crate::http::public_url::PublicUrl;
use crate::http::same_origin;
use crate::http::state::AppState;
use crate::people::{
    Actor, AuditEntry, Change, CredentialHash, PersonUpdate, Role, Scope, Session, Who, credential,
};
use crate::secret::Secret;

/// The cookie of a session.
const COOKIE: &str = "guard_session";

/// Who makes the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedIn {
    who: Who,
    /// The name of the person, or the label of the token.
    name: String,
    role: Role,
    projects: Scope,
}

impl From<Principal> for SignedIn {
    fn from(principal: Principal) -> Self {
        let name = match &principal.actor.who {
            Who::Person(name) | Who::Token(name) => name.clone(),
            other => other.to_string(),
        };
        Self {
            who: principal.actor.who,
            name,
            role: principal.role,
            projects: principal.projects,
        }
    }
}

/// A name and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "anna", "password": "correct horse battery staple" }))]
pub(crate) struct SignIn {
    name: String,
    password: Secret,
}

/// Which sessions end.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignOut {
    /// Whether all sessions of the person end, not only this one.
    #[serde(default)]
    everywhere: bool,
}

/// A new password, and the one before.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "current": "correct horse battery staple", "password": "staple battery horse correct",
}))]
pub(crate) struct NewPassword {
    current: Secret,
    /// At least 12 characters.
    password: Secret,
}

/// Returns who makes the request, and what they may do.
#[utoipa::path(
    get, path = "/api/v1/session", operation_id = "get_session", tag = "Session",
    security(("token" = ["viewer"])), responses((status = OK, body = SignedIn))
)]
pub(crate) async fn get(Viewer(principal): Viewer) -> Json<SignedIn> {
    Json(principal.into())
}

/// Signs in, and sets the cookie of the session.
///
/// Wrong passwords are slowed down for each account and each address.
#[utoipa::path(
    post, path = "/api/v1/session", operation_id = "sign_in", tag = "Session", security(()),
    request_body = SignIn,
    responses(
        (status = OK, body = SignedIn,
            headers(("Set-Cookie" = String, description = "`guard_session=...`"))),
        (status = 401, body = ErrorAnswer, description = "Wrong name or password.")
    )
)]
pub(crate) async fn sign_in(
    State(state): State<Arc<AppState>>,
    parts: Parts,
    JsonBody(given): JsonBody<SignIn>,
) -> Result<Response, ApiError> {
    same_origin::check_if_named(&parts, &state)?;
    try_password(&state, &parts, &given.name, given.password).await?;
    begin(&state, &parts, given.name).await
}

/// Signs out: ends this session, or all of the person.
#[utoipa::path(
    delete, path = "/api/v1/session", operation_id = "sign_out", tag = "Session",
    security(("session" = ["viewer"])), params(SignOut), responses((status = NO_CONTENT))
)]
pub(crate) async fn sign_out(
    State(state): State<Arc<AppState>>,
    Viewer(principal): Viewer,
    query: Result<Query<SignOut>, QueryRejection>,
    parts: Parts,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let (hash, name) = own_session(&principal)?;
    let people = &state.stores.people;
    let told = |action| told(&principal.actor, action, state.clock.now());
    if query.everywhere {
        let entry = told("session.sign_out_everywhere");
        people.remove_sessions(name, None, Some(entry)).await?;
    } else {
        let entry = told("session.sign_out");
        people.remove_session(hash, Some(entry)).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, &state, &parts, "", 0);
    Ok(response)
}

/// Changes the own password, and ends all other sessions.
#[utoipa::path(
    post, path = "/api/v1/session/password", operation_id = "change_password", tag = "Session",
    security(("session" = ["viewer"])), request_body = NewPassword,
    responses((status = OK, body = SignedIn,
        headers(("Set-Cookie" = String, description = "`guard_session=...`"))))
)]
pub(crate) async fn change_password(
    State(state): State<Arc<AppState>>,
    Viewer(principal): Viewer,
    parts: Parts,
    JsonBody(given): JsonBody<NewPassword>,
) -> Result<Response, ApiError> {
    let (_, name) = own_session(&principal)?;
    let name = name.to_owned();
    try_password(&state, &parts, &name, given.current).await?;
    let update = PersonUpdate {
        password: Some(hashed(&state, given.password).await?),
        ..PersonUpdate::default()
    };
    let now = state.clock.now();
    accounts::change_person(&state.stores, &name, update, &principal.actor, now).await?;
    begin(&state, &parts, name).await
}

/// The session and the name of a person who signed in.
fn own_session(principal: &Principal) -> Result<(CredentialHash, &str), ApiError> {
    match (&principal.credential, &principal.actor.who) {
        (Credential::Session(hash), Who::Person(name)) => Ok((*hash, name)),
        _ => Err(ApiError::bad_request(
            "A token has no session: revoke it with DELETE /api/v1/tokens/ID",
        )
        .code("no_session")),
    }
}

/// Checks and hashes a new password.
pub(crate) async fn hashed(state: &AppState, given: Secret) -> Result<String, ApiError> {
    password::check_password(&given)?;
    Ok(state.workers.run(move || password::hash(&given)).await??)
}

/// Compares a password. Wrong ones are slowed down. The answer and its time are the same for people
/// who do not exist.
async fn try_password(
    state: &AppState,
    parts: &Parts,
    name: &str,
    given: Secret,
) -> Result<(), ApiError> {
    let address = Client::of_parts(parts, state).address;
    state.sign_ins.begin(address, name).map_err(|wait| {
        let seconds = u16::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u16::MAX);
        ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("Too many wrong passwords; try again in {seconds} s"),
        )
        .code("too_many_attempts")
        .retry_after(seconds)
    })?;
    // A longer password cannot be right, and hashing it would only cost time.
    let is_too_long = given.expose().len() > password::MAX_PASSWORD;
    let stored = state.stores.people.password_of(name).await?;
    let compare = move || password::is_right(&given, stored.as_deref());
    if !is_too_long && state.workers.run(compare).await? {
        state.sign_ins.right(address, name);
        return Ok(());
    }
    state.sign_ins.wrong_from(address);
    Err(ApiError::unauthorized("Wrong name or password").code("wrong_password"))
}

/// Begins a session. Answers who signed in, with the cookie.
pub(crate) async fn begin(
    state: &AppState,
    parts: &Parts,
    name: String,
) -> Result<Response, ApiError> {
    let secret = credential::random("").map_err(PeopleError::from)?;
    let now = state.clock.now();
    let hash = CredentialHash::of(secret.expose());
    let address = Client::of_parts(parts, state).known_address();
    let actor = Actor {
        who: Who::Person(name.clone()),
        address,
    };
    let session = Session {
        person: name,
        created_at: now,
        seen_at: now,
    };
    let entry = told(&actor, "session.sign_in", now);
    let stored = state.stores.people.add_session(hash, session, Some(entry));
    stored.await?;
    let found = principal::find(state, Credential::Session(hash), address).await?;
    let Some(principal) = found else {
        return Err(ApiError::unauthorized("Wrong name or password").code("wrong_password"));
    };
    let mut response = Json(SignedIn::from(principal)).into_response();
    let seconds = state.sessions.total.as_secs();
    set_cookie(&mut response, state, parts, secret.expose(), seconds);
    Ok(response)
}

/// The entry of the audit log about a session.
fn told(actor: &Actor, action: &'static str, now: Timestamp) -> AuditEntry {
    let change = Change {
        action,
        object: actor.who.to_string(),
        ..Change::default()
    };
    AuditEntry::new(actor, change, now)
}

/// Sets the cookie. Browsers drop one marked `Secure` that comes over plain HTTP, so that depends on
/// how this request came.
fn set_cookie(response: &mut Response, state: &AppState, parts: &Parts, value: &str, age: u64) {
    let base = state.public_url.as_ref().map_or("", PublicUrl::base);
    let path = if base.is_empty() { "/" } else { base };
    let secure = if same_origin::is_https(parts, state) {
        "; Secure"
    } else {
        ""
    };
    let cookie =
        format!("{COOKIE}={value}; Path={path}; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// The values of the session cookie. A browser sends several if a cookie of the same name was set
/// for another path.
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::COOKIE).iter();
    let pairs = values
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(';'));
    pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name.trim() == COOKIE).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let found = |value: &str| {
            let headers = HeaderMap::from_iter([(header::COOKIE, value.parse().unwrap())]);
            cookies(&headers).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(found("a=1; guard_session=x; b=2"), ["x"]);
        assert_eq!(found("guard_session=x;guard_session=y"), ["x", "y"]);
        assert!(found("my_guard_session=x; guard_session").is_empty());
    }
}
