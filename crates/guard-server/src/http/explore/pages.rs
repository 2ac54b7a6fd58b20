//! The answers that pages of the dashboard are made of.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use guard_wire::Kind;

use super::params::Params;
use crate::explore::address::{self, AddressAnswer};
use crate::explore::agents::{self, Agents};
use crate::explore::losses::{self, LossesAnswer};
use crate::explore::overview::{self, Overview};
use crate::explore::passive::{self, Passive};
use crate::http::error::ApiError;
use crate::http::openapi::params::{BucketParams, FilterParam, RangeParams, TzParam};
use crate::http::principal::{In, Viewer};
use crate::http::state::AppState;
use crate::query::QueryError;

/// Returns what happened, and how it compares with the equal span before.
///
/// Metrics have other fields than events, so the filter does not apply to requests and response times.
#[utoipa::path(
    get, path = "/overview", operation_id = "get_overview", tag = "Pages",
    security(("token" = ["viewer"])), params(FilterParam, RangeParams, BucketParams),
    responses((status = OK, body = Overview))
)]
pub(crate) async fn overview(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<Overview>, ApiError> {
    let params = params.only(&["filter", "from", "to", "tz", "interval"])?;
    let now = state.clock.now();
    let selection = params.selection(viewer.project.id, Kind::Event, now)?;
    let buckets = params.buckets(selection.range)?;
    // The agents include what they reported before this request.
    state.check_ins.save().await?;
    let overview = overview::overview(&state.stores, selection, buckets, now);
    Ok(Json(overview.await?))
}

/// Returns everything about one address.
#[utoipa::path(
    get, path = "/addresses/{ip}", operation_id = "get_address", tag = "Pages",
    security(("token" = ["viewer"])),
    params(FilterParam, RangeParams, BucketParams,
        ("ip" = String, Path, description = "The address, IPv4 or IPv6.", example = "203.0.113.7")),
    responses((status = OK, body = AddressAnswer))
)]
pub(crate) async fn address(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    Path((_, ip)): Path<(String, String)>,
    params: Params,
) -> Result<Json<AddressAnswer>, ApiError> {
    let params = params.only(&["filter", "from", "to", "tz", "interval"])?;
    let now = state.clock.now();
    let ip = ip.parse::<IpAddr>().map_err(|_| {
        let detail = format!("{ip:?} is not an address; give one such as 203.0.113.7");
        QueryError::new("invalid_address", "ip", detail)
    })?;
    let selection = params.selection(viewer.project.id, Kind::Event, now)?;
    let buckets = params.buckets(selection.range)?;
    let answer = address::address(&state.stores, ip, selection, &buckets, now);
    Ok(Json(answer.await?))
}

/// Returns what enforcement would block: the events of passive mode by reason and rule.
#[utoipa::path(
    get, path = "/passive", operation_id = "get_passive", tag = "Pages",
    security(("token" = ["viewer"])), params(FilterParam, RangeParams, TzParam),
    responses((status = OK, body = Passive))
)]
pub(crate) async fn passive(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<Passive>, ApiError> {
    let params = params.only(&["filter", "from", "to", "tz"])?;
    let selection = params.selection(viewer.project.id, Kind::Event, state.clock.now())?;
    Ok(Json(
        passive::passive(&*state.stores.search, selection).await?,
    ))
}

/// Lists the agents, those in the worst state first.
///
/// An agent is `silent` when it has not reported for 15 minutes, which are three usual status
/// intervals.
#[utoipa::path(
    get, path = "/agents", operation_id = "list_agents", tag = "Pages",
    security(("token" = ["viewer"])), responses((status = OK, body = Agents))
)]
pub(crate) async fn agents(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<Agents>, ApiError> {
    params.only(&[])?;
    // The answer includes what agents reported before this request.
    state.check_ins.save().await?;
    let now = state.clock.now();
    Ok(Json(
        agents::agents(&state.stores, viewer.project.id, now).await?,
    ))
}

/// Returns what agents and the server lost, by reason, over time.
///
/// The losses of an agent count in the minute of the report that has them.
#[utoipa::path(
    get, path = "/losses", operation_id = "get_losses", tag = "Pages",
    security(("token" = ["viewer"])), params(RangeParams, BucketParams),
    responses((status = OK, body = LossesAnswer))
)]
pub(crate) async fn losses(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<LossesAnswer>, ApiError> {
    let params = params.only(&["from", "to", "tz", "interval"])?;
    let now = state.clock.now();
    let range = params.range(now)?;
    let buckets = params.buckets(range)?;
    let losses = losses::losses(&state.stores, viewer.project.id, range, &buckets, now);
    Ok(Json(losses.await?))
}
