//! Lists of records, and single events.

use std::ops::ControlFlow;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::super::unreadable;
use super::super::records::Place;
use super::scan::{Order, Reader, Scan};
use crate::store::{EventQuery, EventSlice, ProjectId, StoredEvent};

/// A part of a list.
pub(super) fn list(
    connection: &Connection,
    kind: Kind,
    query: &EventQuery,
    after: Option<Place>,
) -> rusqlite::Result<EventSlice> {
    let snapshot = connection.unchecked_transaction()?;
    let scan = Scan::new(&snapshot, kind, &query.selection)?;
    let order = if query.is_oldest_first {
        Order::OldestFirst(after)
    } else {
        Order::NewestFirst(after)
    };
    let mut slice = EventSlice::default();
    let (mut bytes, mut last) = (0, None);
    let stopped = scan.each(&[], order, query.compare, |hit, reader| {
        let event = read(&snapshot, reader, hit.place, hit.install)?;
        bytes += event.body.get().len();
        slice.events.push(event);
        last = Some(hit.place);
        let is_full = slice.events.len() >= usize::from(query.limit) || bytes >= query.bytes;
        Ok(if is_full {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    let is_full = slice.events.len() >= usize::from(query.limit) || bytes >= query.bytes;
    slice.next = match stopped {
        // The row at which comparing stopped is compared by the next query.
        Some(place) => Some(before(place, query.is_oldest_first).cursor()),
        None => last.filter(|_| is_full).map(Place::cursor),
    };
    Ok(slice)
}

/// The place just before another in the order of the list.
const fn before(place: Place, is_oldest_first: bool) -> Place {
    let position = if is_oldest_first {
        place.position - 1
    } else {
        place.position + 1
    };
    Place { position, ..place }
}

/// The event at a place.
pub(super) fn event(
    connection: &Connection,
    project: ProjectId,
    place: Place,
) -> rusqlite::Result<Option<StoredEvent>> {
    let snapshot = connection.unchecked_transaction()?;
    let found = snapshot
        .prepare_cached(
            "SELECT install FROM events
             WHERE project = ?1 AND timestamp = ?2 AND chunk = ?3 AND position = ?4",
        )?
        .query_row(
            params![project.0, place.timestamp, place.chunk, place.position],
            |row| row.get::<_, Option<i64>>(0),
        )
        .optional()?;
    let Some(install) = found else {
        return Ok(None);
    };
    let mut reader = Reader::new(&snapshot, project)?;
    read(&snapshot, &mut reader, place, install).map(Some)
}

pub(super) fn read(
    connection: &Connection,
    reader: &mut Reader<'_>,
    place: Place,
    install: Option<i64>,
) -> rusqlite::Result<StoredEvent> {
    let received_at = connection
        .prepare_cached("SELECT received_at FROM chunks WHERE id = ?1")?
        .query_row([place.chunk], |row| row.get::<_, i64>(0))?;
    let time = |column, micros| {
        Timestamp::from_microsecond(micros)
            .map_err(|error| unreadable(column, Type::Integer, error))
    };
    let position = usize::try_from(place.position).unwrap_or(usize::MAX);
    Ok(StoredEvent {
        id: place.cursor(),
        timestamp: time(0, place.timestamp)?,
        received_at: time(1, received_at)?,
        install_id: reader.install(install)?.map(|id| id.to_string()),
        body: reader.bodies().json(place.chunk, position)?,
    })
}
