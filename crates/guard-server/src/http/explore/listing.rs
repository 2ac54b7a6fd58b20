//! A page of events or metrics.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use guard_wire::Kind;

use super::params::Params;
use crate::explore::answer::{EventItem, MetricItem};
use crate::http::error::ApiError;
use crate::http::pieces::Pieces;
use crate::http::state::AppState;
use crate::query::MAX_LIST_BYTES;
use crate::query::token::PageToken;
use crate::store::{Cursor, EventQuery, ProjectId};

/// How many records a page has by default.
const DEFAULT: u16 = 50;
/// A piece ends with the record that brings it to this many bytes.
const PIECE: usize = 64 * 1024;
/// How many bodies are read for one page to compare them with a filter. The page may then hold
/// fewer records than asked for, and `next` continues.
const COMPARED: u32 = 50_000;

/// Writes the cursor of the next page.
type NextCursor = Box<dyn Fn(Cursor) -> String + Send + Sync>;

/// `{"items": [...], "next": "..."}`.
struct Listing {
    state: Arc<AppState>,
    kind: Kind,
    /// The part that is not written yet.
    rest: EventQuery,
    next: NextCursor,
    progress: Progress,
}

/// How far a page is written.
#[derive(Default)]
struct Progress {
    is_begun: bool,
    has_items: bool,
    is_complete: bool,
}

/// Starts the answer to `GET P/events` or `GET P/metrics`.
pub(super) async fn page(
    state: Arc<AppState>,
    project: ProjectId,
    kind: Kind,
    params: Params,
) -> Result<Response, ApiError> {
    let params = params.only(&["filter", "from", "to", "limit", "cursor"])?;
    let mut selection = params.selection(project, kind, state.clock.now())?;
    let limit = params.limit(DEFAULT)?;
    // A cursor belongs to a query: everything but the size of its pages.
    let project = project.0.to_string();
    let filter = selection.filter.to_string();
    let [from, to] = ["from", "to"].map(|name| params.get(name).unwrap_or_default());
    let query = [kind.key(), &project, &filter, from, to];
    let token = params.get("cursor");
    let token = token.map(|text| PageToken::decode(text, &query));
    let token = token.transpose()?;
    if let Some(token) = &token {
        selection.range = token.range;
    }
    let range = selection.range;
    let query = query.map(str::to_owned);
    let listing = Listing {
        kind,
        rest: EventQuery {
            selection,
            after: token.map(|token| Cursor::new(&token.position)),
            is_oldest_first: false,
            limit,
            bytes: MAX_LIST_BYTES,
            compare: COMPARED,
        },
        next: Box::new(move |position| {
            let position = position.bytes().to_owned();
            PageToken { range, position }.encode(&query.each_ref().map(String::as_str))
        }),
        progress: Progress::default(),
        state,
    };
    let body = listing.body().await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

impl Pieces for Listing {
    fn is_complete(&self) -> bool {
        self.progress.is_complete
    }

    async fn piece(&mut self) -> Result<Bytes, ApiError> {
        // One record may be as large as a body, and both its stored and its written form are in
        // memory.
        let largest = PIECE + self.state.limits.decoded;
        let reserved = self.state.memory.reserve(2 * largest).await?;
        let asked = EventQuery {
            bytes: PIECE.min(self.rest.bytes),
            ..self.rest.clone()
        };
        let search = &self.state.stores.search;
        let slice = match self.kind {
            Kind::Event => search.events(asked).await?,
            Kind::Metric => search.metrics(asked).await?,
        };
        let mut piece = Vec::new();
        if !std::mem::replace(&mut self.progress.is_begun, true) {
            piece.extend_from_slice(b"{\"items\":[");
        }
        let (count, mut bytes) = (slice.events.len(), 0);
        for record in slice.events {
            bytes += record.body.get().len();
            if std::mem::replace(&mut self.progress.has_items, true) {
                piece.push(b',');
            }
            let written = match self.kind {
                Kind::Event => serde_json::to_writer(&mut piece, &EventItem::from(record)),
                Kind::Metric => serde_json::to_writer(&mut piece, &MetricItem::from(record)),
            };
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
