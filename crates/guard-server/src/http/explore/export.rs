//! The whole filtered set as a file. It is read in slices while the client takes it, so it needs
//! little memory, holds no read transaction, and stops when the client does.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use guard_wire::Kind;
use utoipa::{IntoParams, ToSchema};

use super::csv;
use super::params::Params;
use crate::explore::answer::EventItem;
use crate::http::error::ApiError;
use crate::http::openapi::params::{FilterParam, RangeParams};
use crate::http::pieces::Pieces;
use crate::http::principal::{In, Viewer};
use crate::http::state::AppState;
use crate::query::QueryError;
use crate::store::{EventQuery, StoredEvent};

/// A slice ends with the event that brings it to this many bytes.
const SLICE: usize = 256 * 1024;
/// The most events in a slice.
const EVENTS: u16 = 1000;
/// The most bodies that are compared with the filter for one slice.
const COMPARED: u32 = 20_000;

/// The form of a file.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the description is used")]
struct ExportParams {
    /// One JSON object a line, or CSV.
    #[param(inline, example = "ndjson")]
    format: Format,
    /// 1 for a byte order mark, which some spreadsheets need to read UTF-8.
    #[param(example = "0", pattern = "^[01]$")]
    bom: Option<String>,
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Format {
    Ndjson,
    Csv,
}

impl Format {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    const fn disposition(self) -> &'static str {
        match self {
            Self::Ndjson => "attachment; filename=\"events.ndjson\"",
            Self::Csv => "attachment; filename=\"events.csv\"",
        }
    }

    fn write(self, event: StoredEvent, text: &mut Vec<u8>) -> Result<(), ApiError> {
        let item = EventItem::from(event);
        match self {
            Self::Ndjson => {
                serde_json::to_writer(&mut *text, &item)
                    .map_err(|_| ApiError::unavailable("The file cannot be made"))?;
                text.push(b'\n');
            }
            Self::Csv => csv::write_event(&item, text),
        }
        Ok(())
    }
}

struct Export {
    state: Arc<AppState>,
    format: Format,
    rest: EventQuery,
    /// What precedes the first event.
    head: Vec<u8>,
    is_complete: bool,
}

/// Returns all events that match, newest first, as a file.
///
/// It is read while the client reads, and stops when the client does. A failure cuts it off.
///
/// In CSV, text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return has a `'` in front, so
/// that a spreadsheet does not run it. Numbers never have one.
#[utoipa::path(
    get, path = "/events/export", operation_id = "export_events", tag = "Events",
    security(("token" = ["viewer"])), params(FilterParam, RangeParams, ExportParams),
    responses((status = OK, description = "The events: one JSON object a line, or CSV.",
        content((String = "application/x-ndjson"), (String = "text/csv"))))
)]
pub(crate) async fn export(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Response, ApiError> {
    let params = params.only(&["format", "filter", "from", "to", "bom"])?;
    let selection = params.selection(viewer.project.id, Kind::Event, state.clock.now())?;
    let format = match params.get("format") {
        Some("ndjson") => Format::Ndjson,
        Some("csv") => Format::Csv,
        _ => {
            let detail = "format: give ndjson or csv";
            return Err(QueryError::new("invalid_format", "format", detail).into());
        }
    };
    let has_bom = match params.get("bom") {
        None | Some("0") => false,
        Some("1") => true,
        Some(_) => {
            let detail = "bom: give 1 for a byte order mark, which some spreadsheets need";
            return Err(QueryError::new("invalid_bom", "bom", detail).into());
        }
    };
    let mut head = Vec::new();
    if has_bom {
        head.extend_from_slice("\u{feff}".as_bytes());
    }
    if format == Format::Csv {
        csv::write_head(&mut head);
    }
    let export = Export {
        format,
        head,
        rest: EventQuery {
            selection,
            after: None,
            is_oldest_first: false,
            limit: EVENTS,
            bytes: SLICE,
            compare: COMPARED,
        },
        is_complete: false,
        state,
    };
    let headers = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::CONTENT_DISPOSITION, format.disposition()),
    ];
    Ok((headers, export.body().await?).into_response())
}

impl Pieces for Export {
    fn is_complete(&self) -> bool {
        self.is_complete
    }

    async fn piece(&mut self) -> Result<Bytes, ApiError> {
        // One event may be as large as a body, and both its stored and its written form are in
        // memory.
        let largest = SLICE + self.state.limits.decoded;
        let reserved = self.state.memory.reserve(2 * largest).await?;
        let slice = self.state.stores.search.events(self.rest.clone()).await?;
        let mut text = std::mem::take(&mut self.head);
        for event in slice.events {
            self.format.write(event, &mut text)?;
        }
        self.is_complete = slice.next.is_none();
        self.rest.after = slice.next;
        Ok(reserved.keep(text.into()))
    }
}
