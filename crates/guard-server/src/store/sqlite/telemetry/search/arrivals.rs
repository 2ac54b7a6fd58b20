//! Events in order of arrival: by chunk and position.

use std::collections::BTreeSet;

use guard_wire::Kind;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::append::kind_number;
use super::super::records::Place;
use super::pages;
use super::scan::Reader;
use crate::event_time;
use crate::store::{ArrivalQuery, ArrivalSlice, ArrivedEvent, Cursor, ProjectId, StoreError};

/// The most chunks that are looked at for one slice; those of metrics are passed over.
const CHUNKS: i64 = 256;

/// A place in the order of arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// The `identity` of the project.
    identity: i64,
    /// When the chunk came. A file that was restored from a backup uses the ids of later chunks
    /// again. 0 if unknown.
    received_at: i64,
    place: ChunkPlace,
}

/// A chunk, and a position in it.
type ChunkPlace = (i64, i64);

impl Position {
    /// The position that a cursor points to.
    pub(super) fn of(cursor: &Cursor) -> Result<Self, StoreError> {
        let numbers = cursor.bytes().as_chunks::<8>();
        let ([identity, received_at, chunk, position], []) = numbers else {
            return Err(StoreError::InvalidCursor);
        };
        let number = |bytes: &[u8; 8]| i64::from_be_bytes(*bytes);
        Ok(Self {
            identity: number(identity),
            received_at: number(received_at),
            place: (number(chunk), number(position)),
        })
    }

    fn cursor(self) -> Cursor {
        let (chunk, position) = self.place;
        let numbers = [self.identity, self.received_at, chunk, position];
        Cursor::new(numbers.map(i64::to_be_bytes).as_flattened())
    }
}

/// The position after all events.
pub(super) fn now(connection: &Connection, project: ProjectId) -> rusqlite::Result<Cursor> {
    let snapshot = connection.unchecked_transaction()?;
    let identity = snapshot
        .prepare_cached("SELECT identity FROM arrivals WHERE project = ?1")?
        .query_row([project.0], |row| row.get(0))
        .optional()?;
    let chunk = last_chunk(&snapshot)?;
    let position = Position {
        // The position of a project that was removed is of no project.
        identity: identity.unwrap_or(0),
        received_at: received_at(&snapshot, chunk)?.unwrap_or(0),
        place: (chunk, i64::MAX),
    };
    Ok(position.cursor())
}

/// The events after a position.
pub(super) fn arrivals(
    connection: &Connection,
    query: &ArrivalQuery,
    after: Position,
    until: Option<Position>,
) -> rusqlite::Result<Result<ArrivalSlice, StoreError>> {
    let snapshot = connection.unchecked_transaction()?;
    if let Err(error) = check(&snapshot, query.project, after)? {
        return Ok(Err(error));
    }
    let until = until.map_or((i64::MAX, i64::MAX), |until| until.place);
    let mut chunks = snapshot.prepare_cached(
        "SELECT id, kind, received_at FROM chunks
         WHERE project = ?1 AND id BETWEEN ?2 AND ?3 ORDER BY id LIMIT ?4",
    )?;
    let mut chunks = chunks.query(params![query.project.0, after.place.0, until.0, CHUNKS])?;
    let mut reader = Reader::new(&snapshot, query.project)?;
    let (mut events, mut next, mut seen, mut bytes) = (Vec::new(), after, 0, 0);
    while let Some(chunk) = chunks.next()? {
        seen += 1;
        let (id, kind, received_at): (i64, u8, i64) = (chunk.get(0)?, chunk.get(1)?, chunk.get(2)?);
        let at = |position| Position {
            received_at,
            place: (id, position),
            ..after
        };
        if kind == kind_number(Kind::Event) {
            for (place, install) in rows(&snapshot, &mut reader, query.project, id)? {
                let position = at(place.position);
                if position.place <= after.place || position.place > until {
                    continue;
                }
                let event = pages::read(&snapshot, &mut reader, place, install)?;
                bytes += event.body.get().len();
                let cursor = position.cursor();
                events.push(ArrivedEvent {
                    position: cursor,
                    event,
                });
                next = position;
                if events.len() >= usize::from(query.limit) || bytes >= query.bytes {
                    return Ok(Ok(ArrivalSlice {
                        events,
                        next: next.cursor(),
                        is_complete: false,
                    }));
                }
            }
        }
        next = at(i64::MAX);
    }
    Ok(Ok(ArrivalSlice {
        events,
        next: next.cursor(),
        is_complete: seen < CHUNKS,
    }))
}

/// Whether reading can begin after a position.
fn check(
    connection: &Connection,
    project: ProjectId,
    after: Position,
) -> rusqlite::Result<Result<(), StoreError>> {
    let found = connection
        .prepare_cached("SELECT identity, chunk, position FROM arrivals WHERE project = ?1")?
        .query_row([project.0], |row| {
            Ok((row.get::<_, i64>(0)?, (row.get(1)?, row.get(2)?)))
        })
        .optional()?;
    let chunk = after.place.0;
    let is_known = match received_at(connection, chunk)? {
        Some(time) => after.received_at == time || after.received_at == 0,
        None => chunk <= last_chunk(connection)?,
    };
    Ok(match found {
        Some((identity, removed)) if identity == after.identity && is_known => {
            if removed > after.place {
                Err(StoreError::ExpiredCursor)
            } else {
                Ok(())
            }
        }
        _ => Err(StoreError::InvalidCursor),
    })
}

/// The id of the last chunk of all projects, even if it was removed.
fn last_chunk(connection: &Connection) -> rusqlite::Result<i64> {
    let last = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

fn received_at(connection: &Connection, chunk: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT received_at FROM chunks WHERE id = ?1")?
        .query_row([chunk], |row| row.get(0))
        .optional()
}

/// The places of the events of a chunk, and their installs, by position. Records of the chunk that
/// were duplicates or have expired have no row.
fn rows(
    connection: &Connection,
    reader: &mut Reader<'_>,
    project: ProjectId,
    chunk: i64,
) -> rusqlite::Result<Vec<(Place, Option<i64>)>> {
    // The key leads from the time of a record to its row.
    let times: BTreeSet<i64> = reader.bodies().all(chunk)?.filter_map(time).collect();
    let mut statement = connection.prepare_cached(
        "SELECT position, install FROM events WHERE project = ?1 AND timestamp = ?2 AND chunk = ?3",
    )?;
    let mut found = Vec::new();
    for timestamp in times {
        let rows = statement.query_map(params![project.0, timestamp, chunk], |row| {
            let position = row.get(0)?;
            let place = Place {
                timestamp,
                chunk,
                position,
            };
            Ok((place, row.get(1)?))
        })?;
        for row in rows {
            found.push(row?);
        }
    }
    found.sort_unstable_by_key(|(place, _)| place.position);
    Ok(found)
}

/// The time of a record, in microseconds.
fn time(body: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Timed<'a> {
        #[serde(borrow)]
        timestamp: &'a RawValue,
    }
    let Timed { timestamp } = serde_json::from_str(body).ok()?;
    event_time::read(timestamp).map(jiff::Timestamp::as_microsecond)
}
