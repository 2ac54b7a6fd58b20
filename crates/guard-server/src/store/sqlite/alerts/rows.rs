//! From rows to alerts, and their history.

use rusqlite::{Connection, Row, params};

use crate::store::sqlite::timestamp;
use crate::store::{Cursor, HistoryPage, NewHistory, ProjectId, StoredAlert, StoredState};

/// The columns that [`alert`] reads.
pub(super) const ALERT: &str = "alerts.project, alerts.id, alerts.created_at, alerts.created_by, \
                                alerts.content, alerts.muted_until";

pub(super) fn alert(row: &Row<'_>) -> rusqlite::Result<StoredAlert> {
    let is_muted = row.get::<_, Option<i64>>(5)?.is_some();
    Ok(StoredAlert {
        project: ProjectId(row.get(0)?),
        id: row.get(1)?,
        created_at: timestamp(row, 2)?,
        created_by: row.get(3)?,
        content: row.get(4)?,
        muted_until: is_muted.then(|| timestamp(row, 5)).transpose()?,
    })
}

pub(super) fn state(row: &Row<'_>) -> rusqlite::Result<StoredState> {
    Ok(StoredState {
        project: ProjectId(row.get(0)?),
        alert: row.get(1)?,
        group: row.get(2)?,
        content: row.get(3)?,
    })
}

/// The entries before the id `before`, the newest first.
pub(super) fn history(
    connection: &Connection,
    project: ProjectId,
    alert: &str,
    before: i64,
    limit: u16,
) -> rusqlite::Result<HistoryPage> {
    let entry = |row: &Row<'_>| -> rusqlite::Result<(i64, NewHistory)> {
        let history = NewHistory {
            at: timestamp(row, 1)?,
            content: row.get(2)?,
        };
        Ok((row.get(0)?, history))
    };
    let mut found: Vec<_> = connection
        .prepare_cached(
            "SELECT id, at, content FROM alert_history
             WHERE project = ?1 AND alert = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4",
        )?
        .query_map(
            params![project.0, alert, before, u32::from(limit) + 1],
            entry,
        )?
        .collect::<rusqlite::Result<_>>()?;
    let has_more = found.len() > usize::from(limit);
    found.truncate(limit.into());
    let last = found.last().filter(|_| has_more);
    let next = last.map(|(id, _)| Cursor::new(&id.to_be_bytes()));
    let items = found.into_iter().map(|(_, entry)| entry).collect();
    Ok(HistoryPage { items, next })
}
