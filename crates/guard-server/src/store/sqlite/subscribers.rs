//! Agents that ask for rules, in SQLite.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::room::{Room, Table};
use super::unreadable;
use crate::clock::AHEAD;
use crate::store::{AgentId, FORGET_AFTER, Follower, Heard, ProjectId, Sighting, Since};

const FOLLOWERS: Table = Table {
    name: "rule_followers",
    seen: "seen_at",
};

/// Returns how many agents there was no room for.
pub(super) fn save(
    connection: &Connection,
    sightings: &[Sighting],
    limit: u32,
) -> rusqlite::Result<u64> {
    let mut latest = HashMap::<ProjectId, Timestamp>::new();
    let mut rooms = HashMap::new();
    let mut passed_over = 0;
    for sighting in sightings {
        let latest = latest.entry(sighting.project).or_insert(sighting.at);
        *latest = sighting.at.max(*latest);
        if let Heard::Asked { .. } = sighting.what
            && !is_known(connection, sighting)?
        {
            let room = match rooms.entry(sighting.project) {
                Entry::Occupied(room) => room.into_mut(),
                Entry::Vacant(place) => {
                    place.insert(Room::of(connection, FOLLOWERS, sighting.project, limit)?)
                }
            };
            if !room.take(sighting.at)? {
                passed_over += 1;
                continue;
            }
        }
        note(connection, sighting)?;
    }
    for (project, now) in latest {
        forget(connection, project, now)?;
    }
    Ok(passed_over)
}

fn is_known(connection: &Connection, sighting: &Sighting) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM rule_followers
             WHERE project_id = ?1 AND install_id = ?2 AND process = ?3",
        )?
        .exists(params![
            sighting.project.0,
            sighting.agent.install_id,
            sighting.agent.process
        ])
}

fn note(connection: &Connection, sighting: &Sighting) -> rusqlite::Result<()> {
    let key = (
        sighting.project.0,
        &sighting.agent.install_id,
        &sighting.agent.process,
    );
    let at = sighting.at.as_microsecond();
    match &sighting.what {
        Heard::Asked { holds } => connection
            .prepare_cached(
                "INSERT INTO rule_followers
                    (project_id, install_id, process, agent, seen_at, asked_at, holds)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) ON CONFLICT DO UPDATE SET
                    agent = excluded.agent, holds = excluded.holds,
                    interval = nullif(max(excluded.asked_at - asked_at, 0), 0),
                    asked_at = excluded.asked_at",
            )?
            .execute(params![
                key.0,
                key.1,
                key.2,
                sighting.agent.agent,
                at,
                holds
            ])?,
        Heard::Fetched(version) => connection
            .prepare_cached(
                "UPDATE rule_followers SET fetched = ?4, fetched_at = ?5
                 WHERE project_id = ?1 AND install_id = ?2 AND process = ?3
                    AND fetched IS NOT ?4",
            )?
            .execute(params![key.0, key.1, key.2, version, at])?,
        Heard::Applied(version) => connection
            .prepare_cached(
                "UPDATE rule_followers SET applied = ?4, applied_at = ?5
                 WHERE project_id = ?1 AND install_id = ?2 AND process = ?3
                    AND fetched >= ?4 AND coalesce(applied, 0) < ?4",
            )?
            .execute(params![key.0, key.1, key.2, version, at])?,
        Heard::Reported { in_force, refused } => connection
            .prepare_cached(
                "UPDATE rule_followers SET in_force = ?4, refused = ?5, reported_at = ?6
                 WHERE project_id = ?1 AND install_id = ?2 AND process = ?3",
            )?
            .execute(params![key.0, key.1, key.2, in_force, refused, at])?,
    };
    connection
        .prepare_cached(
            // A time that is far ahead was noted before the clock was set back.
            "UPDATE rule_followers SET seen_at = ?4
             WHERE project_id = ?1 AND install_id = ?2 AND process = ?3
                AND (seen_at < ?4 OR seen_at > ?4 + ?5)",
        )?
        .execute(params![key.0, key.1, key.2, at, micros(AHEAD)])?;
    Ok(())
}

fn forget(connection: &Connection, project: ProjectId, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM rule_followers WHERE project_id = ?1 AND abs(?2 - seen_at) > ?3",
        )?
        .execute(params![
            project.0,
            now.as_microsecond(),
            micros(FORGET_AFTER)
        ])
        .map(drop)
}

/// The clock was set by so much.
pub(super) fn move_times(connection: &Connection, by: SignedDuration) -> rusqlite::Result<()> {
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

pub(super) fn all(connection: &Connection, project: ProjectId) -> rusqlite::Result<Vec<Follower>> {
    connection
        .prepare_cached(
            "SELECT install_id, process, agent, seen_at, asked_at, holds, interval, fetched,
                fetched_at, applied, applied_at, in_force, refused, reported_at
             FROM rule_followers WHERE project_id = ?1 ORDER BY install_id, process",
        )?
        .query_map([project.0], follower)?
        .collect()
}

fn follower(row: &Row<'_>) -> rusqlite::Result<Follower> {
    let since = |version: usize| -> rusqlite::Result<Option<Since>> {
        let version_at = (row.get::<_, Option<i64>>(version)?, time(row, version + 1)?);
        Ok(match version_at {
            (Some(version), Some(at)) => Some(Since { version, at }),
            _ => None,
        })
    };
    Ok(Follower {
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

#[cfg(test)]
mod tests;
