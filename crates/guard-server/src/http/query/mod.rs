//! The query API: counts, and who has the rules.

use std::num::NonZero;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::explore::{Summary, summary as summary_of};
use crate::fleet::adoption::{self, Adoption, AdoptionError};
use crate::http::error::ApiError;
use crate::http::principal::{In, Viewer};
use crate::http::state::AppState;

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 1000;

/// The parameters of a list. To get the next page, send `?before=<next_before of the last answer>`
/// until `next_before` is null.
#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery<T> {
    limit: Option<u16>,
    before: Option<T>,
}

/// What a project sent, and what the whole server refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectSummary {
    #[serde(flatten)]
    summary: Summary,
    /// Requests with a wrong key since the server started, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    wrong_keys: Option<NonZero<u64>>,
    /// Wrong passwords since the server started, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    wrong_passwords: Option<NonZero<u64>>,
}

/// Returns the counts of the records of a project by kind and type, and its agents.
///
/// The agents are those that reported last: at most 100, and up to 16 MiB.
#[utoipa::path(
    get, path = "/summary", operation_id = "get_summary", tag = "Pages",
    security(("token" = ["viewer"])), responses((status = OK, body = ProjectSummary))
)]
pub(crate) async fn summary(
    State(state): State<Arc<AppState>>,
    asked: In<Viewer>,
) -> Result<Json<ProjectSummary>, ApiError> {
    Ok(Json(ProjectSummary {
        summary: summary_of(&state.stores, asked.project.id).await?,
        wrong_keys: NonZero::new(state.wrong_keys.count()),
        wrong_passwords: NonZero::new(state.sign_ins.wrong()),
    }))
}

/// The parameters of the adoption query.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AdoptionQuery {
    /// This version, or a later one, instead of the one in force.
    #[param(minimum = 1, example = 1)]
    version: Option<i64>,
}

/// Says which processes have the rules in force.
#[utoipa::path(
    get, path = "/rules/adoption", operation_id = "get_adoption", tag = "Rules",
    security(("token" = ["viewer"])), params(AdoptionQuery),
    responses((status = OK, body = Adoption))
)]
pub(crate) async fn adoption(
    State(state): State<Arc<AppState>>,
    asked: In<Viewer>,
    query: Result<Query<AdoptionQuery>, QueryRejection>,
) -> Result<Json<Adoption>, ApiError> {
    let Query(query) = query.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    // The answer includes what agents reported before this request.
    state.check_ins.save().await?;
    let now = state.clock.now();
    let adoption = adoption::adoption(
        &*state.stores.rules,
        &*state.stores.fleet,
        asked.project.id,
        query.version,
        now,
    )
    .await?;
    Ok(Json(adoption))
}

impl From<AdoptionError> for ApiError {
    fn from(error: AdoptionError) -> Self {
        match error {
            AdoptionError::NoSuchVersion { .. } => {
                Self::new(StatusCode::NOT_FOUND, error.to_string())
            }
            AdoptionError::Store(error) => error.into(),
        }
    }
}

/// The requested part of a list: before which item, and how many.
pub(crate) fn part<T>(
    query: Result<Query<ListQuery<T>>, QueryRejection>,
) -> Result<(Option<T>, u16), ApiError> {
    let Query(query) = query.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    Ok((query.before, limit_of(query.limit)?))
}

/// How many items a page may have.
pub(crate) fn limit_of(given: Option<u16>) -> Result<u16, ApiError> {
    let limit = given.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let detail = format!("limit is {limit}; give 1 to {MAX_LIMIT}");
        return Err(ApiError::bad_request(detail).field("limit"));
    }
    Ok(limit)
}
