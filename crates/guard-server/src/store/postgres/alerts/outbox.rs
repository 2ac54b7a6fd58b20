//! What becomes of alerts, and the notifications that wait, in PostgreSQL.

use std::collections::{BTreeMap, HashSet};

use tokio_postgres::Row;

use crate::store::postgres::locks::AdvisoryLock;
use crate::store::postgres::rows::{ReadError, column, count, optional_timestamp, timestamp};
use crate::store::postgres::session::{Session, Transaction};
use crate::store::{
    AlertCommit, AlertLimits, AlertUpdate, NewHistory, NewNotification, OutboxEntry, OutboxSize,
    ProjectId, StoreError,
};

/// Stores what became of alerts. Returns how many notifications were left out.
pub(super) async fn commit(
    transaction: &Transaction<'_>,
    commit: &AlertCommit,
    limits: AlertLimits,
) -> Result<usize, StoreError> {
    // The outbox has one order and one limit for all projects.
    let mut updates = commit.updates.iter();
    if updates.any(|update| !update.outbox.is_empty()) {
        transaction.lock(AdvisoryLock::Outbox).await?;
    }
    // Nothing is stored for a project that has been removed.
    if !transaction.lock_project(commit.project).await? {
        return Ok(0);
    }
    let project = commit.project.0;
    if let Some(position) = &commit.position {
        let remember = "INSERT INTO alert_positions (project, position) VALUES ($1, $2)
                        ON CONFLICT (project) DO UPDATE SET position = excluded.position";
        transaction
            .execute(remember, &[&project, &position.bytes()])
            .await?;
    }
    if commit.updates.is_empty() {
        return Ok(0);
    }
    let named: Vec<&str> = commit.updates.iter().map(|it| &*it.alert).collect();
    let existing = "SELECT id FROM alerts WHERE project = $1 AND id = ANY($2)";
    let existing: HashSet<String> = transaction
        .all(existing, &[&project, &named], column)
        .await?
        .into_iter()
        .collect();
    let mut left_out = 0;
    for update in &commit.updates {
        if existing.contains(&update.alert) {
            left_out += apply(transaction, commit.project, update, limits).await?;
        }
    }
    Ok(left_out)
}

async fn apply(
    transaction: &Transaction<'_>,
    project: ProjectId,
    update: &AlertUpdate,
    limits: AlertLimits,
) -> Result<usize, StoreError> {
    set_states(transaction, project, update).await?;
    set_seen(transaction, project, update).await?;
    add_history(transaction, project, &update.alert, &update.history, limits).await?;
    enqueue(transaction, project, update, limits).await
}

async fn set_states(
    transaction: &Transaction<'_>,
    project: ProjectId,
    update: &AlertUpdate,
) -> Result<(), StoreError> {
    if update.states.is_empty() {
        return Ok(());
    }
    let states = update.states.iter();
    let states = states.map(|(group, state)| (group.as_bytes(), state.as_deref()));
    // Of several states of a group, the last one counts.
    let states: BTreeMap<&[u8], Option<&str>> = states.collect();
    let changed: Vec<&[u8]> = states.keys().copied().collect();
    let (groups, contents): (Vec<&[u8]>, Vec<&str>) = states
        .into_iter()
        .filter_map(|(group, state)| Some((group, state?)))
        .unzip();
    let remove = "DELETE FROM alert_states WHERE project = $1 AND alert = $2 AND grp = ANY($3)";
    transaction
        .execute(remove, &[&project.0, &update.alert, &changed])
        .await?;
    let add = "INSERT INTO alert_states (project, alert, grp, content)
               SELECT $1, $2, grp, content FROM unnest($3::bytea[], $4::text[]) AS new (grp, content)";
    transaction
        .execute(add, &[&project.0, &update.alert, &groups, &contents])
        .await
        .map(drop)
}

async fn set_seen<'a>(
    transaction: &Transaction<'_>,
    project: ProjectId,
    update: &'a AlertUpdate,
) -> Result<(), StoreError> {
    let bytes = |values: &'a [String]| values.iter().map(String::as_bytes).collect();
    if !update.forgotten.is_empty() {
        let forget = "DELETE FROM alert_seen WHERE project = $1 AND alert = $2 AND value = ANY($3)";
        let values: Vec<&[u8]> = bytes(&update.forgotten);
        transaction
            .execute(forget, &[&project.0, &update.alert, &values])
            .await?;
    }
    if !update.seen.is_empty() {
        let add = "INSERT INTO alert_seen (project, alert, value)
                   SELECT $1, $2, value
                   FROM unnest($3::bytea[]) WITH ORDINALITY AS seen (value, place) ORDER BY place
                   ON CONFLICT DO NOTHING";
        let values: Vec<&[u8]> = bytes(&update.seen);
        transaction
            .execute(add, &[&project.0, &update.alert, &values])
            .await?;
    }
    Ok(())
}

async fn enqueue(
    transaction: &Transaction<'_>,
    project: ProjectId,
    update: &AlertUpdate,
    limits: AlertLimits,
) -> Result<usize, StoreError> {
    if update.outbox.is_empty() {
        return Ok(0);
    }
    let waiting = "SELECT count(*) FROM alert_outbox";
    let waiting = transaction.one(waiting, &[], count).await?;
    let room = limits
        .outbox
        .saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX));
    for entry in update.outbox.iter().take(room) {
        transaction
            .execute(
                "INSERT INTO alert_outbox
                    (id, project, alert, channel, created_at, due_at, attempts, content)
                 VALUES ($1, $2, $3, $4, $5, $5, 0, $6) ON CONFLICT DO NOTHING",
                &[
                    &entry.id,
                    &project.0,
                    &update.alert,
                    &entry.channel,
                    &entry.created_at.as_microsecond(),
                    &entry.content,
                ],
            )
            .await?;
    }
    Ok(update.outbox.len().saturating_sub(room))
}

/// Adds entries to the history of an alert, whose project is locked, and removes the oldest beyond the
/// limit.
async fn add_history(
    transaction: &Transaction<'_>,
    project: ProjectId,
    alert: &str,
    entries: &[NewHistory],
    limits: AlertLimits,
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let add = "INSERT INTO alert_history (project, alert, at, content) VALUES ($1, $2, $3, $4)";
    for entry in entries {
        let at = entry.at.as_microsecond();
        transaction
            .execute(add, &[&project.0, &alert, &at, &entry.content])
            .await?;
    }
    let kept = i64::try_from(limits.history).unwrap_or(i64::MAX);
    let trim = "DELETE FROM alert_history WHERE project = $1 AND alert = $2 AND id <=
                    (SELECT id FROM alert_history WHERE project = $1 AND alert = $2
                     ORDER BY id DESC LIMIT 1 OFFSET $3)";
    transaction
        .execute(trim, &[&project.0, &alert, &kept])
        .await
        .map(drop)
}

/// Removes a notification, and notes that in the history.
pub(super) async fn settle(
    transaction: &Transaction<'_>,
    entry: &OutboxEntry,
    history: NewHistory,
    limits: AlertLimits,
) -> Result<(), StoreError> {
    let is_there = transaction.lock_project(entry.project).await?;
    let remove = "DELETE FROM alert_outbox WHERE id = $1";
    let removed = transaction
        .execute(remove, &[&entry.notification.id])
        .await?;
    // If the project, the alert or the channel has been removed, the notification is gone too. If
    // another node has settled it, the history has its entry.
    if is_there && removed > 0 {
        add_history(transaction, entry.project, &entry.alert, &[history], limits).await?;
    }
    Ok(())
}

/// The first notification of each channel.
pub(super) async fn firsts(session: &Session<'_>) -> Result<Vec<OutboxEntry>, StoreError> {
    let firsts = "SELECT project, alert, id, channel, created_at, content, attempts, due_at
                  FROM alert_outbox WHERE seq IN
                      (SELECT min(seq) FROM alert_outbox GROUP BY channel)
                  ORDER BY seq";
    session.all(firsts, &[], entry).await
}

pub(super) async fn size(session: &Session<'_>) -> Result<OutboxSize, StoreError> {
    let size = "SELECT count(*), min(created_at) FROM alert_outbox";
    session
        .one(size, &[], |row| {
            Ok(OutboxSize {
                waiting: count(row)?,
                oldest: optional_timestamp(row, 1)?,
            })
        })
        .await
}

fn entry(row: &Row) -> Result<OutboxEntry, ReadError> {
    Ok(OutboxEntry {
        project: ProjectId(row.try_get(0)?),
        alert: row.try_get(1)?,
        notification: NewNotification {
            id: row.try_get(2)?,
            channel: row.try_get(3)?,
            created_at: timestamp(row, 4)?,
            content: row.try_get(5)?,
        },
        attempts: u32::try_from(row.try_get::<_, i64>(6)?)?,
        due_at: timestamp(row, 7)?,
    })
}
