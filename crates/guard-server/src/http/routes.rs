//! All routes in one table.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use guard_wire::Kind;
use serde_json::{Value, json};

use super::capacity::turns;
use super::error::ApiError;
use super::state::AppState;
use super::{
    assets, body, client, ingest, page, public_url, query, ready, request_id, rules, shield,
    wrong_keys,
};

/// The whole server as a router.
///
/// ```
/// use std::sync::Arc;
/// use guard_server::{Access, AppState, Limits, router};
/// use guard_server::store;
///
/// let directory = tempfile::tempdir().unwrap();
/// let stores = store::open(&directory.path().join("guard.db")).unwrap();
/// let state = Arc::new(AppState::new(stores, Limits::default(), Access::ApiKey));
/// let app = router(state);
/// # let _: axum::Router = app;
/// ```
pub fn router(state: Arc<AppState>) -> Router {
    let base = state
        .public_url
        .as_ref()
        .map_or_else(String::new, |url| url.base().to_owned());
    let app = Router::new()
        .route("/health", get(alive))
        .route("/ready", get(ready::ready))
        .route(Kind::Event.path(), post(ingest::plain).get(query::events))
        .route(Kind::Metric.path(), post(ingest::plain).get(query::metrics))
        .route("/api/v1/events/encrypted", post(ingest::encrypted))
        .route("/api/v1/status", post(ingest::status).get(alive))
        .route("/api/v1/rules", get(rules::get))
        .merge(dashboard())
        .merge(for_people().layer(from_fn_with_state(Arc::clone(&state), turns::in_turn)))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "No such path"))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This path has no such method",
            )
        })
        // The handlers apply the configured limits when they read bodies.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&state), body::drain))
        .layer(from_fn_with_state(
            Arc::clone(&state),
            wrong_keys::slow_down,
        ))
        .layer(from_fn(shield::shield))
        .layer(from_fn(request_id::identify))
        .layer(from_fn_with_state(Arc::clone(&state), client::identify))
        .with_state(state);
    public_url::mounted(&base, app)
}

/// The pages of the dashboard, and its files.
fn dashboard() -> Router<Arc<AppState>> {
    Router::new()
        .route("/assets/{file}", get(assets::asset))
        .route("/favicon.svg", get(assets::icon))
        .route("/setup", get(assets::page))
        .route("/sign-in", get(assets::page))
        .route("/projects", get(assets::page))
        .route("/p/{*page}", get(assets::page))
}

/// The routes for people and their programs: few requests, large answers.
fn for_people() -> Router<Arc<AppState>> {
    Router::new()
        .route("/", get(page::show))
        .route("/api/v1/summary", get(query::summary))
        .route("/api/v1/rules/adoption", get(query::adoption))
        .route("/api/v1/rules/entries", get(rules::changes::entries))
        .route(
            "/api/v1/rules/published",
            get(rules::changes::published).put(rules::changes::publish),
        )
        .route("/api/v1/rules/versions", get(rules::changes::versions))
        .route(
            "/api/v1/rules/versions/{version}",
            get(rules::changes::version),
        )
        .route(
            "/api/v1/rules/versions/{version}/rollback",
            post(rules::changes::roll_back),
        )
        .route(
            "/api/v1/rules/draft",
            get(rules::changes::draft)
                .put(rules::changes::save_draft)
                .delete(rules::changes::discard_draft),
        )
        .route("/api/v1/rules/draft/diff", get(rules::changes::diff))
        .route(
            "/api/v1/rules/draft/publish",
            post(rules::changes::publish_draft),
        )
        .route("/api/v1/rules/{collection}", post(rules::changes::put))
        .route(
            "/api/v1/rules/{collection}/{id}",
            delete(rules::changes::remove_entry),
        )
}

/// Liveness: the process responds.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}
