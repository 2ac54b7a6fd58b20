//! The query API: counts and records.

mod listing;

use std::num::NonZero;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use guard_wire::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use self::listing::Listing;
use crate::explore::{Summary, summary as summary_of};
use crate::fleet::adoption::{self, Adoption, AdoptionError};
use crate::http::error::ApiError;
use crate::http::openapi::params::BeforeParams;
use crate::http::principal::{In, Viewer};
use crate::http::state::AppState;
use crate::query::MAX_LIST_BYTES;
use crate::query::filter::Filter;
use crate::store::{Cursor, Page};

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 1000;

/// The parameters of a list. To get the next page, send `?before=<next_before of the last answer>`
/// until `next_before` is null.
#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery<T> {
    limit: Option<u16>,
    before: Option<T>,
}

/// The parameters of a list of records.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordQuery {
    limit: Option<u16>,
    before: Option<String>,
    filter: Option<String>,
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

/// Lists the single metrics that are still kept, newest first.
#[utoipa::path(
    get, path = "/metrics", operation_id = "list_metrics", tag = "Metrics",
    security(("token" = ["viewer"])),
    params(BeforeParams,
        ("filter" = Option<String>, Query, example = "endpoint:/api/*",
            description = "Only metrics that match this filter.")),
    responses((status = OK, body = MetricList))
)]
pub(crate) async fn metrics(
    State(state): State<Arc<AppState>>,
    asked: In<Viewer>,
    query: Result<Query<RecordQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let (page, filter) = records(Kind::Metric, query)?;
    Listing::new(state, asked.project.id, Kind::Metric, page, filter)
        .answer()
        .await
}

/// A page of single metrics.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `Listing` writes")]
struct MetricList {
    /// The metrics as they were sent.
    #[schema(value_type = Vec<Object>)]
    metrics: Vec<Value>,
    /// Where the next page begins; null if there is none.
    next_before: Option<String>,
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

/// The requested part of a list of records, and the filter.
fn records(
    kind: Kind,
    query: Result<Query<RecordQuery>, QueryRejection>,
) -> Result<(Page, Filter), ApiError> {
    let mut filter = None;
    let query = query.map(|Query(query)| {
        filter = query.filter;
        let (limit, before) = (query.limit, query.before);
        Query(ListQuery { limit, before })
    });
    let (before, limit) = part(query)?;
    let before: Option<Cursor> = before.map(|text| text.parse()).transpose()?;
    let filter = Filter::parse(kind, filter.as_deref().unwrap_or_default())
        .map_err(|error| ApiError::bad_request(format!("filter: {error}")))?;
    let page = Page {
        before,
        limit,
        bytes: MAX_LIST_BYTES,
    };
    Ok((page, filter))
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
