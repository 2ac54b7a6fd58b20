//! `GET /health` and `GET /ready`: whether the server responds, and whether it can store records.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::http::error::{ApiError, ErrorAnswer};
use crate::http::state::AppState;
use crate::store::StoreError;

/// How long a result is reused. This limits the cost of frequent checks.
const KEPT: Duration = Duration::from_secs(1);
/// How long a commit in the store may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The result of the last probe of the store, and its time.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    last: Mutex<Option<(Instant, Outcome)>>,
}

type Outcome = Result<(), NotReady>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotReady {
    Store(StoreError),
    /// The store did not answer in time.
    Slow,
}

impl Readiness {
    /// Returns the result of `probe`, or of one that ran just before. Only one probe runs at a
    /// time.
    async fn check(&self, probe: impl Future<Output = Result<(), StoreError>>) -> Outcome {
        let mut last = self.last.lock().await;
        if let Some((at, outcome)) = *last
            && at.elapsed() < KEPT
        {
            return outcome;
        }
        let outcome = match tokio::time::timeout(PATIENCE, probe).await {
            Ok(outcome) => outcome.map_err(NotReady::Store),
            Err(_) => Err(NotReady::Slow),
        };
        *last = Some((Instant::now(), outcome));
        outcome
    }
}

/// The server responds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    /// `ok`.
    status: &'static str,
    /// The version of the server.
    version: &'static str,
}

/// The server can take records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    /// `ready`.
    status: &'static str,
}

/// Says that the process responds.
#[utoipa::path(
    get, path = "/health", operation_id = "get_health", tag = "Server", security(()),
    responses((status = OK, body = Alive))
)]
pub(crate) async fn alive() -> Json<Alive> {
    Json(Alive {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Says whether the server can take and store records.
#[utoipa::path(
    get, path = "/ready", operation_id = "get_ready", tag = "Server", security(()),
    responses(
        (status = OK, body = Ready),
        (status = 503, body = ErrorAnswer, description = "It cannot. `detail` says why.")
    )
)]
pub(crate) async fn ready(State(state): State<Arc<AppState>>) -> Result<Json<Ready>, ApiError> {
    state.readiness.check(state.stores.probe()).await?;
    Ok(Json(Ready { status: "ready" }))
}

impl From<NotReady> for ApiError {
    fn from(why: NotReady) -> Self {
        match why {
            NotReady::Store(error) => error.into(),
            NotReady::Slow => Self::unavailable(format!(
                "The store took no commit within {} s; send the request again later",
                PATIENCE.as_secs()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_within_a_second_share_one_probe() {
        let (readiness, probes) = (Readiness::default(), AtomicUsize::new(0));
        let ask = || {
            readiness.check(async {
                probes.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        };
        assert!(
            join_all((0..1000).map(|_| ask()))
                .await
                .iter()
                .all(Result::is_ok)
        );
        assert_eq!(probes.load(Ordering::Relaxed), 1);
        tokio::time::advance(KEPT).await;
        assert_eq!(ask().await, Ok(()));
        assert_eq!(probes.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_is_not_ready() {
        let readiness = Readiness::default();
        let slow = readiness.check(std::future::pending()).await;
        assert_eq!(slow, Err(NotReady::Slow));
    }
}
