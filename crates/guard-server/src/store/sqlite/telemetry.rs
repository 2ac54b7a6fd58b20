//! Events, metrics and status reports in SQLite.

use std::collections::BTreeMap;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, Row, params};
use serde_json::value::RawValue;

use super::room::{Room, Table};
use super::{Sqlite, unreadable};
use crate::store::{
    AgentReport, Answer, Batch, MAX_LIST_BYTES, Page, ProjectId, Receipt, Record, StatusReport,
    StoredRecord, Summary, Telemetry,
};

/// Agents that a summary names at most.
const SUMMARY_AGENTS: u16 = 100;
/// What stands for the types beyond the limit; no record has it as its type.
const OTHER: &str = "";
const STATUS: Table = Table {
    name: "agent_status",
    seen: "received_at",
};

impl Telemetry for Sqlite {
    fn append(&self, batch: Batch) -> Answer<'_, Receipt> {
        let bytes = Kind::ALL
            .into_iter()
            .flat_map(|kind| batch.records(kind))
            .map(|record| size_of::<Record>() + record.body.len())
            .sum();
        let types = self.limits.types;
        Box::pin(
            self.writer
                .write(bytes, move |connection| append(connection, &batch, types)),
        )
    }

    fn save_status(&self, report: StatusReport) -> Answer<'_, ()> {
        let installs = self.limits.installs;
        Box::pin(async move {
            let saving = self.writer.write(report.body.len(), move |connection| {
                save_status(connection, &report, installs)
            });
            let is_kept = saving.await?;
            self.tell_of_crowd(u64::from(!is_kept));
            Ok(())
        })
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(self.probe())
    }

    fn summary(&self, project: ProjectId) -> Answer<'_, Summary> {
        Box::pin(self.read(move |connection| summary(connection, project)))
    }

    fn records(&self, project: ProjectId, kind: Kind, page: Page) -> Answer<'_, Vec<StoredRecord>> {
        Box::pin(self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT id, body FROM {} WHERE project_id = ?1 AND id < ?2
                 ORDER BY id DESC LIMIT ?3",
                kind.key()
            ))?;
            let before = page.before.unwrap_or(i64::MAX);
            let rows = statement.query_map(params![project.0, before, page.limit], |row| {
                Ok(StoredRecord {
                    id: row.get(0)?,
                    body: json(row, 1)?,
                })
            })?;
            up_to_room(rows, page.bytes, |record| &record.body)
        }))
    }
}

/// Whether there was room for it.
fn save_status(
    connection: &Connection,
    report: &StatusReport,
    installs: u32,
) -> rusqlite::Result<bool> {
    let known = connection
        .prepare_cached(
            "UPDATE agent_status SET received_at = ?3, body = ?4
             WHERE project_id = ?1 AND install_id = ?2",
        )?
        .execute(params![
            report.project.0,
            report.install_id,
            report.received_at.as_microsecond(),
            report.body
        ])?;
    if known > 0 {
        return Ok(true);
    }
    let mut room = Room::of(connection, STATUS, report.project, installs)?;
    if !room.take(report.received_at)? {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "INSERT INTO agent_status (project_id, install_id, received_at, body)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            report.project.0,
            report.install_id,
            report.received_at.as_microsecond(),
            report.body
        ])?;
    Ok(true)
}

pub(super) fn append(
    connection: &Connection,
    batch: &Batch,
    types: u32,
) -> rusqlite::Result<Receipt> {
    let mut receipt = Receipt::default();
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
        tally_types(connection, batch.project, kind, &stored, types)?;
        tally(connection, batch.project, kind, "duplicate", "", duplicates)?;
        tally(
            connection,
            batch.project,
            kind,
            "invalid",
            "",
            batch.invalid.of(kind),
        )?;
        *receipt.stored.of_mut(kind) = stored.values().sum();
        *receipt.duplicates.of_mut(kind) = duplicates;
    }
    Ok(receipt)
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

/// Whether the record was new.
fn insert_record(
    insert: &mut CachedStatement<'_>,
    batch: &Batch,
    kind: Kind,
    record: &Record,
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

/// Counts by type what was stored. Types that are new when there are `limit` of them
/// already are counted together.
fn tally_types(
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
        tally(connection, project, kind, "stored", type_name, *n)?;
    }
    tally(connection, project, kind, "stored", OTHER, others)
}

fn count_types(connection: &Connection, project: ProjectId, kind: Kind) -> rusqlite::Result<u32> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM tallies
             WHERE project_id = ?1 AND kind = ?2 AND outcome = 'stored' AND type <> ?3",
        )?
        .query_row(params![project.0, kind.as_str(), OTHER], |row| row.get(0))
}

fn tally(
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

fn summary(connection: &Connection, project: ProjectId) -> rusqlite::Result<Summary> {
    // One transaction: figures that belong together are read together.
    let snapshot = connection.unchecked_transaction()?;
    let mut summary = Summary::default();
    for kind in Kind::ALL {
        let mut statement = snapshot.prepare_cached(
            "SELECT outcome, type, n FROM tallies WHERE project_id = ?1 AND kind = ?2",
        )?;
        let mut rows = statement.query(params![project.0, kind.as_str()])?;
        while let Some(row) = rows.next()? {
            let n = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            match row.get_ref(0)?.as_str()? {
                "stored" => {
                    let stored = summary.of_mut(kind);
                    stored.total += n;
                    match row.get::<_, String>(1)? {
                        other if other == OTHER => stored.other = n,
                        type_name => drop(stored.by_type.insert(type_name, n)),
                    }
                }
                "duplicate" => *summary.duplicates.of_mut(kind) += n,
                _ => *summary.invalid.of_mut(kind) += n,
            }
        }
    }
    let mut statement = snapshot.prepare_cached(
        "SELECT install_id, received_at, body FROM agent_status WHERE project_id = ?1
         ORDER BY received_at DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![project.0, SUMMARY_AGENTS], |row| {
        Ok(AgentReport {
            install_id: row.get(0)?,
            received_at: Timestamp::from_microsecond(row.get(1)?)
                .map_err(|error| unreadable(1, Type::Integer, error))?,
            status: json(row, 2)?,
        })
    })?;
    summary.agents = up_to_room(rows, MAX_LIST_BYTES, |agent| &agent.status)?;
    Ok(summary)
}

/// The first of `rows`, which are read one by one, up to `room` bytes.
fn up_to_room<T>(
    rows: impl Iterator<Item = rusqlite::Result<T>>,
    room: usize,
    json: impl Fn(&T) -> &RawValue,
) -> rusqlite::Result<Vec<T>> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let row = row?;
        bytes += json(&row).get().len();
        taken.push(row);
        if bytes >= room {
            break;
        }
    }
    Ok(taken)
}

fn json(row: &Row<'_>, column: usize) -> rusqlite::Result<Box<RawValue>> {
    RawValue::from_string(row.get(column)?).map_err(|error| unreadable(column, Type::Text, error))
}
