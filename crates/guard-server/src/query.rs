//! The query API: what was received, in numbers and record by record.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use guard_wire::Kind;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::routes::AppState;
use crate::store::{Page, ProjectId, Summary};

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 1000;

/// The parameters of a list. Pages follow one another by
/// `?before=<next_before of the last answer>` until that is null.
#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<u16>,
    before: Option<i64>,
}

/// Records, newest first; under the key of their kind.
#[derive(Debug, Serialize)]
struct Records {
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Vec<Box<RawValue>>>,
    next_before: Option<i64>,
}

/// `GET /api/v1/summary`.
pub(crate) async fn summary(
    State(state): State<Arc<AppState>>,
    Caller(project): Caller,
) -> Result<Json<Summary>, ApiError> {
    Ok(Json(state.telemetry.summary(project.id).await?))
}

/// `GET /api/v1/events`.
pub(crate) async fn events(
    State(state): State<Arc<AppState>>,
    Caller(project): Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    list(&state, project.id, Kind::Event, query).await
}

/// `GET /api/v1/metrics`.
pub(crate) async fn metrics(
    State(state): State<Arc<AppState>>,
    Caller(project): Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    list(&state, project.id, Kind::Metric, query).await
}

async fn list(
    state: &AppState,
    project: ProjectId,
    kind: Kind,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            format!("limit is {limit}; give 1 to {MAX_LIMIT}"),
        ));
    }
    let page = Page {
        before: query.before,
        limit,
    };
    let records = state.telemetry.records(project, kind, page).await?;
    // A full page may be the last one; the next one is then empty.
    let next_before = records
        .last()
        .filter(|_| records.len() == usize::from(limit))
        .map(|oldest| oldest.id);
    let bodies = Some(records.into_iter().map(|record| record.body).collect());
    let (events, metrics) = match kind {
        Kind::Event => (bodies, None),
        Kind::Metric => (None, bodies),
    };
    Ok(Json(Records {
        events,
        metrics,
        next_before,
    })
    .into_response())
}
