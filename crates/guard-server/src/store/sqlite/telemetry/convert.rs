//! Moves the records of an older file into the tables of today.

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::super::unreadable;
use super::{Appending, Names, append, prepare};
use crate::store::{Batch, Columns, KindCounts, NewRecord, Progress, ProjectId, StoreError};

/// How many records one transaction moves. A server that is stopped meanwhile goes on with the
/// next start.
const STEP: i64 = 2_000;

/// Moves all records of an older file. Does nothing if that is done.
pub(in super::super) fn convert(
    connection: &mut Connection,
    progress: &Progress,
) -> rusqlite::Result<()> {
    for kind in Kind::ALL {
        let table = format!("old_{}", kind.key());
        if connection.table_exists(None, table.as_str())? {
            move_all(connection, kind, &table, progress)?;
        }
    }
    Ok(())
}

fn move_all(
    connection: &mut Connection,
    kind: Kind,
    table: &str,
    progress: &Progress,
) -> rusqlite::Result<()> {
    let bounds = format!("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM {table}");
    let (first, last): (i64, i64) =
        connection.query_row(&bounds, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if last > 0 {
        progress.begin(format!("moving its {} to the layout of today", kind.key()));
    }
    let mut names = Names::default();
    loop {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Some(moved) = move_some(&step, &mut names, kind, table)? else {
            step.execute_batch(&format!("DROP TABLE {table}"))?;
            return step.commit();
        };
        step.commit()?;
        progress.reach(moved - first + 1, last - first + 1);
    }
}

/// Moves the oldest records. Returns the id of the last one, or `None` if there was none.
fn move_some(
    step: &Transaction<'_>,
    names: &mut Names,
    kind: Kind,
    table: &str,
) -> rusqlite::Result<Option<i64>> {
    let own = match kind {
        Kind::Event => "event_type, ip, NULL",
        Kind::Metric => "metric_type, NULL, value",
    };
    let mut batches = Vec::<Batch>::new();
    let mut last = None;
    {
        let mut statement = step.prepare_cached(&format!(
            "SELECT id, project_id, received_at, idempotency_key, timestamp, endpoint, body, {own}
             FROM {table} ORDER BY id LIMIT ?1"
        ))?;
        let mut rows = statement.query([STEP])?;
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            let project = ProjectId(row.get(1)?);
            let received_at = time(row, 2)?;
            let record = record(kind, row)?;
            match batches.last_mut() {
                Some(batch) if (batch.project, batch.received_at) == (project, received_at) => {
                    records(batch, kind).push(record);
                }
                _ => {
                    let mut batch = Batch {
                        project,
                        received_at,
                        install_id: None,
                        events: Vec::new(),
                        metrics: Vec::new(),
                        invalid: KindCounts::default(),
                    };
                    records(&mut batch, kind).push(record);
                    batches.push(batch);
                }
            }
        }
    }
    let Some(last) = last else { return Ok(None) };
    // The records are counted already, by the types that have a name.
    let how = Appending {
        types: 0,
        is_counted: false,
    };
    for batch in batches {
        let batch = prepare(batch).map_err(failed)?;
        append(step, names, &batch, how)?;
    }
    step.execute(
        &format!("DELETE FROM {table} WHERE id <= ?1"),
        params![last],
    )?;
    Ok(Some(last))
}

fn records(batch: &mut Batch, kind: Kind) -> &mut Vec<NewRecord> {
    match kind {
        Kind::Event => &mut batch.events,
        Kind::Metric => &mut batch.metrics,
    }
}

fn record(kind: Kind, row: &Row<'_>) -> rusqlite::Result<NewRecord> {
    let body: String = row.get(6)?;
    Ok(NewRecord {
        idempotency_key: row.get(3)?,
        timestamp: time(row, 4)?,
        endpoint: row.get(5)?,
        type_name: row.get(7)?,
        ip: row.get(8)?,
        value: row.get(9)?,
        columns: Columns::of(kind, &body),
        body,
    })
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?)
        .map_err(|error| unreadable(column, Type::Integer, error))
}

fn failed(error: StoreError) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
