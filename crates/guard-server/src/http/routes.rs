//! All routes in one table.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::capacity::turns;
use super::error::ApiError;
use super::openapi::{self, Document};
use super::people::{audit, people, session, setup, tokens};
use super::principal::nothing_here;
use super::rules::{changes, drafts, history, in_force};
use super::state::AppState;
use super::{
    alerts, assets, body, client, client_view, explore, ingest, monitor, projects, public_url,
    query, rate, ready, request_id, rules, shield, wrong_keys,
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
    let (operations, api) = operations(&state).split_for_parts();
    let app = operations
        .merge(dashboard())
        .layer(Extension(Document::new(api, &base)))
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
        .route("/api/docs", get(assets::page))
}

/// The operations of the API. Handlers name their paths, and describe them.
fn operations(state: &Arc<AppState>) -> OpenApiRouter<Arc<AppState>> {
    let for_people = for_people()
        .layer(from_fn_with_state(Arc::clone(state), turns::in_turn))
        // Streams last, so they have limits of their own.
        .nest("/api/v1/projects/{project}", explore::live())
        .layer(from_fn_with_state(Arc::clone(state), rate::limit));
    openapi::router()
        .merge(for_agents())
        .merge(for_people)
        .routes(routes!(ready::alive))
        .routes(routes!(ready::ready))
        .routes(routes!(openapi::get))
}

/// What agents call: many requests, each with an API key.
fn for_agents() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::default()
        .routes(routes!(ingest::events))
        .routes(routes!(ingest::metrics))
        .routes(routes!(ingest::encrypted))
        .routes(routes!(ingest::status, ingest::last_status))
        .routes(routes!(rules::serve::get))
}

/// What people and their programs call: few requests, large answers.
fn for_people() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::default()
        .routes(routes!(monitor::for_viewers))
        .routes(routes!(client_view::get))
        .routes(routes!(session::get, session::sign_in, session::sign_out))
        .routes(routes!(session::change_password))
        .routes(routes!(setup::get, setup::complete))
        .routes(routes!(people::list, people::add))
        .routes(routes!(people::change, people::remove))
        .routes(routes!(people::link))
        .routes(routes!(tokens::list, tokens::add))
        .routes(routes!(tokens::revoke))
        .routes(routes!(alerts::channels::list, alerts::channels::add))
        .routes(routes!(alerts::channels::change, alerts::channels::remove))
        .routes(routes!(alerts::channels::test))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(projects::list, projects::create))
        .nest("/api/v1/projects/{project}", of_project())
}

/// The operations within a project.
fn of_project() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::default()
        .merge(explore::routes())
        .merge(alerts::routes())
        .merge(of_rules())
        .routes(routes!(projects::show, projects::change, projects::remove))
        .routes(routes!(projects::keys, projects::add_key))
        .routes(routes!(projects::revoke_key))
        .routes(routes!(query::summary))
}

/// The operations on the rules of a project.
fn of_rules() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::default()
        .routes(routes!(query::adoption))
        .routes(routes!(history::entries))
        .routes(routes!(in_force::in_force))
        .routes(routes!(history::published, changes::publish))
        .routes(routes!(history::versions))
        .routes(routes!(history::version))
        .routes(routes!(history::roll_back))
        .routes(routes!(
            drafts::draft,
            drafts::save_draft,
            drafts::discard_draft
        ))
        .routes(routes!(drafts::diff))
        .routes(routes!(drafts::publish_draft))
        .routes(routes!(changes::put))
        .routes(routes!(changes::remove_entry))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store;

    /// Only [`OpenApiRouter::routes`] adds an operation to the description.
    #[test]
    fn every_operation_is_described() {
        let directory = tempfile::tempdir().unwrap();
        let stores = store::open(&directory.path().join("guard.db")).unwrap();
        let state = Arc::new(AppState::new(
            stores,
            super::super::state::Limits::default(),
        ));
        let (router, api) = operations(&state).split_for_parts();
        let shown = format!("{router:?}");
        let paths = shown.split('"').skip(1).step_by(2);
        // The router keeps its fallback at the other two.
        let is_operation =
            |it: &&str| it.starts_with('/') && *it != "/" && !it.contains("fallback");
        let served: BTreeSet<_> = paths.filter(is_operation).collect();
        let described: BTreeSet<_> = api.paths.paths.keys().map(String::as_str).collect();
        assert!(served.len() > 40, "{shown}");
        assert_eq!(served, described);
    }
}
