//! The alerts of a project.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::bodies::{AlertAnswer, AlertBody, AlertChange, HistoryItem, MuteBody};
use crate::alerts::manage::{self, AlertView, ManageError};
use crate::alerts::standing::active_groups;
use crate::http::error::ApiError;
use crate::http::json::JsonBody;
use crate::http::listed::Listed;
use crate::http::principal::{In, Operator, Viewer};
use crate::http::query::limit_of;
use crate::http::state::AppState;
use crate::store::{Cursor, Project, StoreError};

/// Which entries of a history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    /// The most entries; 50 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// The answers for alerts, with where they stand.
async fn answers(
    state: &AppState,
    project: &Project,
    views: Vec<AlertView>,
) -> Result<Vec<AlertAnswer>, ApiError> {
    let mut states = HashMap::<_, Vec<_>>::new();
    for stored in state.stores.alerts.alert_states().await? {
        if stored.project == project.id {
            states.entry(stored.alert.clone()).or_default().push(stored);
        }
    }
    let answer = |view: AlertView| {
        let its = states.remove(&view.rule.id).unwrap_or_default();
        let active = active_groups(&view.rule, its);
        let failure = state.alert_failures.of(project.id, &view.rule.id);
        AlertAnswer::new(view, active, failure)
    };
    Ok(views.into_iter().map(answer).collect())
}

async fn answer(
    state: &AppState,
    project: &Project,
    view: AlertView,
) -> Result<Json<AlertAnswer>, ApiError> {
    let answers = answers(state, project, vec![view]).await?;
    let first = answers.into_iter().next().map(Json);
    first.ok_or_else(|| ApiError::unavailable("The alert cannot be read"))
}

/// Lists the alerts, and where they stand.
#[utoipa::path(
    get, path = "/alerts", operation_id = "list_alerts", tag = "Alerts",
    security(("token" = ["viewer"])), responses((status = OK, body = Listed<AlertAnswer>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
) -> Result<Json<Listed<AlertAnswer>>, ApiError> {
    let project = &viewer.project;
    manage::add_defaults(&state.stores, project, state.clock.now()).await?;
    let alerts = state.stores.alerts.alerts(project.id).await?;
    let views = alerts.iter().filter_map(AlertView::stored).collect();
    Ok(Json(Listed::whole(answers(&state, project, views).await?)))
}

/// Adds an alert. A project has at most 2,000.
#[utoipa::path(
    post, path = "/alerts", operation_id = "add_alert", tag = "Alerts",
    security(("token" = ["operator"])), request_body = AlertBody,
    responses((status = CREATED, body = AlertAnswer))
)]
pub(crate) async fn add(
    State(state): State<Arc<AppState>>,
    operator: In<Operator>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<(StatusCode, Json<AlertAnswer>), ApiError> {
    let (actor, now) = (&operator.principal.actor, state.clock.now());
    let (project, body) = (&operator.project, Value::Object(body));
    let added = manage::add_alert(&state.stores, project, body, actor, now).await?;
    Ok((StatusCode::CREATED, answer(&state, project, added).await?))
}

/// Changes the settings that the body names; null sets one to its default.
#[utoipa::path(
    patch, path = "/alerts/{id}", operation_id = "change_alert", tag = "Alerts",
    security(("token" = ["operator"])), request_body = AlertChange,
    params(("id" = String, Path, description = "The id of the alert.")),
    responses((status = OK, body = AlertAnswer))
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    operator: In<Operator>,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Json<AlertAnswer>, ApiError> {
    let (actor, now) = (&operator.principal.actor, state.clock.now());
    let project = &operator.project;
    let changed = manage::change_alert(&state.stores, project, &id, body, actor, now);
    answer(&state, project, changed.await?).await
}

/// Removes an alert with its history.
#[utoipa::path(
    delete, path = "/alerts/{id}", operation_id = "remove_alert", tag = "Alerts",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "The id of the alert.")),
    responses((status = NO_CONTENT))
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    operator: In<Operator>,
    Path((_, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (actor, now) = (&operator.principal.actor, state.clock.now());
    manage::remove_alert(&state.stores, &operator.project, &id, actor, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Mutes an alert for a while. Its history continues.
#[utoipa::path(
    post, path = "/alerts/{id}/mute", operation_id = "mute_alert", tag = "Alerts",
    security(("token" = ["operator"])), request_body = MuteBody,
    params(("id" = String, Path, description = "The id of the alert.")),
    responses((status = OK, body = AlertAnswer))
)]
pub(crate) async fn mute(
    State(state): State<Arc<AppState>>,
    operator: In<Operator>,
    Path((_, id)): Path<(String, String)>,
    JsonBody(MuteBody { duration_s }): JsonBody<MuteBody>,
) -> Result<Json<AlertAnswer>, ApiError> {
    let (actor, now) = (&operator.principal.actor, state.clock.now());
    let project = &operator.project;
    let muted = manage::mute_alert(&state.stores, project, &id, duration_s, actor, now);
    answer(&state, project, muted.await?).await
}

/// Lists what happened to an alert, the newest first: at most the last 1,000 entries.
#[utoipa::path(
    get, path = "/alerts/{id}/history", operation_id = "get_alert_history", tag = "Alerts",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "The id of the alert."), HistoryQuery),
    responses((status = OK, body = Listed<HistoryItem>))
)]
pub(crate) async fn history(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    Path((_, id)): Path<(String, String)>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<Listed<HistoryItem>>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let wrong_cursor = || {
        let error = StoreError::InvalidCursor;
        let refused = ApiError::bad_request(format!("cursor: {error}"));
        refused.code("invalid_cursor").field("cursor")
    };
    let cursor = query.cursor.map(|text| text.parse::<Cursor>());
    let cursor = cursor.transpose().map_err(|_| wrong_cursor())?;
    let limit = limit_of(query.limit)?;
    let project = viewer.project.id;
    let alerts = state.stores.alerts.alerts(project).await?;
    if !alerts.iter().any(|alert| alert.id == id) {
        return Err(ManageError::NoSuchAlert(id).into());
    }
    let page = state
        .stores
        .alerts
        .alert_history(project, &id, cursor, limit);
    let page = match page.await {
        Err(StoreError::InvalidCursor) => return Err(wrong_cursor()),
        page => page?,
    };
    Ok(Json(Listed {
        items: page.items.iter().filter_map(HistoryItem::stored).collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}
