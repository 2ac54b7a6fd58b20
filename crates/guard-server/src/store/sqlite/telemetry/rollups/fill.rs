//! Sums up the rollups of an older file in those that it does not have.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::events::FIELDS;
use super::metrics::{MetricGroup, Rollup};
use super::minutes::{self, Counts};
use super::{ABSENT, DAY, HOUR, MICROS, MINUTE, QUARTER, WIDE};
use crate::store::{Progress, ProjectId, TextField};

/// Completes the rollups of all hours that are not, one in each transaction. A server that is
/// stopped meanwhile goes on with the next start. Does nothing if that is done.
pub(in super::super::super) fn fill(
    connection: &mut Connection,
    progress: &Progress,
) -> rusqlite::Result<()> {
    each_hour(
        connection,
        progress,
        "unfilled_hours",
        |step, project, hour| {
            events(step, project, hour)?;
            metrics(step, project, hour)
        },
    )?;
    each_hour(connection, progress, "unmoved_hours", move_minutes)
}

/// Completes the hours that a table lists, and removes the table.
fn each_hour(
    connection: &mut Connection,
    progress: &Progress,
    list: &str,
    complete: fn(&Transaction<'_>, ProjectId, i64) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    if !connection.table_exists(None, list)? {
        return Ok(());
    }
    let all = format!("SELECT count(*) FROM {list}");
    let all: i64 = connection.query_row(&all, [], |row| row.get(0))?;
    if all > 0 {
        progress.begin(format!("summing up its {all} hours"));
    }
    for done in 1.. {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let next = format!("SELECT project, start FROM {list} LIMIT 1");
        let next = step.query_row(&next, [], |row| Ok((ProjectId(row.get(0)?), row.get(1)?)));
        let Some((project, hour)) = next.optional()? else {
            step.execute_batch(&format!("DROP TABLE {list}"))?;
            return step.commit();
        };
        complete(&step, project, hour)?;
        step.execute(
            &format!("DELETE FROM {list} WHERE project = ?1 AND start = ?2"),
            params![project.0, hour],
        )?;
        step.commit()?;
        progress.reach(done, all);
    }
    Ok(())
}

/// Moves the counts of each minute into one row.
fn move_minutes(step: &Transaction<'_>, project: ProjectId, hour: i64) -> rusqlite::Result<()> {
    let of_field = "project = ?1 AND span = 60 AND field = ?2 AND start >= ?3 AND start < ?4";
    let mut counts = BTreeMap::<i64, Counts>::new();
    for field in FIELDS {
        let of_field_and_hour = params![project.0, field, hour, hour + HOUR];
        let mut statement = step.prepare_cached(&format!(
            "SELECT start, value, n FROM event_counts WHERE {of_field}"
        ))?;
        let mut rows = statement.query(of_field_and_hour)?;
        while let Some(row) = rows.next()? {
            let minute = counts.entry(row.get(0)?).or_default();
            minute.insert((field, row.get(1)?), row.get(2)?);
        }
        step.prepare_cached(&format!("DELETE FROM event_counts WHERE {of_field}"))?
            .execute(of_field_and_hour)?;
    }
    minutes::add(step, project, &counts)
}

fn events(step: &Transaction<'_>, project: ProjectId, hour: i64) -> rusqlite::Result<()> {
    for (field, column) in [
        (TextField::Reason, "reason"),
        (TextField::UserAgent, "user_agent"),
    ] {
        step.prepare_cached(&format!(
            "INSERT INTO event_counts
                SELECT project, {HOUR}, ?2, ?3, ifnull({column}, {ABSENT}), count(*) FROM events
                WHERE project = ?1 AND timestamp >= ?3 * {MICROS}
                    AND timestamp < (?3 + {HOUR}) * {MICROS}
                GROUP BY {column}"
        ))?
        .execute(params![project.0, field as u8, hour])?;
    }
    let day = hour.div_euclid(DAY) * DAY;
    for field in WIDE {
        step.prepare_cached(&format!(
            "INSERT INTO event_counts
                SELECT project, {DAY}, field, ?4, value, n FROM event_counts
                WHERE project = ?1 AND span = {HOUR} AND field = ?2 AND start = ?3
             ON CONFLICT DO UPDATE SET n = n + excluded.n"
        ))?
        .execute(params![project.0, field, hour, day])?;
    }
    step.prepare_cached(
        "INSERT INTO event_quarters
            SELECT project, ?3, type, action, method, status, country, endpoint, n
            FROM event_hours WHERE project = ?1 AND start = ?2
         ON CONFLICT DO UPDATE SET n = n + excluded.n",
    )?
    .execute(params![project.0, hour, hour.div_euclid(QUARTER) * QUARTER])?;
    Ok(())
}

/// The sums of all metrics of a type.
fn metrics(step: &Transaction<'_>, project: ProjectId, hour: i64) -> rusqlite::Result<()> {
    let mut sums = BTreeMap::<_, Rollup>::new();
    for span in [MINUTE, HOUR] {
        let mut statement = step.prepare_cached(
            "SELECT n, valued, total, least, greatest, sketch, type, start FROM metric_rollups
             WHERE project = ?1 AND span = ?2 AND type = ?3 AND start >= ?4 AND start < ?5",
        )?;
        for metric_type in types(step, project)? {
            let of_type = params![project.0, span, metric_type, hour, hour + HOUR];
            let mut rows = statement.query(of_type)?;
            while let Some(row) = rows.next()? {
                let group = group(row)?;
                let sum = sums.entry((-span, group)).or_insert_with(Rollup::empty);
                sum.merge(&Rollup::of(row)?)?;
            }
        }
    }
    for ((span, group), sum) in sums {
        sum.save(step, project, span, group)?;
    }
    Ok(())
}

/// The types of metrics. 0 stands for those that have no name.
fn types(step: &Transaction<'_>, project: ProjectId) -> rusqlite::Result<Vec<i64>> {
    step.prepare_cached("SELECT 0 UNION SELECT id FROM names WHERE project = ?1 AND field = ?2")?
        .query_map(params![project.0, TextField::MetricType as u8], |row| {
            row.get(0)
        })?
        .collect()
}

fn group(row: &Row<'_>) -> rusqlite::Result<MetricGroup> {
    let start: i64 = row.get(7)?;
    Ok(MetricGroup::new(start * MICROS, row.get(6)?, [None; 3]))
}
