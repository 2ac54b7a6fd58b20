//! From rows to alerts, and their history.

use tokio_postgres::Row;

use crate::store::postgres::rows::{ReadError, optional_timestamp, text, timestamp};
use crate::store::postgres::session::Session;
use crate::store::{
    Cursor, HistoryPage, NewHistory, ProjectId, StoreError, StoredAlert, StoredState,
};

/// The columns that [`alert`] reads.
pub(super) const ALERT: &str = "alerts.project, alerts.id, alerts.created_at, alerts.created_by, \
                                alerts.content, alerts.muted_until";

pub(super) fn alert(row: &Row) -> Result<StoredAlert, ReadError> {
    Ok(StoredAlert {
        project: ProjectId(row.try_get(0)?),
        id: row.try_get(1)?,
        created_at: timestamp(row, 2)?,
        created_by: row.try_get(3)?,
        content: row.try_get(4)?,
        muted_until: optional_timestamp(row, 5)?,
    })
}

pub(super) fn state(row: &Row) -> Result<StoredState, ReadError> {
    Ok(StoredState {
        project: ProjectId(row.try_get(0)?),
        alert: row.try_get(1)?,
        group: event_text(row, 2)?,
        content: row.try_get(3)?,
    })
}

/// Text of an event. It is stored as bytes, because text of PostgreSQL cannot hold U+0000.
pub(super) fn event_text(row: &Row, column: usize) -> Result<String, ReadError> {
    Ok(String::from_utf8(row.try_get(column)?)?)
}

/// The entries before the id `before`, the newest first.
pub(super) async fn history(
    session: &Session<'_>,
    project: ProjectId,
    alert: &str,
    before: i64,
    limit: u16,
) -> Result<HistoryPage, StoreError> {
    let page = "SELECT id, at, content FROM alert_history
                WHERE project = $1 AND alert = $2 AND id < $3 ORDER BY id DESC LIMIT $4";
    let one_more = i64::from(limit) + 1;
    let mut found = session
        .all(
            page,
            &[&project.0, &text(alert), &before, &one_more],
            |row| {
                let history = NewHistory {
                    at: timestamp(row, 1)?,
                    content: row.try_get(2)?,
                };
                Ok((row.try_get::<_, i64>(0)?, history))
            },
        )
        .await?;
    let has_more = found.len() > usize::from(limit);
    found.truncate(limit.into());
    let last = found.last().filter(|_| has_more);
    let next = last.map(|(id, _)| Cursor::new(&id.to_be_bytes()));
    let items = found.into_iter().map(|(_, entry)| entry).collect();
    Ok(HistoryPage { items, next })
}
