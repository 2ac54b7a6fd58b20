//! People over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};

use super::{Listed, session};
use crate::accounts::{NewPerson, add_person, change_person, make_link, remove_person};
use crate::http::error::ApiError;
use crate::http::json::JsonBody;
use crate::http::principal::Admin;
use crate::http::same_origin;
use crate::http::state::AppState;
use crate::people::{Person, PersonUpdate, Role, Scope};
use crate::secret::Secret;

/// A person to add.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonBody {
    name: String,
    role: Role,
    projects: Scope,
    password: Option<Secret>,
}

/// A change to a person.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonPatch {
    role: Option<Role>,
    projects: Option<Scope>,
    password: Option<Secret>,
}

/// A person who was just added.
#[derive(Debug, Serialize)]
pub(crate) struct Added {
    name: String,
    /// Where the person chooses a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

/// `GET /api/v1/people`.
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    Admin(_): Admin,
) -> Result<Json<Listed<Person>>, ApiError> {
    Ok(Json(Listed::whole(state.stores.people.people().await?)))
}

/// `POST /api/v1/people`.
pub(crate) async fn add(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    parts: Parts,
    JsonBody(body): JsonBody<PersonBody>,
) -> Result<Json<Added>, ApiError> {
    let password = match body.password {
        Some(password) => Some(session::hashed(&state, password).await?),
        None => None,
    };
    let (name, now) = (body.name.clone(), state.clock.now());
    let new = NewPerson {
        name: body.name,
        role: body.role,
        projects: body.projects,
        password,
    };
    let secret = add_person(&state.stores, new, &principal.actor, now).await?;
    let link = secret.map(|secret| link_to(&state, &parts, &secret));
    Ok(Json(Added { name, link }))
}

/// `PATCH /api/v1/people/{name}`.
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<PersonPatch>,
) -> Result<Json<Person>, ApiError> {
    let password = match body.password {
        Some(password) => Some(session::hashed(&state, password).await?),
        None => None,
    };
    let update = PersonUpdate {
        role: body.role,
        projects: body.projects,
        password,
    };
    let now = state.clock.now();
    let person = change_person(&state.stores, &name, update, &principal.actor, now).await?;
    Ok(Json(person))
}

/// `DELETE /api/v1/people/{name}`.
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    remove_person(&state.stores, &name, &principal.actor, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/people/{name}/link`: another link with which the person chooses a password.
pub(crate) async fn link(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    Path(name): Path<String>,
    parts: Parts,
) -> Result<Json<Added>, ApiError> {
    let now = state.clock.now();
    let secret = make_link(&state.stores, &name, &principal.actor, now).await?;
    let link = Some(link_to(&state, &parts, &secret));
    Ok(Json(Added { name, link }))
}

fn link_to(state: &AppState, parts: &Parts, secret: &Secret) -> String {
    let path = format!("/setup?token={}", secret.expose());
    match &state.public_url {
        Some(url) => url.link(&path),
        None => same_origin::own_origin(parts, state) + &path,
    }
}
