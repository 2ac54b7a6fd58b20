//! The audit log in PostgreSQL.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Row;

use super::Postgres;
use super::rows::{ReadError, text};
use super::session::Session;
use crate::people::{AuditEntry, Scope, Who};
use crate::store::audit::Position;
use crate::store::{Audit, AuditFilter, AuditPage, BoxFuture, Cursor, StoreError};

impl Audit for Postgres {
    fn audit(
        &self,
        filter: AuditFilter,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> BoxFuture<'_, AuditPage> {
        Box::pin(async move {
            let position = cursor.map(|cursor| <[u8; 16]>::try_from(cursor.bytes()));
            let position = position
                .transpose()
                .map_err(|_| StoreError::InvalidCursor)?;
            let Position { at, id } = position.map_or(Position::NEWEST, Position::from_bytes);
            let scope = match &filter.scope {
                Scope::All => None,
                named @ Scope::Named(_) => Some(named.names()),
            };
            let [who, action, project] = [&filter.who, &filter.action, &filter.project]
                .map(|name| name.as_deref().map(text));
            let session = self.session().await?;
            let mut found = session
                .all(
                    "SELECT at, who, address, action, project, object, before, after, id FROM audit
                     WHERE at >= $1 AND at < $2 AND (at, id) < ($3, $4)
                        AND ($5::text IS NULL OR who = $5) AND ($6::text IS NULL OR action = $6)
                        AND ($7::text IS NULL OR project = $7)
                        AND ($8::text[] IS NULL OR project = ANY ($8))
                     ORDER BY at DESC, id DESC LIMIT $9",
                    &[
                        &filter.from.as_microsecond(),
                        &filter.to.as_microsecond(),
                        &at,
                        &id,
                        &who,
                        &action,
                        &project,
                        &scope,
                        &(i64::from(limit) + 1),
                    ],
                    entry,
                )
                .await?;
            let has_more = found.len() > usize::from(limit);
            found.truncate(limit.into());
            let last = found.last().filter(|_| has_more);
            let next = last.map(|(position, _)| Cursor::new(&position.to_bytes()));
            let items = found.into_iter().map(|(_, entry)| entry).collect();
            Ok(AuditPage { items, next })
        })
    }

    fn expire_audit(&self, before: Timestamp, limit: u32) -> BoxFuture<'_, u64> {
        Box::pin(async move {
            let remove = "DELETE FROM audit WHERE id IN
                (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)";
            let session = self.session().await?;
            session
                .execute(remove, &[&before.as_microsecond(), &i64::from(limit)])
                .await
        })
    }
}

/// Adds an entry to the log.
pub(super) async fn insert(session: &Session<'_>, entry: &AuditEntry) -> Result<(), StoreError> {
    let json = |value: &Value| (!value.is_null()).then(|| value.to_string());
    session
        .execute(
            "INSERT INTO audit (at, who, address, action, project, object, before, after)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                &entry.at.as_microsecond(),
                &text(&entry.who.to_string()),
                &entry.address.map(|address| address.to_string()),
                &entry.action,
                &entry.project,
                &text(&entry.object),
                &json(&entry.before),
                &json(&entry.after),
            ],
        )
        .await
        .map(drop)
}

fn entry(row: &Row) -> Result<(Position, AuditEntry), ReadError> {
    let json = |column: usize| -> Result<Value, ReadError> {
        let text: Option<&str> = row.try_get(column)?;
        Ok(text.map_or(Ok(Value::Null), serde_json::from_str)?)
    };
    let position = Position {
        at: row.try_get(0)?,
        id: row.try_get(8)?,
    };
    let address: Option<&str> = row.try_get(2)?;
    let entry = AuditEntry {
        at: Timestamp::from_microsecond(position.at)?,
        who: row.try_get::<_, &str>(1)?.parse().unwrap_or(Who::Server),
        address: address.and_then(|text| text.parse::<IpAddr>().ok()),
        action: row.try_get(3)?,
        project: row.try_get(4)?,
        object: row.try_get(5)?,
        before: json(6)?,
        after: json(7)?,
    };
    Ok((position, entry))
}
