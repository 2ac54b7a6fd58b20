//! The counts of the events of a minute, all in one row: in a quiet minute a row for each value
//! would take more room than the events.
//!
//! `counts` has an entry for each field and value, in this order: the field (one byte), the value
//! (LEB128, zigzag) and how many events have it (LEB128).

use std::collections::BTreeMap;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use thiserror::Error;

use super::super::super::unreadable;
use super::super::leb128;
use crate::store::ProjectId;

/// How many events have a value, by field and value.
pub(super) type Counts = BTreeMap<(u8, i64), i64>;

#[derive(Debug, Error)]
#[error("the counts of a minute cannot be read")]
struct BadCounts;

/// Adds counts to those of minutes. They are negative for events that are removed.
pub(super) fn add(
    connection: &Connection,
    project: ProjectId,
    minutes: &BTreeMap<i64, Counts>,
) -> rusqlite::Result<()> {
    let mut insert = connection
        .prepare_cached("INSERT INTO event_minutes VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
    for (minute, changes) in minutes {
        // Most minutes are new.
        let is_new = changes.values().all(|n| *n > 0)
            && insert.execute(params![project.0, minute, write(changes)])? > 0;
        if !is_new {
            change(connection, project, *minute, changes)?;
        }
    }
    Ok(())
}

/// Changes the counts of a minute. Those that become 0 are removed.
fn change(
    connection: &Connection,
    project: ProjectId,
    minute: i64,
    changes: &Counts,
) -> rusqlite::Result<()> {
    let stored = connection
        .prepare_cached("SELECT counts FROM event_minutes WHERE project = ?1 AND start = ?2")?
        .query_row(params![project.0, minute], |row| {
            let mut counts = Counts::new();
            each(row, 0, |field, value, n| {
                counts.insert((field, value), n);
            })?;
            Ok(counts)
        })
        .optional()?;
    let mut counts = stored.unwrap_or_default();
    for (key, n) in changes {
        *counts.entry(*key).or_default() += n;
    }
    counts.retain(|_, n| *n > 0);
    if counts.is_empty() {
        return connection
            .prepare_cached("DELETE FROM event_minutes WHERE project = ?1 AND start = ?2")?
            .execute(params![project.0, minute])
            .map(drop);
    }
    connection
        .prepare_cached("UPDATE event_minutes SET counts = ?3 WHERE project = ?1 AND start = ?2")?
        .execute(params![project.0, minute, write(&counts)])
        .map(drop)
}

fn write(counts: &Counts) -> Vec<u8> {
    let mut data = Vec::with_capacity(counts.len() * 4);
    for (&(field, value), &n) in counts {
        data.push(field);
        leb128::put(&mut data, ((value << 1) ^ (value >> 63)).cast_unsigned());
        leb128::put(&mut data, n.cast_unsigned());
    }
    data
}

/// The values of a field with their numbers, in the counts of a column.
pub(in super::super::super) fn of_field(
    row: &Row<'_>,
    column: usize,
    field: u8,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut values = Vec::new();
    each(row, column, |its, value, n| {
        if its == field {
            values.push((value, n));
        }
    })?;
    Ok(values)
}

/// Calls `visit` with each field, value and number.
fn each(row: &Row<'_>, column: usize, mut visit: impl FnMut(u8, i64, i64)) -> rusqlite::Result<()> {
    let mut data = row.get_ref(column)?.as_blob()?;
    let damaged = || unreadable(column, Type::Blob, BadCounts);
    while let Some((&field, mut rest)) = data.split_first() {
        let value = leb128::take(&mut rest).ok_or_else(damaged)?;
        let n = leb128::take(&mut rest).ok_or_else(damaged)?;
        let value = (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
        visit(field, value, n.cast_signed());
        data = rest;
    }
    Ok(())
}
