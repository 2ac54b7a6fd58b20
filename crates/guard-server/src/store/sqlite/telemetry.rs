//! Events and metrics in SQLite.

use std::collections::BTreeMap;

use guard_wire::Kind;
use rusqlite::{CachedStatement, Connection, params};

use super::{Sqlite, json, up_to_room};
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
