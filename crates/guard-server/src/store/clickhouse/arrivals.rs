//! Reads events in order of arrival.
//!
//! What a slot wrote becomes visible in the order of its arrivals. So a reader goes up to the last
//! visible arrival of each slot, and misses nothing. A copy of an event that it has read is passed
//! over: all copies of what is found are looked at.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use clickhouse::Row;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ClickHouse;
use super::client::{Engine, QUERY_TIME, since};
use super::place::Place;
use super::position::{Arrived, Position, SLOTS};
use super::retention::SCAN_TIME;
use crate::store::{
    ArrivalQuery, ArrivalSlice, Arrivals, ArrivedEvent, BoxFuture, Cursor, ProjectId, StoreError,
    StoredEvent,
};

/// The most events of a slice.
const MAX_EVENTS: u16 = 1000;

/// The last visible arrival of each slot, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Arrived>);

impl Newest {
    /// The last visible arrival of each slot.
    pub(super) async fn read(&self, engine: &Engine) -> Result<Arrived, StoreError> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let query = engine
            .query(
                "SELECT max(arrival) FROM events WHERE arrival > {floor:UInt64} \
                 GROUP BY arrival % 16",
            )
            .param("floor", known.floor());
        // The first time, it reads the arrivals of all events.
        let found: Vec<u64> = engine.rows(query, SCAN_TIME).await?;
        let mut newest = known;
        for arrival in found {
            newest.reach(arrival);
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = known.latest(newest);
        Ok(newest)
    }
}

/// The last arrival in a slot.
pub(super) async fn last_of(engine: &Engine, slot: u16) -> Result<u64, StoreError> {
    let query = engine
        .query("SELECT max(arrival) FROM events WHERE arrival % 16 = {slot:UInt16}")
        .param("slot", slot.saturating_sub(1));
    engine.row(query, SCAN_TIME).await
}

#[derive(Debug, Row, Deserialize)]
struct Found {
    timestamp: i64,
    key: u128,
    arrival: u64,
    size: u32,
}

#[derive(Debug, Row, Deserialize)]
struct Copied {
    timestamp: i64,
    key: u128,
    arrival: u64,
    received_at: i64,
    install_id: Option<String>,
    body: String,
}

impl Arrivals for ClickHouse {
    fn now(&self, project: ProjectId) -> BoxFuture<'_, Cursor> {
        Box::pin(async move {
            self.sync_replica().await?;
            let newest = self.newest.read(&self.engine).await?;
            // What was removed may have left no trace in the table.
            let removed = self.cutoffs(project).await?.removed();
            let arrived = newest.latest(removed);
            Ok(Position { project, arrived }.cursor())
        })
    }

    fn arrivals(&self, query: ArrivalQuery) -> BoxFuture<'_, ArrivalSlice> {
        Box::pin(async move {
            let project = query.project;
            let after = Position::of(&query.after, project)?.arrived;
            let until = query.until.as_ref().map(|it| Position::of(it, project));
            let until = until.transpose()?.map(|it| it.arrived);
            self.sync_replica().await?;
            let newest = self.newest.read(&self.engine).await?;
            let end = until.map_or(newest, |until| newest.earliest(until));
            let window = Window {
                project,
                after,
                end,
            };
            let slice = self.slice(&window, &query).await?;
            // Read last, so that nothing is removed in between without notice.
            let removed = self.cutoffs(project).await?.removed();
            if removed.latest(after) != after {
                return Err(StoreError::ExpiredCursor);
            }
            Ok(slice)
        })
    }
}

/// Events after a position, up to another one.
struct Window {
    project: ProjectId,
    after: Arrived,
    end: Arrived,
}

impl ClickHouse {
    async fn slice(
        &self,
        window: &Window,
        query: &ArrivalQuery,
    ) -> Result<ArrivalSlice, StoreError> {
        let limit = usize::from(query.limit.min(MAX_EVENTS));
        let mut found = self.found(window, limit).await?;
        let is_complete = found.len() < limit;
        // Bodies beyond the limit are not needed.
        let (mut bytes, mut enough) = (0, 0);
        while enough < found.len() && bytes < query.bytes {
            bytes += found[enough].size as usize;
            enough += 1;
        }
        let is_complete = is_complete && enough == found.len() && bytes < query.bytes;
        found.truncate(enough);
        let mut copies = self.copies(window.project, &found).await?;
        let mut position = Position {
            project: window.project,
            arrived: window.after,
        };
        let mut events = Vec::new();
        for Found {
            timestamp,
            key,
            arrival,
            ..
        } in found
        {
            position.arrived.reach(arrival);
            let Some(copies) = copies.remove(&(timestamp, key)) else {
                // Its event was given in this slice already.
                continue;
            };
            let is_read = |copy: &&Copied| window.after.has(copy.arrival);
            if copies.iter().any(|copy| is_read(&copy)) {
                continue;
            }
            let Some(copy) = copies.into_iter().find(|copy| copy.arrival == arrival) else {
                continue;
            };
            events.push(ArrivedEvent {
                position: position.cursor(),
                event: copy.stored()?,
            });
        }
        if is_complete {
            position.arrived = position.arrived.latest(window.end);
        }
        Ok(ArrivalSlice {
            events,
            next: position.cursor(),
            is_complete,
        })
    }

    /// The first copies of events in a window, in order of arrival.
    async fn found(&self, window: &Window, limit: usize) -> Result<Vec<Found>, StoreError> {
        let (after, end) = (window.after.0, window.end.0);
        // Most of the time nothing came, and the events of the project are not looked at.
        let open = after.iter().zip(&end).filter(|(after, end)| after < end);
        let Some(least) = open.map(|(after, _)| *after).min() else {
            return Ok(Vec::new());
        };
        let text = format!(
            "SELECT timestamp, key, arrival, size FROM events \
             WHERE project = {{project:Int64}} AND {since} AND arrival > {{least:UInt64}} \
             AND arrival > {{after:Array(UInt64)}}[arrival % {SLOTS} + 1] \
             AND arrival <= {{end:Array(UInt64)}}[arrival % {SLOTS} + 1] \
             ORDER BY arrival LIMIT {{limit:UInt64}}",
            since = since(guard_wire::Kind::Event),
        );
        let query = self
            .engine
            .query(&text)
            .param("project", window.project.0)
            .param("least", least)
            .param("after", after.as_slice())
            .param("end", end.as_slice())
            .param("limit", limit as u64);
        self.engine.rows(query, QUERY_TIME).await
    }

    /// All copies of the events that were found.
    async fn copies(
        &self,
        project: ProjectId,
        found: &[Found],
    ) -> Result<HashMap<(i64, u128), Vec<Copied>>, StoreError> {
        let mut copies = HashMap::<_, Vec<_>>::new();
        let times = found.iter().map(|found| found.timestamp);
        let (Some(first), Some(last)) = (times.clone().min(), times.max()) else {
            return Ok(copies);
        };
        // The client would give the type of each key.
        let ids = found
            .iter()
            .map(|it| format!("({},{})", it.timestamp, it.key));
        let ids: Vec<_> = ids.collect();
        let query = self
            .engine
            .query(
                "SELECT timestamp, key, arrival, received_at, install_id, body FROM events \
                 WHERE project = {project:Int64} \
                 AND timestamp >= fromUnixTimestamp64Micro({first:Int64}, 'UTC') \
                 AND timestamp <= fromUnixTimestamp64Micro({last:Int64}, 'UTC') \
                 AND (timestamp, key) IN (\
                    SELECT fromUnixTimestamp64Micro(id.1, 'UTC'), id.2 \
                    FROM (SELECT arrayJoin({ids:Array(Tuple(Int64, UInt128))}) AS id))",
            )
            .param("project", project.0)
            .param("first", first)
            .param("last", last)
            .param("ids", format!("[{}]", ids.join(",")));
        let rows: Vec<Copied> = self.engine.rows(query, QUERY_TIME).await?;
        for copy in rows {
            let id = (copy.timestamp, copy.key);
            copies.entry(id).or_default().push(copy);
        }
        Ok(copies)
    }
}

impl Copied {
    fn stored(self) -> Result<StoredEvent, StoreError> {
        let place = Place {
            timestamp: self.timestamp,
            arrival: self.arrival,
            key: self.key,
        };
        Ok(StoredEvent {
            id: place.cursor(),
            timestamp: time(self.timestamp)?,
            received_at: time(self.received_at)?,
            install_id: self.install_id,
            body: RawValue::from_string(self.body).map_err(unreadable)?,
        })
    }
}

/// A time of a row.
pub(super) fn time(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(unreadable)
}

/// Reports a row that this server did not write.
pub(super) fn unreadable(error: impl std::fmt::Display) -> StoreError {
    tracing::error!(%error, "a row of ClickHouse cannot be read");
    StoreError::Damaged
}
