//! `GET /metrics`: what the server measures about itself, for Prometheus. At the address of the API it
//! asks for a token; `--metrics-listen` serves it at a separate address without one.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::error::{ApiError, RefusalCode};
use super::later::when_made;
use super::principal::Viewer;
use super::state::AppState;
use crate::monitoring::{OPEN_METRICS, PLAIN, plain};

/// The router of `--metrics-listen`. It has no other path, and asks for no key.
pub fn metrics_router(state: Arc<AppState>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "The metrics are at /metrics"))
        .with_state(state)
}

/// Returns what the server measures about itself, as text for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "get_measurements", tag = "Server",
    security(("token" = ["viewer"])),
    responses((status = OK, description = "The measurements.",
        content((String = "text/plain"), (String = "application/openmetrics-text"))))
)]
pub(super) async fn for_viewers(
    _: Viewer,
    state: State<Arc<AppState>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    metrics(state, headers).await
}

/// Scrapers that know OpenMetrics ask for it. Others get the older text format.
async fn metrics(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // If the store fails, the other figures matter most.
    if let Ok(sessions) = state.stores.people.count_sessions().await {
        state.monitor.set_sessions(sessions);
    }
    let text = state.monitor.text(state.wrong_keys.count());
    let text = text.map_err(|_| ApiError::unavailable("The metrics cannot be written"))?;
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        return Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response());
    }
    Ok(([(header::CONTENT_TYPE, PLAIN)], plain(&text)).into_response())
}

/// Counts and times each answer by its route.
pub(super) async fn measure(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = name(request.method());
    when_made(next.run(request).await, move |response| {
        let route = route.as_ref().map(MatchedPath::as_str);
        let status = response.status().as_u16();
        state
            .monitor
            .answered(route, method, status, begun.elapsed());
        if let Some(RefusalCode(code)) = response.extensions().get() {
            state.monitor.refused(code);
        }
        response
    })
}

/// Clients may invent methods. They share one name.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
