//! Tokens of programs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::tokens::{NewToken, add_token, revoke_token};
use crate::http::error::ApiError;
use crate::http::json::JsonBody;
use crate::http::listed::Listed;
use crate::http::principal::Admin;
use crate::http::state::AppState;
use crate::people::{Role, Scope, Token};

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "label": "ci", "role": "viewer", "projects": ["*"], "expires_at": "2030-01-01T00:00:00Z",
}))]
pub(crate) struct TokenBody {
    /// What people call it: letters, digits, spaces and `. _ @ + - '`.
    #[schema(min_length = 1, max_length = 64)]
    label: String,
    role: Role,
    projects: Scope,
    /// When it stops to work. Without it, it works until it is revoked.
    expires_at: Option<Timestamp>,
}

/// A token that was just made. Its text is never shown again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeToken {
    /// Identifies it in this API.
    id: String,
    /// The token, `gt_...`.
    token: String,
}

/// Lists the tokens of programs, without the tokens themselves.
#[utoipa::path(
    get, path = "/api/v1/tokens", operation_id = "list_tokens", tag = "People and tokens",
    security(("token" = ["admin"])), responses((status = OK, body = Listed<Token>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    Admin(_): Admin,
) -> Result<Json<Listed<Token>>, ApiError> {
    Ok(Json(Listed::whole(state.stores.people.tokens().await?)))
}

/// Makes a token for a program.
///
/// The answer is the only place where the token appears.
#[utoipa::path(
    post, path = "/api/v1/tokens", operation_id = "add_token", tag = "People and tokens",
    security(("token" = ["admin"])), request_body = TokenBody,
    responses((status = OK, body = MadeToken))
)]
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

/// Revokes a token: it is refused from the next request on.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{id}", operation_id = "revoke_token", tag = "People and tokens",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "The id of the token, from the list of tokens.")),
    responses((status = NO_CONTENT))
)]
pub(crate) async fn revoke(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    revoke_token(&state.stores, &id, &principal.actor, now).await?;
    Ok(StatusCode::NO_CONTENT)
}
