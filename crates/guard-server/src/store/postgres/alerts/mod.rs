//! Alerts in PostgreSQL.
//!
//! What changes the states, the history or the notifications of an alert locks its project first. So an
//! entry of a history becomes visible before the next one gets its number, and a reader by page skips
//! none, whichever nodes write.

mod channels;
mod outbox;
mod rows;

use jiff::Timestamp;

use self::rows::{ALERT, alert};
use super::Postgres;
use super::locks::AdvisoryLock;
use super::rows::{count, text};
use super::session::Transaction;
use crate::people::AuditEntry;
use crate::store::{
    AlertCommit, AlertLimits, Alerts, BoxFuture, Cursor, HistoryPage, NewHistory, OutboxEntry,
    OutboxSize, ProjectId, StoreError, StoredAlert, StoredChannel, StoredState,
};

impl Alerts for Postgres {
    fn all_alerts(&self) -> BoxFuture<'_, Vec<StoredAlert>> {
        Box::pin(async move {
            let all = format!(
                "SELECT {ALERT} FROM alerts JOIN projects ON projects.id = alerts.project
                 WHERE projects.removed_at IS NULL
                 ORDER BY alerts.project, alerts.created_at, alerts.id"
            );
            self.session().await?.all(&all, &[], alert).await
        })
    }

    fn alerts(&self, project: ProjectId) -> BoxFuture<'_, Vec<StoredAlert>> {
        Box::pin(async move {
            let alerts = format!(
                "SELECT {ALERT} FROM alerts WHERE project = $1 ORDER BY created_at, alerts.id"
            );
            let session = self.session().await?;
            session.all(&alerts, &[&project.0], alert).await
        })
    }

    fn add_alert(
        &self,
        alert: StoredAlert,
        limit: usize,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let is_there = transaction.lock_project(alert.project).await?;
            let there = "SELECT count(*) FROM alerts WHERE project = $1";
            let there = transaction.one(there, &[&alert.project.0], count).await?;
            let is_added = is_there && there < limit as u64;
            if is_added {
                add(&transaction, &alert).await?;
            }
            transaction.commit_audited(is_added, entry).await
        })
    }

    fn add_default_alerts(
        &self,
        project: ProjectId,
        alerts: Vec<StoredAlert>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let first = "INSERT INTO alert_defaults (project) VALUES ($1) ON CONFLICT DO NOTHING";
            let is_first = transaction.lock_project(project).await?
                && transaction.execute(first, &[&project.0]).await? > 0;
            if is_first {
                for alert in &alerts {
                    add(&transaction, alert).await?;
                }
            }
            transaction.commit().await?;
            Ok(is_first)
        })
    }

    fn change_alert(
        &self,
        from: StoredAlert,
        to: StoredAlert,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let micros = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
            let transaction = self.begin().await?;
            let changed = transaction
                .execute(
                    "UPDATE alerts SET content = $3, muted_until = $4
                     WHERE project = $1 AND id = $2 AND content = $5
                        AND muted_until IS NOT DISTINCT FROM $6",
                    &[
                        &from.project.0,
                        &from.id,
                        &to.content,
                        &micros(to.muted_until),
                        &from.content,
                        &micros(from.muted_until),
                    ],
                )
                .await?;
            transaction.commit_audited(changed > 0, entry).await
        })
    }

    fn remove_alert<'a>(
        &'a self,
        project: ProjectId,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<StoredAlert>> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            transaction.lock(AdvisoryLock::Outbox).await?;
            transaction.lock_project(project).await?;
            for table in [
                "alert_states",
                "alert_seen",
                "alert_history",
                "alert_outbox",
            ] {
                let delete = format!("DELETE FROM {table} WHERE project = $1 AND alert = $2");
                transaction
                    .execute(&delete, &[&project.0, &text(id)])
                    .await?;
            }
            let remove =
                format!("DELETE FROM alerts WHERE project = $1 AND id = $2 RETURNING {ALERT}");
            let removed = transaction
                .first(&remove, &[&project.0, &text(id)], alert)
                .await?;
            transaction.commit_audited(removed, entry).await
        })
    }

    fn channels(&self) -> BoxFuture<'_, Vec<StoredChannel>> {
        Box::pin(async move { channels::all(&self.session().await?).await })
    }

    fn add_channel(
        &self,
        channel: StoredChannel,
        limit: usize,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let is_added = channels::add(&transaction, &channel, limit).await?;
            transaction.commit_audited(is_added, entry).await
        })
    }

    fn change_channel(
        &self,
        from: StoredChannel,
        to: StoredChannel,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let is_changed = channels::change(&transaction, &from, &to).await?;
            transaction.commit_audited(is_changed, entry).await
        })
    }

    fn remove_channel<'a>(
        &'a self,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<StoredChannel>> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let removed = channels::remove(&transaction, id).await?;
            transaction.commit_audited(removed, entry).await
        })
    }

    fn alert_states(&self) -> BoxFuture<'_, Vec<StoredState>> {
        Box::pin(async move {
            let states = "SELECT project, alert, grp, content FROM alert_states";
            self.session().await?.all(states, &[], rows::state).await
        })
    }

    fn seen<'a>(&'a self, project: ProjectId, alert: &'a str) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move {
            let seen = "SELECT value FROM alert_seen WHERE project = $1 AND alert = $2 ORDER BY id";
            let session = self.session().await?;
            let value = |row: &_| rows::event_text(row, 0);
            session.all(seen, &[&project.0, &alert], value).await
        })
    }

    fn evaluated(&self, project: ProjectId) -> BoxFuture<'_, Option<Cursor>> {
        Box::pin(async move {
            let position = "SELECT position FROM alert_positions WHERE project = $1";
            let session = self.session().await?;
            session
                .first(position, &[&project.0], |row| {
                    Ok(Cursor::new(row.try_get(0)?))
                })
                .await
        })
    }

    fn commit_alerts(&self, commit: AlertCommit, limits: AlertLimits) -> BoxFuture<'_, usize> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let left_out = outbox::commit(&transaction, &commit, limits).await?;
            transaction.commit().await?;
            Ok(left_out)
        })
    }

    fn alert_history<'a>(
        &'a self,
        project: ProjectId,
        alert: &'a str,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> BoxFuture<'a, HistoryPage> {
        Box::pin(async move {
            let before = cursor.map(|cursor| <[u8; 8]>::try_from(cursor.bytes()));
            let before = before.transpose().map_err(|_| StoreError::InvalidCursor)?;
            let before = before.map_or(i64::MAX, i64::from_be_bytes);
            rows::history(&self.session().await?, project, alert, before, limit).await
        })
    }

    fn outbox(&self) -> BoxFuture<'_, Vec<OutboxEntry>> {
        Box::pin(async move { outbox::firsts(&self.session().await?).await })
    }

    fn postpone<'a>(&'a self, id: &'a str, due_at: Timestamp) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let postpone =
                "UPDATE alert_outbox SET attempts = attempts + 1, due_at = $2 WHERE id = $1";
            let session = self.session().await?;
            let due_at = due_at.as_microsecond();
            session.execute(postpone, &[&id, &due_at]).await.map(drop)
        })
    }

    fn settle(
        &self,
        entry: OutboxEntry,
        history: NewHistory,
        limits: AlertLimits,
    ) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            outbox::settle(&transaction, &entry, history, limits).await?;
            transaction.commit().await
        })
    }

    fn outbox_size(&self) -> BoxFuture<'_, OutboxSize> {
        Box::pin(async move { outbox::size(&self.session().await?).await })
    }
}

async fn add(transaction: &Transaction<'_>, alert: &StoredAlert) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO alerts (project, id, created_at, created_by, content, muted_until)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                &alert.project.0,
                &alert.id,
                &alert.created_at.as_microsecond(),
                &text(&alert.created_by),
                &alert.content,
                &alert.muted_until.map(Timestamp::as_microsecond),
            ],
        )
        .await
        .map(drop)
}
