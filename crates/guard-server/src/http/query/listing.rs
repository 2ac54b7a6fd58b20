//! Lists of records.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use guard_wire::Kind;

use crate::http::error::ApiError;
use crate::http::pieces::Pieces;
use crate::http::state::AppState;
use crate::off_thread::off_thread;
use crate::query::filter::Filter;
use crate::store::{Page, ProjectId, RecordPage};

/// A piece ends with the record that brings it to this many bytes.
const PIECE: usize = 64 * 1024;
/// The most records that one request compares with a filter. The answer then ends, and
/// `next_before` continues from there.
const MAX_COMPARED: usize = 100_000;

/// `{"events": [...], "next_before": N}`, newest first; the same for metrics.
pub(crate) struct Listing {
    state: Arc<AppState>,
    project: ProjectId,
    kind: Kind,
    filter: Arc<Filter>,
    /// The part that is not written yet.
    rest: Page,
    /// How many records were compared with the filter.
    compared: usize,
    is_begun: bool,
    has_records: bool,
    is_complete: bool,
}

impl Listing {
    pub(crate) fn new(
        state: Arc<AppState>,
        project: ProjectId,
        kind: Kind,
        page: Page,
        filter: Filter,
    ) -> Self {
        Self {
            state,
            project,
            kind,
            filter: Arc::new(filter),
            rest: page,
            compared: 0,
            is_begun: false,
            has_records: false,
            is_complete: false,
        }
    }

    /// Starts the answer.
    pub(crate) async fn answer(self) -> Result<Response, ApiError> {
        let body = self.body().await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    }

    fn write(&mut self, page: RecordPage, piece: &mut Vec<u8>) {
        let RecordPage { records, next } = page;
        let bytes = records.iter().map(|record| record.get().len()).sum();
        piece.reserve(bytes + records.len() + PIECE / 1024);
        if !std::mem::replace(&mut self.is_begun, true) {
            piece.extend_from_slice(format!("{{\"{}\":[", self.kind.key()).as_bytes());
        }
        for record in &records {
            if std::mem::replace(&mut self.has_records, true) {
                piece.push(b',');
            }
            piece.extend_from_slice(record.get().as_bytes());
        }
        let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
        self.rest.limit = self.rest.limit.saturating_sub(count);
        self.rest.bytes = self.rest.bytes.saturating_sub(bytes);
        self.is_complete = next.is_none()
            || self.rest.limit == 0
            || self.rest.bytes == 0
            || self.compared >= MAX_COMPARED;
        if self.is_complete {
            let next = next.as_ref();
            let next = next.map_or_else(|| "null".to_owned(), |cursor| format!("\"{cursor}\""));
            piece.extend_from_slice(format!("],\"next_before\":{next}}}").as_bytes());
        }
        self.rest.before = next;
    }
}

impl Pieces for Listing {
    fn is_complete(&self) -> bool {
        self.is_complete
    }

    async fn piece(&mut self) -> Result<Bytes, ApiError> {
        // One record may be as large as a body, and both its stored and its written form are in
        // memory.
        let largest = PIECE + self.state.limits.decoded;
        let reserved = self.state.memory.reserve(2 * largest).await?;
        let telemetry = Arc::clone(&self.state.stores.telemetry);
        let mut piece = Vec::new();
        while piece.is_empty() && !self.is_complete {
            let page = Page {
                bytes: PIECE.min(self.rest.bytes),
                ..self.rest.clone()
            };
            let mut page = telemetry.records(self.project, self.kind, page).await?;
            if !self.filter.is_everything() {
                self.compared += page.records.len();
                let filter = Arc::clone(&self.filter);
                page = off_thread(async move {
                    page.records
                        .retain(|record| filter.matches_json(record.get()));
                    page
                })
                .await?;
            }
            self.write(page, &mut piece);
        }
        Ok(reserved.keep(piece.into()))
    }
}
