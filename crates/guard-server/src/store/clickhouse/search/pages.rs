//! Lists of records, and single events.

use std::sync::Arc;

use guard_wire::Kind;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::arrivals::{time, unreadable};
use super::super::place::Place;
use super::run::{Rows, Run};
use super::scan::Scan;
use crate::query::TimeRange;
use crate::query::filter::{Filter, Subject};
use crate::store::{EventQuery, EventSlice, ProjectId, Selection, StoreError, StoredEvent};

/// The most rows that are asked for at a time.
const MAX_ROWS: usize = 5000;

/// The times of the next rows, in microseconds.
#[derive(Debug, clickhouse::Row, Deserialize)]
struct Span {
    oldest: i64,
    newest: i64,
    n: u64,
}

#[derive(Debug, clickhouse::Row, Deserialize)]
struct Record {
    at: i64,
    key: u128,
    arrival: u64,
    received: i64,
    install: Option<String>,
    /// Whether only the body tells if it matches.
    unclear: u8,
    body: String,
}

impl Record {
    const fn place(&self) -> Place {
        Place {
            timestamp: self.at,
            arrival: self.arrival,
            key: self.key,
        }
    }

    fn matches(&self, filter: &Filter) -> bool {
        let body = serde_json::from_str::<Map<String, Value>>(&self.body).unwrap_or_default();
        filter.matches(Subject {
            body: &body,
            timestamp: Timestamp::from_microsecond(self.at).ok(),
            install_id: self.install.as_deref(),
        })
    }

    fn stored(self) -> Result<StoredEvent, StoreError> {
        let id = self.place().cursor();
        Ok(StoredEvent {
            id,
            timestamp: time(self.at)?,
            received_at: time(self.received)?,
            install_id: self.install,
            body: RawValue::from_string(self.body).map_err(unreadable)?,
        })
    }
}

/// A part of a list.
///
/// The table is ordered by time, but not by arrival, and has a record once for each time that it was
/// sent until the copies are merged. So the first query finds out until which time the next rows
/// reach, which reads no more than them. The second one reads all records of these times, each once.
pub(super) async fn list(
    run: &Run<'_>,
    kind: Kind,
    query: &EventQuery,
    after: Option<Place>,
) -> Result<EventSlice, StoreError> {
    let mut slice = EventSlice::default();
    let (mut bytes, mut compared, mut place) = (0, 0, after);
    let mut rows = usize::from(query.limit.max(1));
    loop {
        let part = Part::new(run, kind, query, place, rows).await?;
        let (mut read, mut last) = (0, place);
        let Some(mut records) = part.records(run)? else {
            return Ok(slice);
        };
        while let Some(record) = records.next().await? {
            let at = record.place();
            read += 1;
            last = Some(at);
            if record.unclear > 0 {
                if compared == query.compare {
                    slice.next = Some(before(at, query.is_oldest_first).cursor());
                    return Ok(slice);
                }
                compared += 1;
                if !record.matches(&query.selection.filter) {
                    continue;
                }
            }
            bytes += record.body.len();
            slice.events.push(record.stored()?);
            if slice.events.len() >= usize::from(query.limit) || bytes >= query.bytes {
                slice.next = Some(at.cursor());
                return Ok(slice);
            }
        }
        place = if read == rows { last } else { part.end() };
        if place.is_none() {
            return Ok(slice);
        }
        rows = (rows * 4).min(MAX_ROWS);
    }
}

/// The next rows of a list.
struct Part<'a> {
    scan: Scan<'a>,
    is_oldest_first: bool,
    after: String,
    rows: usize,
    span: Span,
}

impl<'a> Part<'a> {
    async fn new(
        run: &Run<'_>,
        kind: Kind,
        query: &'a EventQuery,
        place: Option<Place>,
        rows: usize,
    ) -> Result<Self, StoreError> {
        let mut scan = Scan::new(kind, &query.selection, None);
        let after = match place {
            None => String::new(),
            Some(place) => {
                let sign = if query.is_oldest_first { '>' } else { '<' };
                let time = scan.params.time(place.timestamp);
                let arrival = scan.params.arrival(place.arrival);
                // The first comparison limits the search.
                format!(
                    " AND timestamp {sign}= {time} \
                     AND (timestamp {sign} {time} OR arrival {sign} {arrival})"
                )
            }
        };
        let order = order(query.is_oldest_first);
        let sql = format!(
            "SELECT toUnixTimestamp64Micro(min(t)) AS oldest, \
             toUnixTimestamp64Micro(max(t)) AS newest, count() AS n \
             FROM (SELECT timestamp AS t FROM {}{after} ORDER BY timestamp{order} LIMIT {})",
            scan.each(),
            rows + 1
        );
        let span = run.all::<Span>(&sql, &scan.params).await?;
        let span = span.into_iter().next().ok_or(StoreError::Unavailable)?;
        Ok(Self {
            scan,
            is_oldest_first: query.is_oldest_first,
            after,
            rows,
            span,
        })
    }

    /// The records, or `None` if there are none.
    fn records<'r>(&self, run: &Run<'r>) -> Result<Option<Rows<'r, Record>>, StoreError> {
        if self.span.n == 0 {
            return Ok(None);
        }
        let mut params = self.scan.params.clone();
        let order = order(self.is_oldest_first);
        let sql = format!(
            "SELECT {COLUMNS}, {unclear} AS unclear, body FROM {rows}{after} \
             AND timestamp >= {oldest} AND timestamp <= {newest} \
             ORDER BY timestamp{order}, arrival{order} LIMIT {limit}",
            unclear = self.scan.is_unclear(),
            rows = self.scan.once(),
            after = self.after,
            oldest = params.time(self.span.oldest),
            newest = params.time(self.span.newest),
            limit = self.rows,
        );
        run.rows(&sql, &params).map(Some)
    }

    /// The end of the times of these rows, if there are rows of other times after them.
    fn end(&self) -> Option<Place> {
        if self.span.n <= self.rows as u64 {
            return None;
        }
        let (timestamp, arrival, key) = if self.is_oldest_first {
            (self.span.newest, u64::MAX, u128::MAX)
        } else {
            (self.span.oldest, 0, 0)
        };
        Some(Place {
            timestamp,
            arrival,
            key,
        })
    }
}

/// What is read of a record, besides its body.
const COLUMNS: &str = "toUnixTimestamp64Micro(timestamp) AS at, key, arrival, \
     toUnixTimestamp64Micro(received_at) AS received, \
     CAST(install_id, 'Nullable(String)') AS install";

const fn order(is_oldest_first: bool) -> &'static str {
    if is_oldest_first { "" } else { " DESC" }
}

/// The place just before another in the order of the list.
const fn before(place: Place, is_oldest_first: bool) -> Place {
    let arrival = if is_oldest_first {
        place.arrival.saturating_sub(1)
    } else {
        place.arrival.saturating_add(1)
    };
    Place { arrival, ..place }
}

/// The event at a place.
pub(super) async fn event(
    run: &Run<'_>,
    project: ProjectId,
    place: Place,
) -> Result<Option<StoredEvent>, StoreError> {
    let from = Timestamp::from_microsecond(place.timestamp);
    let from = from.map_err(|_| StoreError::InvalidCursor)?;
    let to = from.saturating_add(SignedDuration::from_micros(1));
    let selection = Selection {
        project,
        range: TimeRange {
            from,
            to: to.unwrap_or(Timestamp::MAX),
        },
        filter: Arc::new(Filter::everything()),
    };
    let mut scan = Scan::new(Kind::Event, &selection, None);
    let key = scan.params.record_key(place.key);
    let sql = format!(
        "SELECT {COLUMNS}, toUInt8(0) AS unclear, body FROM {} AND key = {key}",
        scan.once()
    );
    let found = run.all::<Record>(&sql, &scan.params).await?;
    found.into_iter().next().map(Record::stored).transpose()
}
