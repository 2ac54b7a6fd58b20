//! Lists, counts and single events.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use guard_wire::Kind;
use serde::Serialize;
use utoipa::ToSchema;

use super::listing;
use super::params::Params;
use crate::explore::answer::{BucketsAnswer, EventItem, RangeAnswer, SeriesAnswer, TopAnswer};
use crate::explore::neighbours::{self, EventDetail};
use crate::http::error::ApiError;
use crate::http::listed::Listed;
use crate::http::openapi::params::{BucketParams, FilterParam, PageParams, RangeParams, TopParam};
use crate::http::principal::{In, Viewer};
use crate::http::state::AppState;
use crate::query::{QueryError, group};
use crate::store::{Cursor, StoreError};

/// How many keys a top list has by default.
const TOP: u16 = 10;

/// Lists events, newest first.
///
/// A page may have fewer events than `limit`, or none, while `next` is not null: it ends after
/// 16 MiB, or after 50,000 events were compared with the filter. Relative times in later pages refer
/// to the first page.
#[utoipa::path(
    get, path = "/events", operation_id = "list_events", tag = "Events",
    security(("token" = ["viewer"])), params(FilterParam, RangeParams, PageParams),
    responses((status = OK, body = Listed<EventItem>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Response, ApiError> {
    listing::page(state, viewer.project.id, Kind::Event, params).await
}

/// Returns an event, and what happened around it.
#[utoipa::path(
    get, path = "/events/{id}", operation_id = "get_event", tag = "Events",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "The id of the event, from a list.")),
    responses((status = OK, body = EventDetail))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<EventDetail>, ApiError> {
    let missing = || {
        ApiError::not_found("There is no such event; it may have been removed by retention")
            .code("no_such_event")
    };
    let id = id.parse::<Cursor>().map_err(|_| missing())?;
    let found = neighbours::event_detail(&*state.stores.search, viewer.project.id, id).await;
    match found {
        Err(StoreError::InvalidCursor) => Err(missing()),
        found => found?.map(Json).ok_or_else(missing),
    }
}

/// A series and its range.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesOfRange {
    #[serde(flatten)]
    range: RangeAnswer,
    #[serde(flatten)]
    series: SeriesAnswer,
}

/// Counts events over time.
///
/// The 12 most frequent keys have a series each, and `other` counts the rest. Every bucket of the
/// range is there.
#[utoipa::path(
    get, path = "/events/series", operation_id = "get_event_series", tag = "Events",
    security(("token" = ["viewer"])),
    params(FilterParam, RangeParams, BucketParams,
        ("by" = Option<String>, Query, example = "event_type",
            description = "The field whose values are the keys: any that a filter can name. Without \
                it, all events are in `other`.")),
    responses((status = OK, body = SeriesOfRange))
)]
pub(crate) async fn series(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<SeriesOfRange>, ApiError> {
    let params = params.only(&["filter", "from", "to", "tz", "interval", "by"])?;
    let now = state.clock.now();
    let selection = params.selection(viewer.project.id, Kind::Event, now)?;
    let range = selection.range;
    let buckets = params.buckets(range)?;
    let by = params.get("by").map(|name| group::field(Kind::Event, name));
    let by = by.transpose()?;
    let counted = state.stores.search.series(selection, by, buckets.clone());
    Ok(Json(SeriesOfRange {
        series: SeriesAnswer::new(counted.await?, BucketsAnswer::new(&buckets, range, now)),
        range: range.into(),
    }))
}

/// A top list and its range.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopOfRange {
    #[serde(flatten)]
    range: RangeAnswer,
    #[serde(flatten)]
    top: TopAnswer,
}

/// Returns the most frequent values of a field.
#[utoipa::path(
    get, path = "/events/top", operation_id = "get_event_top", tag = "Events",
    security(("token" = ["viewer"])),
    params(FilterParam, RangeParams, TopParam,
        ("by" = String, Query, example = "ip_address",
            description = "The field whose values are the keys: any that a filter can name.")),
    responses((status = OK, body = TopOfRange))
)]
pub(crate) async fn top(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<TopOfRange>, ApiError> {
    let params = params.only(&["filter", "from", "to", "by", "limit"])?;
    let selection = params.selection(viewer.project.id, Kind::Event, state.clock.now())?;
    let range = selection.range;
    let by = params.get("by").ok_or_else(|| {
        QueryError::new(
            "invalid_field",
            "by",
            "by is missing; give a field such as ip_address",
        )
    })?;
    let by = group::field(Kind::Event, by)?;
    let limit = params.limit(TOP)?.into();
    let top = state.stores.search.top(selection, vec![by], limit).await?;
    Ok(Json(TopOfRange {
        range: range.into(),
        top: top.into(),
    }))
}
