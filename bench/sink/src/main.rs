//! A backend that acknowledges every batch and counts what arrived.
//!
//! It serves each call an agent makes, keeps nothing but [`Counts`], and does
//! so on one thread, so that on a small machine it takes as little as possible
//! from the agent being measured.
//!
//! Its first line of output is `listening on http://ADDRESS`; it binds a free
//! port of the loopback interface and runs until it is killed.
//!
//! | call | answer |
//! |---|---|
//! | `POST /api/v1/{events,metrics,events/encrypted}` | counted and acknowledged |
//! | `POST /api/v1/status` | acknowledged |
//! | `GET /api/v1/rules` | `{}`: no rules |
//! | `GET /api/v1/status`, `GET /health` | alive |
//! | `GET /counts` | the [`Counts`] so far |
//! | `POST /reset` | back to zero |

mod tally;

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::tally::{Counts, Received, Tally};

/// Larger than any batch an agent sends, encoded.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

type Shared = Arc<Mutex<Tally>>;

fn main() -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            println!("listening on http://{}", listener.local_addr()?);
            axum::serve(listener, router()).await
        })
}

fn router() -> Router {
    Router::new()
        .route("/api/v1/events", post(batch))
        .route("/api/v1/metrics", post(batch))
        .route("/api/v1/events/encrypted", post(encrypted))
        .route("/api/v1/status", post(status).get(alive))
        .route("/api/v1/rules", get(rules))
        .route("/health", get(alive))
        .route("/counts", get(counts))
        .route("/reset", post(reset))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Shared::default())
}

/// Runs `work` on the tally, which stays usable even if a handler panicked.
fn with_tally<T>(tally: &Mutex<Tally>, work: impl FnOnce(&mut Tally) -> T) -> T {
    work(&mut tally.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn batch(State(tally): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let gzipped = headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    match with_tally(&tally, |tally| tally.batch(&body, gzipped)) {
        Ok(received) => acknowledgement(received).into_response(),
        Err(reason) => (
            StatusCode::BAD_REQUEST,
            Json(json!({"detail": reason.to_string()})),
        )
            .into_response(),
    }
}

async fn encrypted(State(tally): State<Shared>, body: Bytes) -> Json<Value> {
    with_tally(&tally, |tally| tally.encrypted(&body));
    acknowledgement(Received::default())
}

fn acknowledgement(received: Received) -> Json<Value> {
    let Received { events, metrics } = received;
    Json(json!({
        "success": true,
        "events_received": events,
        "events_dropped_invalid_timestamp": 0,
        "metrics_received": metrics,
        "events_processed": events,
        "metrics_processed": metrics,
        "errors": null,
    }))
}

async fn status() -> Json<Value> {
    Json(json!({"success": true, "message": "Status received"}))
}

async fn alive() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn rules() -> Json<Value> {
    Json(json!({}))
}

async fn counts(State(tally): State<Shared>) -> Json<Counts> {
    Json(with_tally(&tally, |tally| tally.counts()))
}

async fn reset(State(tally): State<Shared>) {
    with_tally(&tally, |tally| *tally = Tally::default());
}
