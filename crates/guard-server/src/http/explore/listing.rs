//! A page of events.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use crate::explore::answer::EventItem;
use crate::http::error::ApiError;
use crate::http::pieces::Pieces;
use crate::http::state::AppState;
use crate::store::{Cursor, EventQuery};

/// A piece ends with the event that brings it to this many bytes.
pub(super) const PIECE: usize = 64 * 1024;
/// How many bodies are read for one page to compare them with a filter. The page may then hold
/// fewer events than asked for, and `next` continues.
const COMPARED: u32 = 50_000;

/// Writes the cursor of the next page.
type NextCursor = Box<dyn Fn(Cursor) -> String + Send + Sync>;

/// `{"items": [...], "next": "..."}`.
pub(super) struct Listing {
    pub(super) state: Arc<AppState>,
    /// The part that is not written yet.
    pub(super) rest: EventQuery,
    pub(super) next: NextCursor,
    pub(super) progress: Progress,
}

/// How far a page is written.
#[derive(Default)]
pub(super) struct Progress {
    is_begun: bool,
    has_items: bool,
    is_complete: bool,
}

impl Listing {
    /// Starts the answer.
    pub(super) async fn answer(mut self) -> Result<Response, ApiError> {
        self.rest.compare = COMPARED;
        let body = self.body().await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    }
}

impl Pieces for Listing {
    fn is_complete(&self) -> bool {
        self.progress.is_complete
    }

    async fn piece(&mut self) -> Result<Bytes, ApiError> {
        // One event may be as large as a body, and both its stored and its written form are in
        // memory.
        let largest = PIECE + self.state.limits.decoded;
        let reserved = self.state.memory.reserve(2 * largest).await?;
        let asked = EventQuery {
            bytes: PIECE.min(self.rest.bytes),
            ..self.rest.clone()
        };
        let slice = self.state.stores.search.events(asked).await?;
        let mut piece = Vec::new();
        if !std::mem::replace(&mut self.progress.is_begun, true) {
            piece.extend_from_slice(b"{\"items\":[");
        }
        let (count, mut bytes) = (slice.events.len(), 0);
        for event in slice.events {
            bytes += event.body.get().len();
            if std::mem::replace(&mut self.progress.has_items, true) {
                piece.push(b',');
            }
            let written = serde_json::to_writer(&mut piece, &EventItem::from(event));
            written.map_err(|_| ApiError::unavailable("The answer cannot be made"))?;
        }
        // A slice that is not full ends because of the bodies that it compared.
        let is_full = count >= usize::from(self.rest.limit) || bytes >= PIECE.min(self.rest.bytes);
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        self.rest.limit = self.rest.limit.saturating_sub(count);
        self.rest.bytes = self.rest.bytes.saturating_sub(bytes);
        self.progress.is_complete =
            slice.next.is_none() || !is_full || self.rest.limit == 0 || self.rest.bytes == 0;
        if self.progress.is_complete {
            let next = slice.next.clone().map(|cursor| (self.next)(cursor));
            let next = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
            piece.extend_from_slice(format!("],\"next\":{next}}}").as_bytes());
        }
        self.rest.after = slice.next;
        Ok(reserved.keep(piece.into()))
    }
}
