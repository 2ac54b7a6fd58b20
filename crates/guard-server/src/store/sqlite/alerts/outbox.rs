//! What becomes of alerts, and the notifications that wait, in SQLite.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::store::sqlite::timestamp;
use crate::store::{
    AlertCommit, AlertLimits, AlertUpdate, NewHistory, NewNotification, OutboxEntry, OutboxSize,
    ProjectId,
};

/// Stores what became of alerts. Returns how many notifications were left out.
pub(super) fn commit(
    connection: &Connection,
    commit: &AlertCommit,
    limits: AlertLimits,
) -> rusqlite::Result<usize> {
    if let Some(position) = &commit.position {
        connection
            .prepare_cached("INSERT OR REPLACE INTO alert_positions VALUES (?1, ?2)")?
            .execute(params![commit.project.0, position.bytes()])?;
    }
    let updates = commit.updates.iter();
    updates
        .map(|update| apply(connection, commit.project, update, limits))
        .sum()
}

fn apply(
    connection: &Connection,
    id: ProjectId,
    update: &AlertUpdate,
    limits: AlertLimits,
) -> rusqlite::Result<usize> {
    let (project, alert) = (id.0, &update.alert);
    let exists = connection
        .prepare_cached("SELECT 1 FROM alerts WHERE project = ?1 AND id = ?2")?
        .exists(params![project, alert])?;
    if !exists {
        return Ok(0);
    }
    for (group, state) in &update.states {
        match state {
            Some(content) => connection
                .prepare_cached("INSERT OR REPLACE INTO alert_states VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![project, alert, group, content])?,
            None => connection
                .prepare_cached(
                    "DELETE FROM alert_states WHERE project = ?1 AND alert = ?2 AND grp = ?3",
                )?
                .execute(params![project, alert, group])?,
        };
    }
    for value in &update.forgotten {
        connection
            .prepare_cached(
                "DELETE FROM alert_seen WHERE project = ?1 AND alert = ?2 AND value = ?3",
            )?
            .execute(params![project, alert, value])?;
    }
    for value in &update.seen {
        connection
            .prepare_cached(
                "INSERT INTO alert_seen (project, alert, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![project, alert, value])?;
    }
    for entry in &update.history {
        add_history(connection, id, alert, entry, limits)?;
    }
    enqueue(connection, id, update, limits)
}

fn enqueue(
    connection: &Connection,
    project: ProjectId,
    update: &AlertUpdate,
    limits: AlertLimits,
) -> rusqlite::Result<usize> {
    if update.outbox.is_empty() {
        return Ok(0);
    }
    let waiting = connection
        .prepare_cached("SELECT count(*) FROM alert_outbox")?
        .query_row([], |row| row.get::<_, i64>(0))?;
    let room = limits
        .outbox
        .saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX));
    for entry in update.outbox.iter().take(room) {
        connection
            .prepare_cached(
                "INSERT INTO alert_outbox
                    (id, project, alert, channel, created_at, due_at, attempts, content)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, ?6) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                entry.id,
                project.0,
                update.alert,
                entry.channel,
                entry.created_at.as_microsecond(),
                entry.content,
            ])?;
    }
    Ok(update.outbox.len().saturating_sub(room))
}

fn add_history(
    connection: &Connection,
    project: ProjectId,
    alert: &str,
    entry: &NewHistory,
    limits: AlertLimits,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO alert_history (project, alert, at, content) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            project.0,
            alert,
            entry.at.as_microsecond(),
            entry.content
        ])?;
    let kept = i64::try_from(limits.history).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "DELETE FROM alert_history WHERE project = ?1 AND alert = ?2 AND id <=
                (SELECT id FROM alert_history WHERE project = ?1 AND alert = ?2
                 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
        )?
        .execute(params![project.0, alert, kept])
        .map(drop)
}

/// Removes a notification, and notes that in the history.
pub(super) fn settle(
    connection: &Connection,
    entry: &OutboxEntry,
    history: NewHistory,
    limits: AlertLimits,
) -> rusqlite::Result<()> {
    let removed = connection
        .prepare_cached("DELETE FROM alert_outbox WHERE id = ?1")?
        .execute([&entry.notification.id])?;
    // Nothing is left of an alert or a channel that was removed meanwhile.
    if removed > 0 {
        add_history(connection, entry.project, &entry.alert, &history, limits)?;
    }
    Ok(())
}

/// The first notification of each channel.
pub(super) fn firsts(connection: &Connection) -> rusqlite::Result<Vec<OutboxEntry>> {
    connection
        .prepare_cached(
            "SELECT project, alert, id, channel, created_at, content, attempts, due_at
             FROM alert_outbox WHERE seq IN
                (SELECT min(seq) FROM alert_outbox GROUP BY channel)
             ORDER BY seq",
        )?
        .query_map([], entry)?
        .collect()
}

pub(super) fn size(connection: &Connection) -> rusqlite::Result<OutboxSize> {
    connection
        .prepare_cached("SELECT count(*), min(created_at) FROM alert_outbox")?
        .query_row([], |row| {
            let oldest: Option<i64> = row.get(1)?;
            Ok(OutboxSize {
                waiting: u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default(),
                oldest: oldest.and_then(|at| Timestamp::from_microsecond(at).ok()),
            })
        })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<OutboxEntry> {
    Ok(OutboxEntry {
        project: ProjectId(row.get(0)?),
        alert: row.get(1)?,
        notification: NewNotification {
            id: row.get(2)?,
            channel: row.get(3)?,
            created_at: timestamp(row, 4)?,
            content: row.get(5)?,
        },
        attempts: row.get(6)?,
        due_at: timestamp(row, 7)?,
    })
}
