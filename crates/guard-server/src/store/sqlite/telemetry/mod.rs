//! Events and metrics in SQLite.
//!
//! # Tables
//!
//! The layout that this module is moving to (the code still uses the one before). Times are
//! microseconds since the epoch (`timestamp`, `received_at`) or seconds (`start`).
//!
//! ```sql
//! -- Dictionaries. `field` is a `NameField`. `id` counts from 1 within (project, field). Each field
//! -- has a limit; `seen` is the day of the last use, so that retention can remove unused names.
//! CREATE TABLE names (project, field, id, text, seen, PRIMARY KEY (project, field, id)) WITHOUT ROWID;
//! CREATE UNIQUE INDEX names_text ON names (project, field, text);
//!
//! -- `key` is a 64-bit hash of the idempotency key (random for a record without one).
//! CREATE TABLE events (project, timestamp, key,
//!     chunk, position,                         -- where the body is
//!     install,                                 -- name: `X-Agent-Install-Id`, or NULL
//!     type, action, method, status, country, endpoint,
//!     address, reason, user_agent, response_time, rule_type, decorator, handler, pattern,
//!     score, rule, rule_version, service, environment, guard_project,
//!     recent, correlation, trace,              -- the enrichment in `metadata`
//!     PRIMARY KEY (project, timestamp, key)) WITHOUT ROWID;
//!
//! CREATE TABLE metrics (project, timestamp, key, chunk, position, install,
//!     type, endpoint, method, status, value,
//!     score, rule, rule_version, service, environment, guard_project,
//!     recent, correlation, trace,              -- the enrichment in `tags`
//!     PRIMARY KEY (project, timestamp, key)) WITHOUT ROWID;
//!
//! -- The bodies of the records of one batch and kind, up to a limit, compressed together.
//! -- `live` counts the rows that still point to the chunk. `id` grows with every batch.
//! CREATE TABLE chunks (id INTEGER PRIMARY KEY, project, kind, received_at, live);
//! CREATE TABLE bodies (id INTEGER PRIMARY KEY, data BLOB);
//!
//! -- How many events had `value` in `field`, per minute (`span` 60) and per hour (3600).
//! -- Fields: type, action, method, status, country, endpoint; address only per hour.
//! -- Each field counts each event once, so the sum over a field's values is the total.
//! CREATE TABLE event_counts (project, span, field, start, value, n,
//!     PRIMARY KEY (project, span, field, start, value)) WITHOUT ROWID;
//!
//! -- Events per hour by all of these at once: for groups with a filter on another of these fields.
//! CREATE TABLE event_hours (project, start, type, action, method, status, country, endpoint, n,
//!     PRIMARY KEY (project, start, type, action, method, status, country, endpoint)) WITHOUT ROWID;
//!
//! -- Metrics per minute and per hour. `n` counts records, `valued` those with a value.
//! CREATE TABLE metric_rollups (project, span, type, start, endpoint, method, status,
//!     n, valued, total, least, greatest, sketch BLOB,
//!     PRIMARY KEY (project, span, type, start, endpoint, method, status)) WITHOUT ROWID;
//! ```
//!
//! # What a column holds
//!
//! | | a value | absent or null | only the body tells |
//! |---|---|---|---|
//! | dictionary (`type`, `endpoint`, `reason`, ...) | id of the name, 1 and up | NULL | 0 |
//! | `status` | the integer, 1 and up | NULL | 0 |
//! | `address` | blob of 4 or 16 bytes if the text is the canonical form of an address; the id of a name for other text, such as `system` | NULL | 0 |
//! | `score`, `recent` | the integer, 0 and up | NULL | -1 |
//! | `response_time`, and `value` of a metric | the number; `response_time` 0 and up | NULL | -1 (only `response_time`) |
//! | `correlation`, `trace` | 64-bit hash of the text (`key_hash`) | NULL | 0 |
//!
//! "Only the body tells" stands for a value that is no text (or no number, for number columns), and
//! for a name beyond the dictionary's limit. A filter must then read the body. Rollups count absent
//! values under -1, because a key cannot be NULL; 0 stands for "other" there.
//!
//! The columns `endpoint`, `method` and `status` of a metric come from its `tags` if the record
//! itself has none. Columns of an event never come from `tags`.
//!
//! # Order and identity
//!
//! A record that is sent again has the same timestamp and key, so the primary key is the unique
//! index, the time index and the order of the pages at once. Lists go by
//! `timestamp DESC, chunk DESC, position DESC`: for equal timestamps, by arrival. This triple is the
//! cursor and the public id; it never changes while the record exists. Live readers that follow
//! commits go by `chunk`: chunk ids grow with every commit, and a reader that saw chunk N has seen
//! all chunks before it. Ids are never used again.

use std::collections::BTreeMap;

use guard_wire::Kind;
use rusqlite::{CachedStatement, Connection, params};

use super::{Sqlite, json, projects, up_to_room};
use crate::projects::Usage;
use crate::store::{
    Batch, BoxFuture, Cursor, KindCounts, NewRecord, Page, ProjectId, Receipt, RecordCounts,
    RecordPage, StoreError, Telemetry,
};

/// The type that counts the records beyond the limit of types. No record has this type.
const OTHER: &str = "";

impl Telemetry for Sqlite {
    fn append(&self, batch: Batch, max_types: u32) -> BoxFuture<'_, Receipt> {
        let bytes = Kind::ALL
            .into_iter()
            .flat_map(|kind| batch.records(kind))
            .map(|record| size_of::<NewRecord>() + record.body.len())
            .sum();
        Box::pin(self.writer.write(bytes, move |connection| {
            append(connection, &batch, max_types)
        }))
    }

    fn probe(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.probe())
    }

    fn usage(&self, project: ProjectId) -> BoxFuture<'_, Usage> {
        Box::pin(self.usage(project))
    }

    fn counts(&self, project: ProjectId) -> BoxFuture<'_, RecordCounts> {
        Box::pin(self.read(move |connection| counts(connection, project)))
    }

    fn records(&self, project: ProjectId, kind: Kind, page: Page) -> BoxFuture<'_, RecordPage> {
        Box::pin(async move {
            let before = match &page.before {
                Some(cursor) => row_of(cursor)?,
                None => i64::MAX,
            };
            self.read(move |connection| records(connection, project, kind, before, &page))
                .await
        })
    }
}

/// The row that a cursor points to.
fn row_of(cursor: &Cursor) -> Result<i64, StoreError> {
    let bytes = cursor.bytes().try_into();
    bytes
        .map(i64::from_be_bytes)
        .map_err(|_| StoreError::InvalidCursor)
}

fn records(
    connection: &Connection,
    project: ProjectId,
    kind: Kind,
    before: i64,
    page: &Page,
) -> rusqlite::Result<RecordPage> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, body FROM {} WHERE project_id = ?1 AND id < ?2
         ORDER BY id DESC LIMIT ?3",
        kind.key()
    ))?;
    let rows = statement.query_map(params![project.0, before, page.limit], |row| {
        Ok((row.get::<_, i64>(0)?, json(row, 1)?))
    })?;
    let rows = up_to_room(rows, page.bytes, |(_, body)| body)?;
    let bytes: usize = rows.iter().map(|(_, body)| body.get().len()).sum();
    let is_full = rows.len() >= usize::from(page.limit) || bytes >= page.bytes;
    let last = rows.last().filter(|_| is_full);
    Ok(RecordPage {
        next: last.map(|(id, _)| Cursor::new(&id.to_be_bytes())),
        records: rows.into_iter().map(|(_, body)| body).collect(),
    })
}

pub(super) fn append(
    connection: &Connection,
    batch: &Batch,
    types: u32,
) -> rusqlite::Result<Receipt> {
    if projects::is_removed(connection, batch.project)? {
        // It was removed while this batch was on its way.
        return Ok(Receipt::default());
    }
    let mut found = KindCounts::default();
    for kind in Kind::ALL {
        let mut stored = BTreeMap::<&str, u64>::new();
        let mut duplicates = 0;
        let mut insert = prepare_insert(connection, kind)?;
        for record in batch.records(kind) {
            if insert_record(&mut insert, batch, kind, record)? {
                *stored.entry(&record.type_name).or_default() += 1;
            } else {
                duplicates += 1;
            }
        }
        add_type_counts(connection, batch.project, kind, &stored, types)?;
        add_to_counts(connection, batch.project, kind, "duplicate", "", duplicates)?;
        add_to_counts(
            connection,
            batch.project,
            kind,
            "invalid",
            "",
            batch.invalid.of(kind),
        )?;
        *found.of_mut(kind) = duplicates;
    }
    Ok(Receipt {
        duplicates: Some(found),
    })
}

fn prepare_insert(connection: &Connection, kind: Kind) -> rusqlite::Result<CachedStatement<'_>> {
    let columns = match kind {
        Kind::Event => {
            "events (project_id, idempotency_key, timestamp, received_at, endpoint, body, event_type, ip)"
        }
        Kind::Metric => {
            "metrics (project_id, idempotency_key, timestamp, received_at, endpoint, body, metric_type, value)"
        }
    };
    connection.prepare_cached(&format!(
        "INSERT INTO {columns} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (project_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING"
    ))
}

/// Returns whether the record was new.
fn insert_record(
    insert: &mut CachedStatement<'_>,
    batch: &Batch,
    kind: Kind,
    record: &NewRecord,
) -> rusqlite::Result<bool> {
    let last: &dyn rusqlite::ToSql = match kind {
        Kind::Event => &record.ip,
        Kind::Metric => &record.value,
    };
    let changed = insert.execute(params![
        batch.project.0,
        record.idempotency_key,
        record.timestamp.as_microsecond(),
        batch.received_at.as_microsecond(),
        record.endpoint,
        record.body,
        record.type_name,
        last,
    ])?;
    Ok(changed == 1)
}

/// Adds the stored records to the counts by type. If there are `limit` types already, new types are
/// counted together.
fn add_type_counts(
    connection: &Connection,
    project: ProjectId,
    kind: Kind,
    stored: &BTreeMap<&str, u64>,
    limit: u32,
) -> rusqlite::Result<()> {
    let mut known = connection.prepare_cached(
        "SELECT 1 FROM tallies
         WHERE project_id = ?1 AND kind = ?2 AND outcome = 'stored' AND type = ?3",
    )?;
    let mut others = 0;
    let mut room = None;
    for (type_name, n) in stored {
        if !known.exists(params![project.0, kind.as_str(), type_name])? {
            let left = match room {
                Some(left) => left,
                None => limit.saturating_sub(count_types(connection, project, kind)?),
            };
            room = Some(left.saturating_sub(1));
            if left == 0 {
                others += n;
                continue;
            }
        }
        add_to_counts(connection, project, kind, "stored", type_name, *n)?;
    }
    add_to_counts(connection, project, kind, "stored", OTHER, others)
}

fn count_types(connection: &Connection, project: ProjectId, kind: Kind) -> rusqlite::Result<u32> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM tallies
             WHERE project_id = ?1 AND kind = ?2 AND outcome = 'stored' AND type <> ?3",
        )?
        .query_row(params![project.0, kind.as_str(), OTHER], |row| row.get(0))
}

fn add_to_counts(
    connection: &Connection,
    project: ProjectId,
    kind: Kind,
    outcome: &str,
    type_name: &str,
    n: u64,
) -> rusqlite::Result<()> {
    if n > 0 {
        connection
            .prepare_cached(
                "INSERT INTO tallies (project_id, kind, outcome, type, n) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET n = n + excluded.n",
            )?
            .execute(params![project.0, kind.as_str(), outcome, type_name, i64::try_from(n).unwrap_or(i64::MAX)])?;
    }
    Ok(())
}

fn counts(connection: &Connection, project: ProjectId) -> rusqlite::Result<RecordCounts> {
    // One transaction, so that the figures are consistent.
    let snapshot = connection.unchecked_transaction()?;
    let mut counts = RecordCounts::default();
    for kind in Kind::ALL {
        let mut statement = snapshot.prepare_cached(
            "SELECT outcome, type, n FROM tallies WHERE project_id = ?1 AND kind = ?2",
        )?;
        let mut rows = statement.query(params![project.0, kind.as_str()])?;
        while let Some(row) = rows.next()? {
            let n = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            match row.get_ref(0)?.as_str()? {
                "stored" => {
                    let stored = counts.of_mut(kind);
                    stored.total += n;
                    match row.get::<_, String>(1)? {
                        other if other == OTHER => stored.other = n,
                        type_name => drop(stored.by_type.insert(type_name, n)),
                    }
                }
                "duplicate" => *counts.duplicates.of_mut(kind) += n,
                _ => *counts.invalid.of_mut(kind) += n,
            }
        }
    }
    Ok(counts)
}
