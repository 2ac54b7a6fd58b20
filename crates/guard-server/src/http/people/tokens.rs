//! Tokens of programs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Listed;
use crate::accounts::tokens::{NewToken, add_token, revoke_token};
use crate::http::error::ApiError;
use crate::http::json::JsonBody;
use crate::http::principal::Admin;
use crate::http::state::AppState;
use crate::people::{Role, Scope, Token};

/// A token to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBody {
    label: String,
    role: Role,
    projects: Scope,
    expires_at: Option<Timestamp>,
}

/// A token that was just made. Its text is never shown again.
#[derive(Debug, Serialize)]
pub(crate) struct MadeToken {
    id: String,
    token: String,
}

/// `GET /api/v1/tokens`.
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    Admin(_): Admin,
) -> Result<Json<Listed<Token>>, ApiError> {
    Ok(Json(Listed::whole(state.stores.people.tokens().await?)))
}

/// `POST /api/v1/tokens`.
pub(crate) async fn add(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    JsonBody(body): JsonBody<TokenBody>,
) -> Result<Json<MadeToken>, ApiError> {
    let new = NewToken {
        label: body.label,
        role: body.role,
        projects: body.projects,
        expires_at: body.expires_at,
    };
    let now = state.clock.now();
    let (id, token) = add_token(&state.stores, new, &principal.actor, now).await?;
    let token = token.expose().to_owned();
    Ok(Json(MadeToken { id, token }))
}

/// `DELETE /api/v1/tokens/{id}`.
pub(crate) async fn revoke(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    revoke_token(&state.stores, &id, &principal.actor, now).await?;
    Ok(StatusCode::NO_CONTENT)
}
