//! Agents in SQLite.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::room::{Room, Table};
use super::{Sqlite, json, unreadable, up_to_room};
use crate::store::{
    AgentId, AgentReport, BoxFuture, CheckIn, Fleet, ProjectId, Room as Limits, RuleSubscriber,
    Since, StatusReport, SubscriberPolicy,
};

const SUBSCRIBERS: Table = Table {
    name: "rule_followers",
    seen: "seen_at",
};
const REPORTS: Table = Table {
    name: "agent_status",
    seen: "received_at",
};

impl Fleet for Sqlite {
    fn save_check_ins(
        &self,
        check_ins: Arc<[CheckIn]>,
        policy: SubscriberPolicy,
    ) -> BoxFuture<'_, u64> {
        let bytes = check_ins.len() * size_of::<CheckIn>();
        Box::pin(self.writer.write(bytes, move |connection| {
            save_check_ins(connection, &check_ins, policy)
        }))
    }

    fn subscribers(&self, project: ProjectId) -> BoxFuture<'_, Vec<RuleSubscriber>> {
        Box::pin(self.read(move |connection| all(connection, project)))
    }

    fn save_report(&self, report: StatusReport, room: Limits) -> BoxFuture<'_, bool> {
        Box::pin(self.writer.write(report.body.len(), move |connection| {
            save_report(connection, &report, room)
        }))
    }

    fn reports(
        &self,
        project: ProjectId,
        limit: u16,
        bytes: usize,
    ) -> BoxFuture<'_, Vec<AgentReport>> {
        Box::pin(self.read(move |connection| reports(connection, project, limit, bytes)))
    }

    fn report<'a>(
        &'a self,
        project: ProjectId,
        install_id: &'a str,
    ) -> BoxFuture<'a, Option<AgentReport>> {
        let install_id = install_id.to_owned();
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT install_id, received_at, body FROM agent_status
                     WHERE project_id = ?1 AND install_id = ?2",
                )?
                .query_row(params![project.0, install_id], report)
                .optional()
        }))
    }

    fn shift_times(&self, by: SignedDuration) -> BoxFuture<'_, ()> {
        Box::pin(
            self.writer
                .write(0, move |connection| shift_times(connection, by)),
        )
    }
}

/// Returns how many agents were left out for lack of room.
fn save_check_ins(
    connection: &Connection,
    check_ins: &[CheckIn],
    policy: SubscriberPolicy,
) -> rusqlite::Result<u64> {
    let mut latest = HashMap::<ProjectId, Timestamp>::new();
    let mut rooms = HashMap::new();
    let mut left_out = 0;
    for check_in in check_ins {
        let latest = latest.entry(check_in.project).or_insert(check_in.at);
        *latest = check_in.at.max(*latest);
        let before = known(connection, check_in)?;
        let is_new = before.is_none();
        let Some(subscriber) = (policy.apply)(before, check_in) else {
            continue;
        };
        if is_new {
            let room = match rooms.entry(check_in.project) {
                Entry::Occupied(room) => room.into_mut(),
                Entry::Vacant(place) => place.insert(Room::of(
                    connection,
                    SUBSCRIBERS,
                    check_in.project,
                    policy.room,
                )?),
            };
            if !room.take(check_in.at)? {
                left_out += 1;
                continue;
            }
        }
        put(connection, check_in.project, &subscriber)?;
    }
    for (project, now) in latest {
        forget(connection, project, now, policy.forget_after)?;
    }
    Ok(left_out)
}

fn forget(
    connection: &Connection,
    project: ProjectId,
    now: Timestamp,
    silent_for: SignedDuration,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM rule_followers WHERE project_id = ?1 AND abs(?2 - seen_at) > ?3",
        )?
        .execute(params![project.0, now.as_microsecond(), micros(silent_for)])
        .map(drop)
}

/// Returns whether there was room for the report.
fn save_report(
    connection: &Connection,
    report: &StatusReport,
    limits: Limits,
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
    let mut room = Room::of(connection, REPORTS, report.project, limits)?;
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

fn reports(
    connection: &Connection,
    project: ProjectId,
    limit: u16,
    bytes: usize,
) -> rusqlite::Result<Vec<AgentReport>> {
    let mut statement = connection.prepare_cached(
        "SELECT install_id, received_at, body FROM agent_status WHERE project_id = ?1
         ORDER BY received_at DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![project.0, limit], report)?;
    up_to_room(rows, bytes, |agent| &agent.status)
}

fn report(row: &Row<'_>) -> rusqlite::Result<AgentReport> {
    Ok(AgentReport {
        install_id: row.get(0)?,
        received_at: Timestamp::from_microsecond(row.get(1)?)
            .map_err(|error| unreadable(1, Type::Integer, error))?,
        status: json(row, 2)?,
    })
}

fn shift_times(connection: &Connection, by: SignedDuration) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE rule_followers SET seen_at = seen_at + ?1, asked_at = asked_at + ?1,
            fetched_at = fetched_at + ?1, applied_at = applied_at + ?1,
            reported_at = reported_at + ?1",
        [micros(by)],
    )?;
    connection
        .execute(
            "UPDATE agent_status SET received_at = received_at + ?1",
            [micros(by)],
        )
        .map(drop)
}

fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn all(connection: &Connection, project: ProjectId) -> rusqlite::Result<Vec<RuleSubscriber>> {
    connection
        .prepare_cached(
            "SELECT install_id, process, agent, seen_at, asked_at, holds, interval, fetched,
                fetched_at, applied, applied_at, in_force, refused, reported_at
             FROM rule_followers WHERE project_id = ?1 ORDER BY install_id, process",
        )?
        .query_map([project.0], subscriber)?
        .collect()
}

fn known(connection: &Connection, check_in: &CheckIn) -> rusqlite::Result<Option<RuleSubscriber>> {
    connection
        .prepare_cached(
            "SELECT install_id, process, agent, seen_at, asked_at, holds, interval, fetched,
                fetched_at, applied, applied_at, in_force, refused, reported_at
             FROM rule_followers WHERE project_id = ?1 AND install_id = ?2 AND process = ?3",
        )?
        .query_row(
            params![
                check_in.project.0,
                check_in.agent.install_id,
                check_in.agent.process
            ],
            subscriber,
        )
        .optional()
}

fn put(
    connection: &Connection,
    project: ProjectId,
    subscriber: &RuleSubscriber,
) -> rusqlite::Result<()> {
    let version = |since: Option<Since>| since.map(|since| since.version);
    let at = |since: Option<Since>| since.map(|since| since.at.as_microsecond());
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO rule_followers (project_id, install_id, process, agent,
                seen_at, asked_at, holds, interval, fetched, fetched_at, applied, applied_at,
                in_force, refused, reported_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            project.0,
            subscriber.id.install_id,
            subscriber.id.process,
            subscriber.id.agent,
            subscriber.seen_at.as_microsecond(),
            subscriber.asked_at.as_microsecond(),
            subscriber.holds,
            subscriber.interval.map(micros),
            version(subscriber.fetched),
            at(subscriber.fetched),
            version(subscriber.applied),
            at(subscriber.applied),
            subscriber.in_force,
            subscriber.refused,
            subscriber.reported_at.map(Timestamp::as_microsecond)
        ])
        .map(drop)
}

fn subscriber(row: &Row<'_>) -> rusqlite::Result<RuleSubscriber> {
    let since = |version: usize| -> rusqlite::Result<Option<Since>> {
        let version_at = (row.get::<_, Option<i64>>(version)?, time(row, version + 1)?);
        Ok(match version_at {
            (Some(version), Some(at)) => Some(Since { version, at }),
            _ => None,
        })
    };
    Ok(RuleSubscriber {
        id: AgentId {
            install_id: row.get(0)?,
            process: row.get(1)?,
            agent: row.get(2)?,
        },
        seen_at: time(row, 3)?.unwrap_or_default(),
        asked_at: time(row, 4)?.unwrap_or_default(),
        holds: row.get(5)?,
        interval: row
            .get::<_, Option<i64>>(6)?
            .map(SignedDuration::from_micros),
        fetched: since(7)?,
        applied: since(9)?,
        in_force: row.get(11)?,
        refused: row.get(12)?,
        reported_at: time(row, 13)?,
    })
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?
        .map(|microseconds| {
            Timestamp::from_microsecond(microseconds)
                .map_err(|error| unreadable(column, Type::Integer, error))
        })
        .transpose()
}
