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

use self::listing::Listing;
use crate::explore::{Summary, summary as summary_of};
use crate::fleet::adoption::{self, Adoption, AdoptionError};
use crate::http::error::ApiError;
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
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    #[serde(flatten)]
    summary: Summary,
    /// Requests with a wrong key since the server started, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong_keys: Option<NonZero<u64>>,
    /// Wrong passwords since the server started, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong_passwords: Option<NonZero<u64>>,
}

/// `GET /api/v1/projects/{project}/summary`.
pub(crate) async fn summary(
    State(state): State<Arc<AppState>>,
    asked: In<Viewer>,
) -> Result<Json<Overview>, ApiError> {
    Ok(Json(Overview {
        summary: summary_of(&state.stores, asked.project.id).await?,
        wrong_keys: NonZero::new(state.wrong_keys.count()),
        wrong_passwords: NonZero::new(state.sign_ins.wrong()),
    }))
}

/// `GET /api/v1/projects/{project}/metrics`.
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

/// The parameters of the adoption query.
#[derive(Debug, Deserialize)]
pub(crate) struct AdoptionQuery {
    version: Option<i64>,
}

/// `GET /api/v1/projects/{project}/rules/adoption`.
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
