//! Links with which people choose their first password.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::session;
use crate::accounts::{self, PeopleError};
use crate::http::client::Client;
use crate::http::error::{ApiError, ErrorAnswer};
use crate::http::json::JsonBody;
use crate::http::same_origin;
use crate::http::state::AppState;
use crate::people::{Actor, CredentialHash, Who};
use crate::secret::Secret;

/// A link.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkQuery {
    /// The token in the link.
    token: String,
}

/// Whether a link can be used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkAnswer {
    /// True.
    valid: bool,
    /// Whose password it sets; null for the first admin, who chooses a name too.
    #[schema(required = true)]
    name: Option<String>,
}

/// A link, and what its person chose.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "token": "eWqTz0JZ4mX9", "name": "anna", "password": "correct horse battery staple",
}))]
pub(crate) struct SetupBody {
    /// The token in the link.
    token: String,
    /// The name of the first admin.
    name: Option<String>,
    /// At least 12 characters.
    password: Secret,
}

/// Says whether a link for a password can be used.
#[utoipa::path(
    get, path = "/api/v1/setup", operation_id = "get_setup", tag = "Session", security(()),
    params(LinkQuery),
    responses(
        (status = OK, body = LinkAnswer),
        (status = 404, body = ErrorAnswer, description = "The link was used, is too old, or is wrong.")
    )
)]
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

/// Sets the password of a person by a link, and signs in.
///
/// The first admin also chooses a name. The link works once.
#[utoipa::path(
    post, path = "/api/v1/setup", operation_id = "complete_setup", tag = "Session", security(()),
    request_body = SetupBody,
    responses(
        (status = OK, body = super::session::SignedIn,
            headers(("Set-Cookie" = String, description = "`guard_session=...`"))),
        (status = 404, body = ErrorAnswer, description = "The link was used, is too old, or is wrong.")
    )
)]
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
