//! Channels in SQLite.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::secret::Secret;
use crate::store::StoredChannel;
use crate::store::sqlite::timestamp;

const CHANNEL: &str = "id, created_at, created_by, label, kind, target, secret";

pub(super) fn channels(connection: &Connection) -> rusqlite::Result<Vec<StoredChannel>> {
    connection
        .prepare_cached(&format!(
            "SELECT {CHANNEL} FROM channels ORDER BY created_at, id"
        ))?
        .query_map([], channel)?
        .collect()
}

pub(super) fn add(
    connection: &Connection,
    channel: &StoredChannel,
    limit: usize,
) -> rusqlite::Result<bool> {
    let there = connection
        .prepare_cached("SELECT count(*) FROM channels")?
        .query_row([], |row| row.get::<_, i64>(0))?;
    if usize::try_from(there).is_ok_and(|there| there >= limit) {
        return Ok(false);
    }
    connection
        .prepare_cached("INSERT INTO channels VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![
            channel.id,
            channel.created_at.as_microsecond(),
            channel.created_by,
            channel.label,
            channel.kind,
            channel.target.expose(),
            channel.secret.as_ref().map(Secret::expose),
        ])?;
    Ok(true)
}

pub(super) fn change(
    connection: &Connection,
    from: &StoredChannel,
    to: &StoredChannel,
) -> rusqlite::Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE channels SET label = ?2, target = ?3, secret = ?4
             WHERE id = ?1 AND label = ?5 AND target = ?6 AND secret IS ?7",
        )?
        .execute(params![
            from.id,
            to.label,
            to.target.expose(),
            to.secret.as_ref().map(Secret::expose),
            from.label,
            from.target.expose(),
            from.secret.as_ref().map(Secret::expose),
        ])?;
    Ok(changed > 0)
}

pub(super) fn remove(connection: &Connection, id: &str) -> rusqlite::Result<Option<StoredChannel>> {
    connection
        .prepare_cached("DELETE FROM alert_outbox WHERE channel = ?1")?
        .execute([id])?;
    connection
        .prepare_cached(&format!(
            "DELETE FROM channels WHERE id = ?1 RETURNING {CHANNEL}"
        ))?
        .query_row([id], channel)
        .optional()
}

fn channel(row: &Row<'_>) -> rusqlite::Result<StoredChannel> {
    Ok(StoredChannel {
        id: row.get(0)?,
        created_at: timestamp(row, 1)?,
        created_by: row.get(2)?,
        label: row.get(3)?,
        kind: row.get(4)?,
        target: row.get::<_, String>(5)?.into(),
        secret: row.get::<_, Option<String>>(6)?.map(Secret::from),
    })
}
