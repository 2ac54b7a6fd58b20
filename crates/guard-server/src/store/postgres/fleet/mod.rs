//! Agents in PostgreSQL.

mod subscribers;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::Postgres;
use super::rows::{ReadError, count, text, timestamp};
use super::session::Transaction;
use crate::store::{
    AgentReport, BoxFuture, CheckIn, Fleet, ProjectId, Room, RuleSubscriber, StatusReport,
    StoreError, SubscriberPolicy,
};

impl Fleet for Postgres {
    fn save_check_ins(
        &self,
        check_ins: Arc<[CheckIn]>,
        policy: SubscriberPolicy,
    ) -> BoxFuture<'_, u64> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let left_out = subscribers::save(&transaction, &check_ins, policy).await?;
            transaction.commit().await?;
            Ok(left_out)
        })
    }

    fn subscribers(&self, project: ProjectId) -> BoxFuture<'_, Vec<RuleSubscriber>> {
        Box::pin(async move { subscribers::all(&self.session().await?, project).await })
    }

    fn save_report(&self, report: StatusReport, room: Room) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let is_saved = save_report(&transaction, &report, room).await?;
            transaction.commit().await?;
            Ok(is_saved)
        })
    }

    fn reports(
        &self,
        project: ProjectId,
        limit: u16,
        bytes: usize,
    ) -> BoxFuture<'_, Vec<AgentReport>> {
        Box::pin(async move {
            // The report that brings the sum to the limit is the last one.
            let reports = "SELECT install_id, received_at, body FROM (
                    SELECT *, sum(octet_length(body)) OVER (ORDER BY received_at DESC, install_id
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
                    FROM agent_status WHERE project_id = $1
                    ORDER BY received_at DESC, install_id LIMIT $2) AS newest
                WHERE bytes_before IS NULL OR bytes_before < $3::bigint
                ORDER BY received_at DESC, install_id";
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            let session = self.session().await?;
            session
                .all(reports, &[&project.0, &i64::from(limit), &bytes], report)
                .await
        })
    }

    fn report<'a>(
        &'a self,
        project: ProjectId,
        install_id: &'a str,
    ) -> BoxFuture<'a, Option<AgentReport>> {
        Box::pin(async move {
            let one = "SELECT install_id, received_at, body FROM agent_status
                       WHERE project_id = $1 AND install_id = $2";
            let session = self.session().await?;
            session
                .first(one, &[&project.0, &text(install_id)], report)
                .await
        })
    }

    fn shift_times(&self, by: SignedDuration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            // Every row is changed. Whoever saves agents waits, or the two might wait for each other.
            let alone = "LOCK TABLE rule_followers, agent_status IN SHARE ROW EXCLUSIVE MODE";
            transaction.execute(alone, &[]).await?;
            transaction
                .execute(
                    "UPDATE rule_followers SET seen_at = seen_at + $1, asked_at = asked_at + $1,
                        fetched_at = fetched_at + $1, applied_at = applied_at + $1,
                        reported_at = reported_at + $1",
                    &[&micros(by)],
                )
                .await?;
            let reports = "UPDATE agent_status SET received_at = received_at + $1";
            transaction.execute(reports, &[&micros(by)]).await?;
            transaction.commit().await
        })
    }
}

/// Returns whether there was room for the report.
async fn save_report(
    transaction: &Transaction<'_>,
    report: &StatusReport,
    room: Room,
) -> Result<bool, StoreError> {
    let StatusReport {
        project,
        install_id,
        received_at,
        body,
    } = report;
    // Nothing is stored for a project that has been removed, so it needs no room.
    if !transaction.lock_project(*project).await? {
        return Ok(true);
    }
    let at = received_at.as_microsecond();
    let known = "UPDATE agent_status SET received_at = $3, body = $4
                 WHERE project_id = $1 AND install_id = $2";
    let new = "INSERT INTO agent_status (project_id, install_id, received_at, body)
               VALUES ($1, $2, $3, $4)";
    if transaction
        .execute(known, &[&project.0, install_id, &at, body])
        .await?
        > 0
    {
        return Ok(true);
    }
    let there = "SELECT count(*) FROM agent_status WHERE project_id = $1";
    let there = transaction.one(there, &[&project.0], count).await?;
    if there >= u64::from(room.installs) {
        // The install that was silent for longest gives way, if that is long enough.
        let displace = "DELETE FROM agent_status WHERE project_id = $1 AND received_at < $2
                            AND received_at = (SELECT min(received_at) FROM agent_status
                                WHERE project_id = $1)";
        let before = unseen_since(*received_at, room).as_microsecond();
        if transaction
            .execute(displace, &[&project.0, &before])
            .await?
            == 0
        {
            return Ok(false);
        }
    }
    transaction
        .execute(new, &[&project.0, install_id, &at, body])
        .await?;
    Ok(true)
}

/// An agent whose last signal came before this gives way to one that sends a signal at `now`.
fn unseen_since(now: Timestamp, room: Room) -> Timestamp {
    now.saturating_sub(room.silent_for).unwrap_or(now)
}

fn report(row: &Row) -> Result<AgentReport, ReadError> {
    Ok(AgentReport {
        install_id: row.try_get(0)?,
        received_at: timestamp(row, 1)?,
        status: RawValue::from_string(row.try_get(2)?)?,
    })
}

fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
