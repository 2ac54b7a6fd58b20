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
use crate::http::principal::{In, Viewer};
use crate::http::state::AppState;
use crate::query::QueryError;

/// `GET P/overview`.
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

/// `GET P/addresses/{ip}`.
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

/// `GET P/passive`.
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

/// `GET P/agents`.
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

/// `GET P/losses`.
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
