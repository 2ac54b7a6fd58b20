//! The channels of the server.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::bodies::{ChannelAnswer, ChannelBody, ChannelChange, TestAnswer};
use crate::alerts::Notification;
use crate::alerts::delivery::{attempt, channels};
use crate::alerts::manage::{self, ManageError};
use crate::http::error::ApiError;
use crate::http::json::JsonBody;
use crate::http::listed::Listed;
use crate::http::principal::{Admin, Viewer};
use crate::http::state::AppState;
use crate::people::credential::new_id;

/// Lists the channels, without their secrets, so that operators can choose among them.
#[utoipa::path(
    get, path = "/api/v1/channels", operation_id = "list_channels", tag = "Alerts",
    security(("token" = ["viewer"])), responses((status = OK, body = Listed<ChannelAnswer>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    _: Viewer,
) -> Result<Json<Listed<ChannelAnswer>>, ApiError> {
    let stored = state.stores.alerts.channels().await?.into_iter();
    let items = stored.filter_map(ChannelAnswer::stored);
    Ok(Json(Listed::whole(items.collect())))
}

/// Adds a channel. A server has at most 200.
#[utoipa::path(
    post, path = "/api/v1/channels", operation_id = "add_channel", tag = "Alerts",
    security(("token" = ["admin"])), request_body = ChannelBody,
    responses((status = CREATED, body = ChannelAnswer))
)]
pub(crate) async fn add(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<(StatusCode, Json<ChannelAnswer>), ApiError> {
    let (now, body) = (state.clock.now(), Value::Object(body));
    let channel = manage::add_channel(&state.stores, body, &principal.actor, now).await?;
    Ok((StatusCode::CREATED, answer(&state, &channel.id).await?))
}

/// Changes what the body names; null removes the secret. The type stays.
#[utoipa::path(
    patch, path = "/api/v1/channels/{id}", operation_id = "change_channel", tag = "Alerts",
    security(("token" = ["admin"])), request_body = ChannelChange,
    params(("id" = String, Path, description = "The id of the channel.")),
    responses((status = OK, body = ChannelAnswer))
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Json<ChannelAnswer>, ApiError> {
    let now = state.clock.now();
    manage::change_channel(&state.stores, &id, body, &principal.actor, now).await?;
    answer(&state, &id).await
}

async fn answer(state: &AppState, id: &str) -> Result<Json<ChannelAnswer>, ApiError> {
    let stored = state.stores.alerts.channels().await?.into_iter();
    let answer = stored
        .filter(|it| it.id == id)
        .find_map(ChannelAnswer::stored);
    let missing = || ManageError::NoSuchChannel(id.to_owned()).into();
    answer.map(Json).ok_or_else(missing)
}

/// Removes a channel that no alert uses.
#[utoipa::path(
    delete, path = "/api/v1/channels/{id}", operation_id = "remove_channel", tag = "Alerts",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "The id of the channel.")),
    responses((status = NO_CONTENT))
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    manage::remove_channel(&state.stores, &id, &principal.actor, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test message, and returns what the receiver answered.
#[utoipa::path(
    post, path = "/api/v1/channels/{id}/test", operation_id = "test_channel", tag = "Alerts",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "The id of the channel.")),
    responses((status = OK, body = TestAnswer))
)]
pub(crate) async fn test(
    State(state): State<Arc<AppState>>,
    Admin(_): Admin,
    Path(id): Path<String>,
) -> Result<Json<TestAnswer>, ApiError> {
    let known = channels(&*state.stores.alerts).await?;
    let Some(channel) = known.get(&id) else {
        return Err(ManageError::NoSuchChannel(id).into());
    };
    let id = new_id().map_err(ManageError::from)?;
    let notification = Notification::test(id, state.clock.now(), &state.dashboard);
    let begun = Instant::now();
    let sent = attempt(&*state.sender, channel, &notification).await;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(match sent {
        Ok(answer) => TestAnswer {
            delivered: true,
            status: answer.status,
            text: answer.to_string(),
            took_ms,
        },
        Err(error) => TestAnswer {
            delivered: false,
            status: error.answer().and_then(|answer| answer.status),
            text: error.to_string(),
            took_ms,
        },
    }))
}
