//! Lists of records, newest first.

use guard_wire::Kind;
use rusqlite::{Connection, params};

use super::bodies::Bodies;
use crate::store::{Cursor, Page, ProjectId, RecordPage, StoreError};

/// The place of a record in the order of lists. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) timestamp: i64,
    pub(super) chunk: i64,
    pub(super) position: i64,
}

impl Place {
    /// After all records.
    pub(super) const END: Self = Self {
        timestamp: i64::MAX,
        chunk: i64::MAX,
        position: i64::MAX,
    };

    /// The place that a cursor points to.
    pub(super) fn of(cursor: &Cursor) -> Result<Self, StoreError> {
        let numbers = cursor.bytes().as_chunks::<8>();
        let ([timestamp, chunk, position], []) = numbers else {
            return Err(StoreError::InvalidCursor);
        };
        Ok(Self {
            timestamp: i64::from_be_bytes(*timestamp),
            chunk: i64::from_be_bytes(*chunk),
            position: i64::from_be_bytes(*position),
        })
    }

    pub(super) fn cursor(self) -> Cursor {
        let numbers = [self.timestamp, self.chunk, self.position];
        Cursor::new(numbers.map(i64::to_be_bytes).as_flattened())
    }
}

pub(super) fn records(
    connection: &Connection,
    project: ProjectId,
    kind: Kind,
    before: Place,
    page: &Page,
) -> rusqlite::Result<RecordPage> {
    // One transaction: retention must not remove a body between the two reads.
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached(&format!(
        "SELECT timestamp, chunk, position FROM {} WHERE project = ?1
         AND timestamp <= ?2 AND (timestamp, chunk, position) < (?2, ?3, ?4)
         ORDER BY timestamp DESC, chunk DESC, position DESC LIMIT ?5",
        kind.key()
    ))?;
    let limits = params![
        project.0,
        before.timestamp,
        before.chunk,
        before.position,
        page.limit
    ];
    let mut rows = statement.query(limits)?;
    let mut bodies = Bodies::new(&snapshot)?;
    let (mut records, mut last, mut bytes) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        let place = Place {
            timestamp: row.get(0)?,
            chunk: row.get(1)?,
            position: row.get(2)?,
        };
        let at = usize::try_from(place.position).unwrap_or(usize::MAX);
        let body = bodies.json(place.chunk, at)?;
        bytes += body.get().len();
        records.push(body);
        last = Some(place);
        if bytes >= page.bytes {
            break;
        }
    }
    let is_full = records.len() >= usize::from(page.limit) || bytes >= page.bytes;
    Ok(RecordPage {
        next: last.filter(|_| is_full).map(Place::cursor),
        records,
    })
}
