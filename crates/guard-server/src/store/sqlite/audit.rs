//! The audit log in SQLite.

use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::{Sqlite, unreadable};
use crate::people::{AuditEntry, Scope, Who};
use crate::store::audit::{Outcome, Position};
use crate::store::{Audit, AuditFilter, AuditPage, BoxFuture, Cursor, StoreError};

impl Audit for Sqlite {
    fn audit(
        &self,
        filter: AuditFilter,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> BoxFuture<'_, AuditPage> {
        let position = cursor.map(|cursor| <[u8; 16]>::try_from(cursor.bytes()));
        let position = match position.transpose() {
            Ok(position) => position.map(Position::from_bytes),
            Err(_) => return Box::pin(async { Err(StoreError::InvalidCursor) }),
        };
        Box::pin(self.read(move |connection| {
            let scope = match &filter.scope {
                Scope::All => None,
                named @ Scope::Named(_) => Some(serde_json::json!(named.names()).to_string()),
            };
            let Position { at, id } = position.unwrap_or(Position::NEWEST);
            let mut found: Vec<(Position, AuditEntry)> = connection
                .prepare_cached(
                    "SELECT at, who, address, action, project, object, before, after, id FROM audit
                     WHERE at >= ?1 AND at < ?2 AND (at, id) < (?3, ?4)
                        AND (?5 IS NULL OR who = ?5) AND (?6 IS NULL OR action = ?6)
                        AND (?7 IS NULL OR project = ?7)
                        AND (?8 IS NULL OR project IN (SELECT value FROM json_each(?8)))
                     ORDER BY at DESC, id DESC LIMIT ?9",
                )?
                .query_map(
                    params![
                        filter.from.as_microsecond(),
                        filter.to.as_microsecond(),
                        at,
                        id,
                        filter.who,
                        filter.action,
                        filter.project,
                        scope,
                        u32::from(limit) + 1,
                    ],
                    entry,
                )?
                .collect::<rusqlite::Result<_>>()?;
            let has_more = found.len() > usize::from(limit);
            found.truncate(limit.into());
            let last = found.last().filter(|_| has_more);
            let next = last.map(|(position, _)| Cursor::new(&position.to_bytes()));
            let items = found.into_iter().map(|(_, entry)| entry).collect();
            Ok(AuditPage { items, next })
        }))
    }

    fn expire_audit(&self, before: Timestamp, limit: u32) -> BoxFuture<'_, u64> {
        Box::pin(self.writer.write(0, move |connection| {
            let removed = connection
                .prepare_cached(
                    "DELETE FROM audit WHERE id IN
                        (SELECT id FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2)",
                )?
                .execute(params![before.as_microsecond(), limit])?;
            Ok(removed as u64)
        }))
    }
}

impl Sqlite {
    /// Runs a change in a transaction. If the change [`is_made`](Outcome::is_made), the transaction
    /// also adds `entry` to the audit log. `bytes` is roughly the memory that the change holds.
    pub(super) fn audited<T: Outcome + Send + 'static>(
        &self,
        bytes: usize,
        entry: Option<AuditEntry>,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, T> {
        Box::pin(self.writer.write(bytes, move |connection| {
            let outcome = change(connection)?;
            if let Some(entry) = entry.filter(|_| outcome.is_made()) {
                insert(connection, &entry)?;
            }
            Ok(outcome)
        }))
    }
}

fn insert(connection: &Connection, entry: &AuditEntry) -> rusqlite::Result<()> {
    let json = |value: &Value| (!value.is_null()).then(|| value.to_string());
    connection
        .prepare_cached(
            "INSERT INTO audit (at, who, address, action, project, object, before, after)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            entry.at.as_microsecond(),
            entry.who.to_string(),
            entry.address.map(|address| address.to_string()),
            entry.action,
            entry.project,
            entry.object,
            json(&entry.before),
            json(&entry.after),
        ])
        .map(drop)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<(Position, AuditEntry)> {
    let at: i64 = row.get(0)?;
    let json = |column: usize| -> rusqlite::Result<Value> {
        let text: Option<String> = row.get(column)?;
        let value = text.map(|text| serde_json::from_str(&text)).transpose();
        let value: Option<Value> = value.map_err(|error| unreadable(column, Type::Text, error))?;
        Ok(value.unwrap_or_default())
    };
    let who: String = row.get(1)?;
    let address: Option<String> = row.get(2)?;
    let position = Position {
        at,
        id: row.get(8)?,
    };
    let entry = AuditEntry {
        at: Timestamp::from_microsecond(at).map_err(|error| unreadable(0, Type::Integer, error))?,
        who: who.parse().unwrap_or(Who::Server),
        address: address.and_then(|text| text.parse::<IpAddr>().ok()),
        action: row.get(3)?,
        project: row.get(4)?,
        object: row.get(5)?,
        before: json(6)?,
        after: json(7)?,
    };
    Ok((position, entry))
}
