//! Who makes a request to the operator API: a person with a session, or a program with a token.
//! Keys of agents are refused.
//!
//! A handler says by its arguments who may call it:
//!
//! | argument | who |
//! |---|---|
//! | [`Viewer`] | everybody who signed in; what they see depends on their projects |
//! | [`Operator`], [`Admin`] | people and programs with this role for all projects |
//! | [`In<Viewer>`](In), `In<Operator>`, `In<Admin>` | those with this role for the project in the path |
//!
//! Roles are read from the store with each request, so a change takes effect with the next one.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use jiff::{SignedDuration, Timestamp};

use super::caller::{bearer, keys};
use super::client::Client;
use super::error::ApiError;
use super::people::session;
use super::same_origin;
use super::state::AppState;
use crate::people::{Actor, CredentialHash, Role, Scope, Who};
use crate::projects::KeyHash;
use crate::store::{Project, StoreError};

/// The last use of a token or session is stored if the stored one is older than this.
const USE_STORED_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// What the paths of the API begin with.
const API: &str = "/api/";
/// The path parameter that names the project.
const PROJECT: &str = "project";

/// What proves who makes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The cookie of a session.
    Session(CredentialHash),
    /// A token.
    Token(CredentialHash),
}

impl Credential {
    /// The hash of the cookie or token.
    pub(crate) const fn hash(self) -> CredentialHash {
        let (Self::Session(hash) | Self::Token(hash)) = self;
        hash
    }
}

/// Who makes a request, and what they may do.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    pub(crate) actor: Actor,
    pub(crate) role: Role,
    pub(crate) projects: Scope,
    pub(crate) credential: Credential,
}

/// Everybody who signed in.
pub(crate) struct Viewer(pub(crate) Principal);
/// Operators. They act on projects only, so this is a level of [`In`] and no extractor.
pub(crate) enum Operator {}
/// Admins of all projects.
pub(crate) struct Admin(pub(crate) Principal);

/// The least role that a call needs.
pub(crate) trait Level {
    const ROLE: Role;
}

impl Level for Viewer {
    const ROLE: Role = Role::Viewer;
}

impl Level for Operator {
    const ROLE: Role = Role::Operator;
}

impl Level for Admin {
    const ROLE: Role = Role::Admin;
}

/// Somebody with role `L` in the project that the path names.
pub(crate) struct In<L> {
    pub(crate) principal: Principal,
    pub(crate) project: Project,
    level: PhantomData<L>,
}

impl FromRequestParts<Arc<AppState>> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        authenticate(parts, state).await.map(Self)
    }
}

impl FromRequestParts<Arc<AppState>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        everywhere(Role::Admin, parts, state).await.map(Self)
    }
}

impl<L: Level> FromRequestParts<Arc<AppState>> for In<L> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let (principal, project) = in_project(L::ROLE, parts, state).await?;
        Ok(Self {
            principal,
            project,
            level: PhantomData,
        })
    }
}

/// Somebody with `role` for all projects.
async fn everywhere(
    role: Role,
    parts: &mut Parts,
    state: &Arc<AppState>,
) -> Result<Principal, ApiError> {
    let principal = authenticate(parts, state).await?;
    if principal.role < role {
        return Err(role_needed(role, &principal));
    }
    if !principal.projects.is_all() {
        return Err(ApiError::forbidden(format!(
            "This needs the role {role} for all projects; {} has it for {}",
            principal.actor.who, principal.projects
        ))
        .code("role_needed"));
    }
    Ok(principal)
}

/// Somebody with `role` in the project that the path names.
pub(crate) async fn in_project(
    role: Role,
    parts: &mut Parts,
    state: &Arc<AppState>,
) -> Result<(Principal, Project), ApiError> {
    let principal = authenticate(parts, state).await?;
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let name = params.iter().find(|(key, _)| *key == PROJECT);
    let name = name.map_or("", |(_, name)| name);
    // Without a role in it, nobody learns whether it exists.
    let project = if principal.projects.covers(name) {
        state.stores.projects.project_named(name).await?
    } else {
        None
    };
    let Some(project) = project else {
        return Err(ApiError::not_found(
            "There is no such project among yours; see GET /api/v1/session",
        )
        .code("no_such_project"));
    };
    if principal.role < role {
        return Err(role_needed(role, &principal));
    }
    Ok((principal, project))
}

fn role_needed(role: Role, principal: &Principal) -> ApiError {
    let (who, has) = (&principal.actor.who, principal.role);
    ApiError::forbidden(format!(
        "This needs the role {role}; {who} has the role {has}"
    ))
    .code("role_needed")
}

/// Finds out who makes the request.
pub(crate) async fn authenticate(parts: &Parts, state: &AppState) -> Result<Principal, ApiError> {
    let address = Client::of_parts(parts, state).known_address();
    if let Some(token) = bearer(&parts.headers) {
        let credential = Credential::Token(CredentialHash::of(token));
        if let Some(principal) = find(state, credential, address).await? {
            return Ok(principal);
        }
    }
    refuse_agents(state, &parts.headers).await?;
    if keys(&parts.headers).next().is_some() {
        return Err(ApiError::wrong_key("Unknown, expired or revoked token").code("unknown_token"));
    }
    for cookie in session::cookies(&parts.headers) {
        let credential = Credential::Session(CredentialHash::of(cookie));
        if let Some(principal) = find(state, credential, address).await? {
            if !parts.method.is_safe() {
                same_origin::check(parts, state)?;
            }
            return Ok(principal);
        }
    }
    Err(
        ApiError::unauthorized("Sign in, or send a token as Authorization: Bearer gt_...")
            .code("sign_in_needed"),
    )
}

/// The principal of a credential that is valid now. Stores at intervals that it was used.
pub(crate) async fn find(
    state: &AppState,
    credential: Credential,
    address: Option<IpAddr>,
) -> Result<Option<Principal>, StoreError> {
    let (people, now) = (&state.stores.people, state.clock.now());
    let Some(found) = look_up(state, credential, address).await? else {
        return Ok(None);
    };
    if is_stale(found.used_at, now) {
        used(match credential {
            Credential::Token(_) => people.touch_token(&found.token, now).await,
            Credential::Session(hash) => people.touch_session(hash, now).await,
        });
    }
    Ok(Some(found.principal))
}

/// What the store knows about a credential that is valid now.
pub(crate) struct Found {
    pub(crate) principal: Principal,
    /// When it was last used, as far as that is stored.
    used_at: Option<Timestamp>,
    /// The id of a token.
    token: String,
}

/// The same as [`find`], but does not count as a use.
pub(crate) async fn look_up(
    state: &AppState,
    credential: Credential,
    address: Option<IpAddr>,
) -> Result<Option<Found>, StoreError> {
    let (people, now) = (&state.stores.people, state.clock.now());
    let principal = |who, role, projects| Principal {
        actor: Actor { who, address },
        role,
        projects,
        credential,
    };
    Ok(match credential {
        Credential::Token(hash) => {
            let token = people.token(hash).await?;
            let token = token.filter(|token| !token.is_expired(now));
            token.map(|token| Found {
                principal: principal(Who::Token(token.label), token.role, token.projects),
                used_at: token.last_used_at,
                token: token.id,
            })
        }
        Credential::Session(hash) => {
            let found = people.session(hash).await?;
            let found = found.filter(|(session, _)| !state.sessions.is_over(session, now));
            found.map(|(session, person)| Found {
                principal: principal(Who::Person(person.name), person.role, person.projects),
                used_at: Some(session.seen_at),
                token: String::new(),
            })
        }
    })
}

fn is_stale(stored: Option<Timestamp>, now: Timestamp) -> bool {
    stored.is_none_or(|stored| now.duration_since(stored).abs() >= USE_STORED_AFTER)
}

/// A request does not fail because the time of the last use cannot be stored.
fn used(stored: Result<(), StoreError>) {
    if let Err(error) = stored {
        tracing::debug!(%error, "cannot store when a token or session was last used");
    }
}

/// The answer for a path or method that does not exist. An agent is not told which calls of people
/// exist.
pub(crate) async fn nothing_here(
    state: &AppState,
    path: &str,
    headers: &HeaderMap,
    error: ApiError,
) -> ApiError {
    if !path.starts_with(API) {
        return error;
    }
    refuse_agents(state, headers).await.err().unwrap_or(error)
}

/// Refuses the key of an agent.
async fn refuse_agents(state: &AppState, headers: &HeaderMap) -> Result<(), ApiError> {
    for key in keys(headers) {
        let project = state.stores.projects.project_of_key(KeyHash::of(key));
        if project.await?.is_some() {
            return Err(ApiError::forbidden(
                "An API key of agents can send records and fetch rules, nothing else: sign in, or \
                 send a token as Authorization: Bearer gt_...",
            )
            .code("agent_key"));
        }
    }
    Ok(())
}
