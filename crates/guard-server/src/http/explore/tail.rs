//! Events as they arrive, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use guard_wire::Kind;
use tokio::sync::mpsc;
use tokio::time::sleep;
use utoipa::IntoParams;

use super::params::Params;
use crate::http::error::ApiError;
use crate::http::openapi::params::FilterParam;
use crate::http::principal::{Credential, In, Principal, Viewer, look_up};
use crate::http::state::AppState;
use crate::query::QueryError;
use crate::store::{ArrivalQuery, Cursor, Project, ProjectId, StoreError};
use crate::tail::{Client, Full};

/// How often it is checked that the client may still read.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Where a client goes on after its connection was cut.
const LAST_EVENT_ID: &str = "last-event-id";
/// The same as a parameter, for clients that cannot set headers.
const AFTER: &str = "after";
/// When a client should try again for which there is no place, in seconds.
const RETRY_AFTER: u16 = 10;

/// Where a stream begins.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the description is used")]
struct AfterParam {
    /// The same as `Last-Event-ID`, for clients that cannot set headers.
    after: Option<String>,
}

/// Where a client was when its connection was cut.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the description is used")]
struct LastEventHeader {
    /// The `id` of the last event. The stream goes on after it, without loss or repeat; without it,
    /// the stream begins at now.
    #[param(rename = "Last-Event-ID")]
    id: Option<String>,
}

/// Streams events as they arrive, as server-sent events.
///
/// A `record` is an event in the form of the list, and its `id` the position after it. A `gap` says
/// how many events are `missed` at this place because the client reads too slowly. Comments are
/// heartbeats: one comes at once, then every 15 seconds. Only records have an `id`.
///
/// A position after which events were removed is answered 400 `expired_position`, and one of
/// another project or server 400 `invalid_position`. The stream ends when the session, token or
/// project does.
#[utoipa::path(
    get, path = "/events/tail", operation_id = "follow_events", tag = "Events",
    security(("token" = ["viewer"])), params(FilterParam, AfterParam, LastEventHeader),
    responses((status = OK, description = "The events, until the client goes.",
        content((String = "text/event-stream"))))
)]
pub(crate) async fn tail(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let params = params.only(&["filter", AFTER])?;
    let filter = Arc::new(params.filter(Kind::Event)?);
    let In {
        principal, project, ..
    } = viewer;
    let place = state.tail_places.take(principal.credential.hash());
    let place = place.map_err(|full| no_place(&state, full))?;
    let after = match position(&headers, &params)? {
        Some(after) => checked(&state, project.id, after).await?,
        None => state.stores.arrivals.now(project.id).await?,
    };
    let client = Client {
        tails: Arc::clone(&state.tails),
        project: project.id,
        filter,
        after,
        place,
    };
    // One piece at a time, so that what a client does not read waits in its bounded queue.
    let (out, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        client.run(out, revoked(&state, &principal, &project)).await;
    });
    let pieces = stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(piece), pieces))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Otherwise nginx keeps events back until its buffer is full.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// The position after which the client wants to read.
fn position(headers: &HeaderMap, params: &Params) -> Result<Option<Cursor>, ApiError> {
    let (field, text) = match (headers.get(LAST_EVENT_ID), params.get(AFTER)) {
        // A client that connects again keeps its address, and the header is newer.
        (Some(header), _) if !header.is_empty() => {
            ("Last-Event-ID", header.to_str().unwrap_or_default())
        }
        (_, Some(after)) => (AFTER, after),
        _ => return Ok(None),
    };
    let position = text.parse().map_err(|_| foreign(field))?;
    Ok(Some(position))
}

/// A position from which events can be read.
async fn checked(state: &AppState, project: ProjectId, after: Cursor) -> Result<Cursor, ApiError> {
    let query = ArrivalQuery {
        project,
        after: after.clone(),
        until: None,
        limit: 1,
        bytes: 1,
    };
    match state.stores.arrivals.arrivals(query).await {
        Ok(_) => Ok(after),
        Err(StoreError::InvalidCursor) => Err(foreign("Last-Event-ID")),
        Err(StoreError::ExpiredCursor) => {
            let detail = "Events that arrived after this position were removed since, so the \
                          stream would have a gap. Leave Last-Event-ID out to begin at now, and see \
                          GET events for what is stored";
            Err(QueryError::new("expired_position", "Last-Event-ID", detail).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn foreign(field: &'static str) -> ApiError {
    let detail = format!(
        "{field} is no position of this project. Give the id of the last event that you got here, \
         or leave it out to begin at now"
    );
    QueryError::new("invalid_position", field, detail).into()
}

fn no_place(state: &AppState, full: Full) -> ApiError {
    let limits = state.limits;
    let detail = match full {
        Full::All => format!(
            "The server has {} live readers, which is its limit: close one, or raise --max-tails",
            limits.tails
        ),
        Full::Each => format!(
            "This token or session has {} live readers, which is its limit: close one, or raise \
             --max-tails-per-credential",
            limits.tails_per_credential
        ),
    };
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, detail)
        .code("too_many_tails")
        .retry_after(RETRY_AFTER)
}

/// Completes soon after the client lost the right to read the project.
async fn revoked(state: &AppState, principal: &Principal, project: &Project) {
    loop {
        sleep(CHECK_EVERY).await;
        // While the store fails, nobody can be signed out either.
        if let Ok(false) = may_read(state, principal.credential, project).await {
            return;
        }
    }
}

async fn may_read(
    state: &AppState,
    credential: Credential,
    project: &Project,
) -> Result<bool, StoreError> {
    // This is no use of a session: otherwise an open page would keep it alive for ever.
    let Some(found) = look_up(state, credential, None).await? else {
        return Ok(false);
    };
    if !found.principal.projects.covers(&project.name) {
        return Ok(false);
    }
    let now = state.stores.projects.project_named(&project.name).await?;
    Ok(now.is_some_and(|now| now.id == project.id))
}
