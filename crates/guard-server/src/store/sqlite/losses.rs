//! Lost records in SQLite.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Sqlite, unreadable};
use crate::query::TimeRange;
use crate::store::losses::{LOSSES_KEPT, TOTALS_KEPT, minutes};
use crate::store::{BoxFuture, LossCount, LossReport, Losses, ProjectId};

impl Losses for Sqlite {
    fn report_losses(&self, report: LossReport) -> BoxFuture<'_, BTreeMap<String, u64>> {
        let bytes = report.totals.keys().map(String::len).sum();
        Box::pin(
            self.writer
                .write(bytes, move |connection| save(connection, &report)),
        )
    }

    fn count_losses(
        &self,
        project: ProjectId,
        at: Timestamp,
        lost: BTreeMap<&'static str, u64>,
    ) -> BoxFuture<'_, ()> {
        Box::pin(self.writer.write(0, move |connection| {
            for (reason, n) in &lost {
                let n = i64::try_from(*n).unwrap_or(i64::MAX);
                add(connection, (project, ""), at.as_second(), reason, n)?;
            }
            Ok(())
        }))
    }

    fn losses(&self, project: ProjectId, range: TimeRange) -> BoxFuture<'_, Vec<LossCount>> {
        Box::pin(self.search(move |connection| losses(connection, project, range)))
    }
}

/// Returns what is new.
fn save(connection: &Connection, report: &LossReport) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut new = BTreeMap::new();
    let (project, now) = (report.project.0, report.at.as_second());
    let mut remember = connection
        .prepare_cached("INSERT OR REPLACE INTO loss_totals VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut known = connection.prepare_cached(
        "SELECT total FROM loss_totals
         WHERE project = ?1 AND install_id = ?2 AND process = ?3 AND reason = ?4",
    )?;
    for (reason, total) in &report.totals {
        let total = i64::try_from(*total).unwrap_or(i64::MAX);
        let key = params![project, report.install_id, report.process, reason];
        let before = known
            .query_row(key, |row| row.get::<_, i64>(0))
            .optional()?;
        let before = before.filter(|before| *before <= total).unwrap_or(0);
        if total > before {
            let by = (report.project, report.install_id.as_str());
            add(connection, by, now, reason, total - before)?;
            new.insert(reason.clone(), (total - before).unsigned_abs());
        }
        remember.execute(params![
            project,
            report.install_id,
            report.process,
            reason,
            total,
            now
        ])?;
    }
    connection
        .prepare_cached("DELETE FROM losses WHERE project = ?1 AND minute < ?2")?
        .execute([project, now - LOSSES_KEPT])?;
    connection
        .prepare_cached("DELETE FROM loss_totals WHERE project = ?1 AND seen < ?2")?
        .execute([project, now - TOTALS_KEPT])?;
    Ok(new)
}

/// Adds losses to the minute of a time in seconds.
fn add(
    connection: &Connection,
    (project, install_id): (ProjectId, &str),
    at: i64,
    reason: &str,
    n: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO losses (project, minute, install_id, reason, n)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET n = n + excluded.n",
        )?
        .execute(params![
            project.0,
            at.div_euclid(60) * 60,
            install_id,
            reason,
            n
        ])
        .map(drop)
}

fn losses(
    connection: &Connection,
    project: ProjectId,
    range: TimeRange,
) -> rusqlite::Result<Vec<LossCount>> {
    let mut statement = connection.prepare_cached(
        "SELECT minute, install_id, reason, n FROM losses
         WHERE project = ?1 AND minute >= ?2 AND minute < ?3",
    )?;
    let Range { start, end } = minutes(range);
    let rows = statement.query_map(params![project.0, start, end], |row| {
        Ok(LossCount {
            minute: Timestamp::from_second(row.get(0)?)
                .map_err(|error| unreadable(0, Type::Integer, error))?,
            install_id: row.get(1)?,
            reason: row.get(2)?,
            n: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        })
    })?;
    rows.collect()
}
