//! Alerts in SQLite.

mod channels;
mod outbox;
mod rows;

use rusqlite::{Connection, OptionalExtension as _, params};

use self::rows::{ALERT, alert};
use super::Sqlite;
use crate::people::AuditEntry;
use crate::store::{
    AlertCommit, AlertLimits, Alerts, BoxFuture, Cursor, HistoryPage, NewHistory, OutboxEntry,
    OutboxSize, ProjectId, StoreError, StoredAlert, StoredChannel, StoredState,
};

impl Alerts for Sqlite {
    fn all_alerts(&self) -> BoxFuture<'_, Vec<StoredAlert>> {
        Box::pin(self.read(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {ALERT} FROM alerts JOIN projects ON projects.id = alerts.project
                     WHERE projects.removed_at IS NULL
                     ORDER BY alerts.project, alerts.created_at, alerts.id"
                ))?
                .query_map([], alert)?
                .collect()
        }))
    }

    fn alerts(&self, project: ProjectId) -> BoxFuture<'_, Vec<StoredAlert>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {ALERT} FROM alerts WHERE alerts.project = ?1
                     ORDER BY alerts.created_at, alerts.id"
                ))?
                .query_map([project.0], alert)?
                .collect()
        }))
    }

    fn add_alert(
        &self,
        alert: StoredAlert,
        limit: usize,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(alert.content.len(), entry, move |connection| {
            let count = "SELECT count(*) FROM alerts WHERE project = ?1";
            let there = connection
                .prepare_cached(count)?
                .query_row([alert.project.0], |row| row.get::<_, i64>(0))?;
            let has_room = usize::try_from(there).is_ok_and(|there| there < limit);
            if has_room {
                add(connection, &alert)?;
            }
            Ok(has_room)
        })
    }

    fn add_default_alerts(
        &self,
        project: ProjectId,
        alerts: Vec<StoredAlert>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(self.writer.write(0, move |connection| {
            let is_first = connection
                .prepare_cached("INSERT INTO alert_defaults VALUES (?1) ON CONFLICT DO NOTHING")?
                .execute([project.0])?
                > 0;
            if is_first {
                for alert in &alerts {
                    add(connection, alert)?;
                }
            }
            Ok(is_first)
        }))
    }

    fn change_alert(
        &self,
        from: StoredAlert,
        to: StoredAlert,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(to.content.len(), entry, move |connection| {
            let micros = |at: Option<jiff::Timestamp>| at.map(jiff::Timestamp::as_microsecond);
            let changed = connection
                .prepare_cached(
                    "UPDATE alerts SET content = ?3, muted_until = ?4
                     WHERE project = ?1 AND id = ?2 AND content = ?5 AND muted_until IS ?6",
                )?
                .execute(params![
                    from.project.0,
                    from.id,
                    to.content,
                    micros(to.muted_until),
                    from.content,
                    micros(from.muted_until),
                ])?;
            Ok(changed > 0)
        })
    }

    fn remove_alert<'a>(
        &'a self,
        project: ProjectId,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<StoredAlert>> {
        let id = id.to_owned();
        self.audited(0, entry, move |connection| {
            for table in [
                "alert_states",
                "alert_seen",
                "alert_history",
                "alert_outbox",
            ] {
                let delete = format!("DELETE FROM {table} WHERE project = ?1 AND alert = ?2");
                connection
                    .prepare_cached(&delete)?
                    .execute(params![project.0, id])?;
            }
            connection
                .prepare_cached(&format!(
                    "DELETE FROM alerts WHERE project = ?1 AND id = ?2 RETURNING {ALERT}"
                ))?
                .query_row(params![project.0, id], alert)
                .optional()
        })
    }

    fn channels(&self) -> BoxFuture<'_, Vec<StoredChannel>> {
        Box::pin(self.read(channels::channels))
    }

    fn add_channel(
        &self,
        channel: StoredChannel,
        limit: usize,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(0, entry, move |connection| {
            channels::add(connection, &channel, limit)
        })
    }

    fn change_channel(
        &self,
        from: StoredChannel,
        to: StoredChannel,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(0, entry, move |connection| {
            channels::change(connection, &from, &to)
        })
    }

    fn remove_channel<'a>(
        &'a self,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<StoredChannel>> {
        let id = id.to_owned();
        self.audited(0, entry, move |connection| {
            channels::remove(connection, &id)
        })
    }

    fn alert_states(&self) -> BoxFuture<'_, Vec<StoredState>> {
        Box::pin(self.read(|connection| {
            connection
                .prepare_cached("SELECT project, alert, grp, content FROM alert_states")?
                .query_map([], rows::state)?
                .collect()
        }))
    }

    fn seen<'a>(&'a self, project: ProjectId, alert: &'a str) -> BoxFuture<'a, Vec<String>> {
        let alert = alert.to_owned();
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT value FROM alert_seen WHERE project = ?1 AND alert = ?2 ORDER BY id",
                )?
                .query_map(params![project.0, alert], |row| row.get(0))?
                .collect()
        }))
    }

    fn evaluated(&self, project: ProjectId) -> BoxFuture<'_, Option<Cursor>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached("SELECT position FROM alert_positions WHERE project = ?1")?
                .query_row([project.0], |row| {
                    Ok(Cursor::new(row.get_ref(0)?.as_blob()?))
                })
                .optional()
        }))
    }

    fn commit_alerts(&self, commit: AlertCommit, limits: AlertLimits) -> BoxFuture<'_, usize> {
        let outbox = commit.updates.iter().flat_map(|update| &update.outbox);
        let bytes = outbox.map(|entry| entry.content.len()).sum();
        Box::pin(self.writer.write(bytes, move |connection| {
            outbox::commit(connection, &commit, limits)
        }))
    }

    fn alert_history<'a>(
        &'a self,
        project: ProjectId,
        alert: &'a str,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> BoxFuture<'a, HistoryPage> {
        let before = cursor.map(|cursor| <[u8; 8]>::try_from(cursor.bytes()));
        let Ok(before) = before.transpose() else {
            return Box::pin(async { Err(StoreError::InvalidCursor) });
        };
        let before = before.map_or(i64::MAX, i64::from_be_bytes);
        let alert = alert.to_owned();
        Box::pin(
            self.read(move |connection| rows::history(connection, project, &alert, before, limit)),
        )
    }

    fn outbox(&self) -> BoxFuture<'_, Vec<OutboxEntry>> {
        Box::pin(self.read(outbox::firsts))
    }

    fn postpone<'a>(&'a self, id: &'a str, due_at: jiff::Timestamp) -> BoxFuture<'a, ()> {
        let id = id.to_owned();
        Box::pin(self.writer.write(0, move |connection| {
            connection
                .prepare_cached(
                    "UPDATE alert_outbox SET attempts = attempts + 1, due_at = ?2 WHERE id = ?1",
                )?
                .execute(params![id, due_at.as_microsecond()])
                .map(drop)
        }))
    }

    fn settle(
        &self,
        entry: OutboxEntry,
        history: NewHistory,
        limits: AlertLimits,
    ) -> BoxFuture<'_, ()> {
        Box::pin(self.writer.write(history.content.len(), move |connection| {
            outbox::settle(connection, &entry, history, limits)
        }))
    }

    fn outbox_size(&self) -> BoxFuture<'_, OutboxSize> {
        Box::pin(self.read(outbox::size))
    }
}

fn add(connection: &Connection, alert: &StoredAlert) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO alerts VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            alert.project.0,
            alert.id,
            alert.created_at.as_microsecond(),
            alert.created_by,
            alert.content,
            alert.muted_until.map(jiff::Timestamp::as_microsecond),
        ])
        .map(drop)
}
