//! All routes in one table.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, patch, post};
use guard_wire::Kind;
use serde_json::{Value, json};

use super::capacity::turns;
use super::error::ApiError;
use super::people::{audit, people, session, setup, tokens};
use super::principal::nothing_here;
use super::state::AppState;
use super::{
    assets, body, client, explore, ingest, monitor, projects, public_url, query, rate, ready,
    request_id, rules, shield, wrong_keys,
};

/// The whole server as a router.
///
/// ```
/// use std::sync::Arc;
/// use guard_server::{AppState, Limits, router};
/// use guard_server::store;
///
/// let directory = tempfile::tempdir().unwrap();
/// let stores = store::open(&directory.path().join("guard.db")).unwrap();
/// let state = Arc::new(AppState::new(stores, Limits::default()));
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
        .route(Kind::Event.path(), post(ingest::plain))
        .route(Kind::Metric.path(), post(ingest::plain))
        .route("/api/v1/events/encrypted", post(ingest::encrypted))
        .route(
            "/api/v1/status",
            post(ingest::status).get(ingest::last_status),
        )
        .route("/api/v1/rules", get(rules::get))
        .merge(dashboard())
        .merge(
            for_people()
                .layer(from_fn_with_state(Arc::clone(&state), turns::in_turn))
                .layer(from_fn_with_state(Arc::clone(&state), rate::limit)),
        )
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        // The handlers apply the configured limits when they read bodies.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&state), body::drain))
        .layer(from_fn_with_state(
            Arc::clone(&state),
            wrong_keys::slow_down,
        ))
        .layer(from_fn_with_state(Arc::clone(&state), monitor::measure))
        .layer(from_fn(shield::shield))
        .layer(from_fn(request_id::identify))
        .layer(from_fn_with_state(Arc::clone(&state), client::identify))
        .with_state(state);
    public_url::mounted(&base, app)
}

/// The pages of the dashboard, and its files.
fn dashboard() -> Router<Arc<AppState>> {
    Router::new()
        .route("/", get(assets::page))
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
        .route("/metrics", get(monitor::for_viewers))
        .route(
            "/api/v1/session",
            get(session::get)
                .post(session::sign_in)
                .delete(session::sign_out),
        )
        .route("/api/v1/session/password", post(session::change_password))
        .route("/api/v1/setup", get(setup::get).post(setup::complete))
        .route("/api/v1/people", get(people::list).post(people::add))
        .route(
            "/api/v1/people/{name}",
            patch(people::change).delete(people::remove),
        )
        .route("/api/v1/people/{name}/link", post(people::link))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::add))
        .route("/api/v1/tokens/{id}", delete(tokens::revoke))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/audit/export", get(audit::export))
        .route(
            "/api/v1/projects",
            get(projects::list).post(projects::create),
        )
        .nest("/api/v1/projects/{project}", of_project())
}

/// The routes within a project.
fn of_project() -> Router<Arc<AppState>> {
    Router::new()
        .merge(explore::routes())
        .route(
            "/",
            get(projects::show)
                .patch(projects::change)
                .delete(projects::remove),
        )
        .route("/keys", get(projects::keys).post(projects::add_key))
        .route("/keys/{id}", delete(projects::revoke_key))
        .route("/summary", get(query::summary))
        .route("/metrics", get(query::metrics))
        .route("/rules/adoption", get(query::adoption))
        .route("/rules/entries", get(rules::changes::entries))
        .route(
            "/rules/published",
            get(rules::changes::published).put(rules::changes::publish),
        )
        .route("/rules/versions", get(rules::changes::versions))
        .route("/rules/versions/{version}", get(rules::changes::version))
        .route(
            "/rules/versions/{version}/rollback",
            post(rules::changes::roll_back),
        )
        .route(
            "/rules/draft",
            get(rules::changes::draft)
                .put(rules::changes::save_draft)
                .delete(rules::changes::discard_draft),
        )
        .route("/rules/draft/diff", get(rules::changes::diff))
        .route("/rules/draft/publish", post(rules::changes::publish_draft))
        .route("/rules/{collection}", post(rules::changes::put))
        .route(
            "/rules/{collection}/{id}",
            delete(rules::changes::remove_entry),
        )
}

async fn no_such_path(
    State(state): State<Arc<AppState>>,
    uri: Uri,
    headers: HeaderMap,
) -> ApiError {
    let error = ApiError::not_found("No such path");
    nothing_here(&state, uri.path(), &headers, error).await
}

async fn no_such_method(
    State(state): State<Arc<AppState>>,
    uri: Uri,
    headers: HeaderMap,
) -> ApiError {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let error = ApiError::new(status, "This path has no such method");
    nothing_here(&state, uri.path(), &headers, error).await
}

/// Liveness: the process responds.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}
