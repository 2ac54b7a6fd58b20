//! Lists of records: written piece by piece as the client reads, so that a large one takes
//! little memory.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use guard_wire::Kind;

use crate::http::error::ApiError;
use crate::http::state::AppState;
use crate::store::{Page, ProjectId, StoredRecord};

/// A piece ends with the record by which it holds so many bytes.
const PIECE: usize = 64 * 1024;

/// `{"events": [...], "next_before": N}`, or the same of metrics, newest first.
pub(crate) struct Listing {
    state: Arc<AppState>,
    project: ProjectId,
    kind: Kind,
    /// What is still to be written.
    rest: Page,
    /// The record that was written last.
    oldest: Option<i64>,
    is_complete: bool,
}

impl Listing {
    pub(crate) fn new(state: Arc<AppState>, project: ProjectId, kind: Kind, page: Page) -> Self {
        Self {
            state,
            project,
            kind,
            rest: page,
            oldest: None,
            is_complete: false,
        }
    }

    /// The answer, whose first piece was made: what fails later cuts it off.
    pub(crate) async fn answer(mut self) -> Result<Response, ApiError> {
        let first = self.piece().await?;
        let body = if self.is_complete {
            Body::from(first)
        } else {
            let rest = stream::unfold(self, async |mut listing| {
                if listing.is_complete {
                    return None;
                }
                let piece = listing.piece().await;
                // Nothing follows a failure.
                listing.is_complete |= piece.is_err();
                Some((piece, listing))
            });
            Body::from_stream(stream::iter([Ok(first)]).chain(rest))
        };
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    }

    async fn piece(&mut self) -> Result<Bytes, ApiError> {
        let page = Page {
            bytes: PIECE.min(self.rest.bytes),
            ..self.rest
        };
        // The last record may be as large as a body; both forms of it are in memory.
        let largest = PIECE + self.state.limits.decoded;
        let reserved = self.state.memory.reserve(2 * largest).await?;
        let records = self.state.telemetry.records(self.project, self.kind, page);
        let records = records.await?;
        Ok(reserved.keep(self.write(page, &records).into()))
    }

    fn write(&mut self, page: Page, records: &[StoredRecord]) -> Vec<u8> {
        let bytes = records.iter().map(|record| record.body.get().len()).sum();
        let mut piece = Vec::with_capacity(bytes + records.len() + PIECE / 1024);
        if self.oldest.is_none() {
            piece.extend_from_slice(format!("{{\"{}\":[", self.kind.key()).as_bytes());
        }
        for record in records {
            if self.oldest.is_some() {
                piece.push(b',');
            }
            self.oldest = Some(record.id);
            piece.extend_from_slice(record.body.get().as_bytes());
        }
        let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
        let is_exhausted = count < page.limit && bytes < page.bytes;
        self.rest = Page {
            before: self.oldest.or(self.rest.before),
            limit: self.rest.limit.saturating_sub(count),
            bytes: self.rest.bytes.saturating_sub(bytes),
        };
        self.is_complete = is_exhausted || self.rest.limit == 0 || self.rest.bytes == 0;
        if self.is_complete {
            let next = self.oldest.filter(|_| !is_exhausted);
            let next = next.map_or_else(|| "null".to_owned(), |id| id.to_string());
            piece.extend_from_slice(format!("],\"next_before\":{next}}}").as_bytes());
        }
        piece
    }
}
