//! Links with which people choose their first password.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::session;
use crate::accounts::{self, PeopleError};
use crate::http::client::Client;
use crate::http::error::ApiError;
use crate::http::json::JsonBody;
use crate::http::same_origin;
use crate::http::state::AppState;
use crate::people::{Actor, CredentialHash, Who};
use crate::secret::Secret;

/// A link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkQuery {
    token: String,
}

/// Whether a link can be used.
#[derive(Debug, Serialize)]
pub(crate) struct LinkAnswer {
    valid: bool,
    /// Whose password it sets; null for the first admin, who chooses a name too.
    name: Option<String>,
}

/// A link, and what its person chose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetupBody {
    token: String,
    name: Option<String>,
    password: Secret,
}

/// `GET /api/v1/setup?token=`: whether the link can be used.
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    query: Result<Query<LinkQuery>, QueryRejection>,
) -> Result<Json<LinkAnswer>, ApiError> {
    let Query(query) = query.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let link = state.stores.people.link(CredentialHash::of(&query.token));
    let link = link.await?.ok_or(PeopleError::Link)?;
    Ok(Json(LinkAnswer {
        valid: true,
        name: link.person,
    }))
}

/// `POST /api/v1/setup`: sets the password, and for the first admin the name, and signs in. The link
/// works once.
pub(crate) async fn complete(
    State(state): State<Arc<AppState>>,
    parts: Parts,
    JsonBody(body): JsonBody<SetupBody>,
) -> Result<Response, ApiError> {
    same_origin::check_if_named(&parts, &state)?;
    let SetupBody {
        token,
        name,
        password,
    } = body;
    // Hashing costs time, so an unknown link ends here.
    let link = state.stores.people.link(CredentialHash::of(&token)).await?;
    let who = link
        .ok_or(PeopleError::Link)?
        .person
        .or_else(|| name.clone());
    let password = session::hashed(&state, password).await?;
    let actor = Actor {
        who: Who::Person(who.unwrap_or_default()),
        address: Client::of_parts(&parts, &state).known_address(),
    };
    let now = state.clock.now();
    let name = accounts::use_link(&state.stores, &token, name, password, &actor, now).await?;
    session::begin(&state, &parts, name).await
}
