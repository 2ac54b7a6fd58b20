//! People over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::session;
use crate::accounts::{NewPerson, add_person, change_person, make_link, remove_person};
use crate::http::error::{ApiError, ErrorAnswer};
use crate::http::json::JsonBody;
use crate::http::listed::Listed;
use crate::http::principal::Admin;
use crate::http::same_origin;
use crate::http::state::AppState;
use crate::people::{Person, PersonUpdate, Role, Scope};
use crate::secret::Secret;

/// A person to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ben", "role": "operator", "projects": ["default"] }))]
pub(crate) struct PersonBody {
    /// Letters, digits, spaces and `. _ @ + - '`.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    role: Role,
    projects: Scope,
    /// At least 12 characters. Without one, the person chooses it.
    password: Option<Secret>,
}

/// A change to a person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "role": "admin", "projects": ["*"] }))]
pub(crate) struct PersonPatch {
    role: Option<Role>,
    projects: Option<Scope>,
    /// At least 12 characters.
    password: Option<Secret>,
}

/// A person, and the link with which they choose a password.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Added {
    /// The name of the person.
    name: String,
    /// Where the person chooses a password; missing if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

/// Lists the people who can sign in.
#[utoipa::path(
    get, path = "/api/v1/people", operation_id = "list_people", tag = "People and tokens",
    security(("token" = ["admin"])), responses((status = OK, body = Listed<Person>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    Admin(_): Admin,
) -> Result<Json<Listed<Person>>, ApiError> {
    Ok(Json(Listed::whole(state.stores.people.people().await?)))
}

/// Adds a person.
///
/// Without a password, the answer has a link with which the person chooses one.
#[utoipa::path(
    post, path = "/api/v1/people", operation_id = "add_person", tag = "People and tokens",
    security(("token" = ["admin"])), request_body = PersonBody,
    responses((status = OK, body = Added))
)]
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

/// Changes the role, the projects or the password of a person.
#[utoipa::path(
    patch, path = "/api/v1/people/{name}", operation_id = "change_person",
    tag = "People and tokens", security(("token" = ["admin"])),
    params(("name" = String, Path, description = "The name of the person.")),
    request_body = PersonPatch,
    responses(
        (status = OK, body = Person),
        (status = 409, body = ErrorAnswer, description = "Nobody could manage the server any more.")
    )
)]
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

/// Removes a person, and ends their sessions.
#[utoipa::path(
    delete, path = "/api/v1/people/{name}", operation_id = "delete_person",
    tag = "People and tokens", security(("token" = ["admin"])),
    params(("name" = String, Path, description = "The name of the person.")),
    responses(
        (status = NO_CONTENT),
        (status = 409, body = ErrorAnswer, description = "Nobody could manage the server any more.")
    )
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    remove_person(&state.stores, &name, &principal.actor, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes another link with which the person chooses a password.
#[utoipa::path(
    post, path = "/api/v1/people/{name}/link", operation_id = "make_link",
    tag = "People and tokens", security(("token" = ["admin"])),
    params(("name" = String, Path, description = "The name of the person.")),
    responses((status = OK, body = Added))
)]
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
