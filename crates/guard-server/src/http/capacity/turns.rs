//! Limits answers to people: only a few are made at a time, and large ones count against the memory
//! budget until the client has read them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::capacity::memory::SMALL;
use crate::http::connections::queued;
use crate::http::error::ApiError;
use crate::http::state::AppState;

/// How many answers are made at the same time.
pub(crate) const TURNS: usize = 8;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers a request when its turn comes. A large answer counts as memory until the client has read
/// it.
pub(crate) async fn in_turn(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let turn = tokio::time::timeout(PATIENCE, state.answering.acquire());
    let Ok(Ok(_turn)) = queued(turn).await else {
        return Err(ApiError::unavailable(
            "The server has too much to do; send the request again later",
        ));
    };
    let response = next.run(request).await;
    let len = response.body().size_hint().lower();
    if len <= SMALL as u64 {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let made = to_bytes(body, usize::MAX).await;
    let made = made.map_err(|_| ApiError::unavailable("The answer cannot be made"))?;
    let reserved = state.memory.reserve(made.len()).await?;
    Ok(Response::from_parts(head, reserved.keep(made).into()))
}
