//! The counts of stored, repeated and left-out records, and of the bytes that a project takes.
//! They are written in the transaction that stores or removes, so that a summary reads a few rows
//! however many records there are.

use guard_wire::Kind;
use rusqlite::{Connection, params};

use crate::store::{ProjectId, RecordCounts};

/// The name under which the records of types beyond the limit are counted. No type has it.
pub(super) const OTHER: &str = "";
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// What became of a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome<'a> {
    /// It is stored; by its type.
    Stored(&'a str),
    /// It was stored before.
    Duplicate,
    /// It was left out of its batch.
    Invalid,
}

impl<'a> Outcome<'a> {
    const fn columns(self) -> (&'static str, &'a str) {
        match self {
            Self::Stored(type_name) => ("stored", type_name),
            Self::Duplicate => ("duplicate", ""),
            Self::Invalid => ("invalid", ""),
        }
    }
}

pub(super) fn add(
    connection: &Connection,
    project: ProjectId,
    kind: Kind,
    outcome: Outcome<'_>,
    n: u64,
) -> rusqlite::Result<()> {
    let (outcome, type_name) = outcome.columns();
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    if n > 0 {
        connection
            .prepare_cached(
                "INSERT INTO tallies (project_id, kind, outcome, type, n) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET n = n + excluded.n",
            )?
            .execute(params![project.0, kind.as_str(), outcome, type_name, n])?;
    }
    Ok(())
}

/// Counts `n` stored records of a type less.
pub(super) fn remove(
    connection: &Connection,
    project: ProjectId,
    kind: Kind,
    type_name: &str,
    n: i64,
) -> rusqlite::Result<()> {
    let of_type = params![project.0, kind.as_str(), type_name, n];
    connection
        .prepare_cached(
            "UPDATE tallies SET n = n - ?4
             WHERE project_id = ?1 AND kind = ?2 AND outcome = 'stored' AND type = ?3",
        )?
        .execute(of_type)?;
    connection
        .prepare_cached(
            "DELETE FROM tallies WHERE project_id = ?1 AND kind = ?2 AND outcome = 'stored'
             AND type = ?3 AND n <= 0",
        )?
        .execute(params![project.0, kind.as_str(), type_name])
        .map(drop)
}

/// Adds `bytes` to what the project took on the day of `at`. Negative for what was removed.
pub(super) fn add_bytes(
    connection: &Connection,
    project: ProjectId,
    at: i64,
    bytes: i64,
) -> rusqlite::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO usage (project, day, added, removed)
             VALUES (?1, ?2, max(?3, 0), max(-?3, 0))
             ON CONFLICT DO UPDATE SET added = added + excluded.added,
                removed = removed + excluded.removed",
        )?
        .execute(params![project.0, at.div_euclid(MICROS_PER_DAY), bytes])
        .map(drop)
}

pub(super) fn counts(
    connection: &Connection,
    project: ProjectId,
) -> rusqlite::Result<RecordCounts> {
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
