//! All routes in one table, and the state they share.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use guard_wire::Kind;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::error::ApiError;
use crate::store::{Control, Telemetry};
use crate::{ingest, page, query, rules};

/// Bodies that are inflated and read at the same time; bounds the memory they take.
const MAX_DECODING: usize = 8;

/// How large a body may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes as they are sent.
    pub encoded: usize,
    /// Bytes after inflating, or after decrypting.
    pub decoded: usize,
}

/// Who may open the page at `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever is on this machine, if they name it by a loopback name.
    Loopback,
    /// Whoever has an API key.
    ApiKey,
}

impl Access {
    /// Open only where nobody but this machine can reach it.
    pub fn listening_on(address: IpAddr) -> Self {
        if address.is_loopback() {
            Self::Loopback
        } else {
            Self::ApiKey
        }
    }
}

/// What the handlers share.
pub struct AppState {
    pub(crate) control: Arc<dyn Control>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    pub(crate) limits: Limits,
    pub(crate) access: Access,
    pub(crate) decoding: Arc<Semaphore>,
}

impl AppState {
    /// State over `store`.
    pub fn new<S: Control + Telemetry + 'static>(
        store: Arc<S>,
        limits: Limits,
        access: Access,
    ) -> Self {
        Self {
            control: Arc::clone(&store) as Arc<dyn Control>,
            telemetry: store,
            limits,
            access,
            decoding: Arc::new(Semaphore::new(MAX_DECODING)),
        }
    }
}

/// The whole server as a router.
///
/// ```
/// use std::sync::Arc;
/// use guard_server::{Access, AppState, Limits, router};
/// use guard_server::store::Sqlite;
///
/// let directory = tempfile::tempdir().unwrap();
/// let store = Arc::new(Sqlite::open(&directory.path().join("guard.db")).unwrap());
/// let limits = Limits { encoded: 1 << 20, decoded: 1 << 24 };
/// let app = router(AppState::new(store, limits, Access::ApiKey));
/// # let _: axum::Router = app;
/// ```
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/", get(page::show))
        .route("/health", get(alive))
        .route(Kind::Event.path(), post(ingest::plain).get(query::events))
        .route(Kind::Metric.path(), post(ingest::plain).get(query::metrics))
        .route("/api/v1/events/encrypted", post(ingest::encrypted))
        .route("/api/v1/status", post(ingest::status).get(alive))
        .route("/api/v1/rules", get(rules::get))
        .route("/api/v1/summary", get(query::summary))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "No such path"))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This path has no such method",
            )
        })
        // Bodies are limited where they are read, by the configured limit.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(state))
}

/// Liveness: the process answers.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}
