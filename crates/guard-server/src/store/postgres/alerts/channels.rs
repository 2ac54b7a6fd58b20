//! Channels in PostgreSQL.

use tokio_postgres::Row;

use crate::secret::Secret;
use crate::store::postgres::locks::AdvisoryLock;
use crate::store::postgres::rows::{ReadError, count, text, timestamp};
use crate::store::postgres::session::{Session, Transaction};
use crate::store::{StoreError, StoredChannel};

const CHANNEL: &str = "id, created_at, created_by, label, kind, target, secret";

pub(super) async fn all(session: &Session<'_>) -> Result<Vec<StoredChannel>, StoreError> {
    let all = format!("SELECT {CHANNEL} FROM channels ORDER BY created_at, id");
    session.all(&all, &[], channel).await
}

pub(super) async fn add(
    transaction: &Transaction<'_>,
    channel: &StoredChannel,
    limit: usize,
) -> Result<bool, StoreError> {
    transaction.lock(AdvisoryLock::Channels).await?;
    let there = "SELECT count(*) FROM channels";
    if transaction.one(there, &[], count).await? >= limit as u64 {
        return Ok(false);
    }
    let add = format!("INSERT INTO channels ({CHANNEL}) VALUES ($1, $2, $3, $4, $5, $6, $7)");
    transaction
        .execute(
            &add,
            &[
                &channel.id,
                &channel.created_at.as_microsecond(),
                &channel.created_by,
                &channel.label,
                &channel.kind,
                &channel.target.expose(),
                &channel.secret.as_ref().map(Secret::expose),
            ],
        )
        .await?;
    Ok(true)
}

pub(super) async fn change(
    transaction: &Transaction<'_>,
    from: &StoredChannel,
    to: &StoredChannel,
) -> Result<bool, StoreError> {
    let changed = transaction
        .execute(
            "UPDATE channels SET label = $2, target = $3, secret = $4
             WHERE id = $1 AND label = $5 AND target = $6 AND secret IS NOT DISTINCT FROM $7",
            &[
                &from.id,
                &to.label,
                &to.target.expose(),
                &to.secret.as_ref().map(Secret::expose),
                &from.label,
                &from.target.expose(),
                &from.secret.as_ref().map(Secret::expose),
            ],
        )
        .await?;
    Ok(changed > 0)
}

pub(super) async fn remove(
    transaction: &Transaction<'_>,
    id: &str,
) -> Result<Option<StoredChannel>, StoreError> {
    transaction.lock(AdvisoryLock::Outbox).await?;
    let waiting = "DELETE FROM alert_outbox WHERE channel = $1";
    transaction.execute(waiting, &[&text(id)]).await?;
    let remove = format!("DELETE FROM channels WHERE id = $1 RETURNING {CHANNEL}");
    transaction.first(&remove, &[&text(id)], channel).await
}

fn channel(row: &Row) -> Result<StoredChannel, ReadError> {
    Ok(StoredChannel {
        id: row.try_get(0)?,
        created_at: timestamp(row, 1)?,
        created_by: row.try_get(2)?,
        label: row.try_get(3)?,
        kind: row.try_get(4)?,
        target: row.try_get::<_, String>(5)?.into(),
        secret: row.try_get::<_, Option<String>>(6)?.map(Secret::from),
    })
}
