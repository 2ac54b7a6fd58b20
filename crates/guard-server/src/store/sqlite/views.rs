//! Saved views in SQLite.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Sqlite, unreadable};
use crate::people::AuditEntry;
use crate::store::{BoxFuture, ProjectId, StoredView, Views};

impl Views for Sqlite {
    fn views(&self, project: ProjectId) -> BoxFuture<'_, Vec<StoredView>> {
        Box::pin(self.read(move |connection| views(connection, project)))
    }

    fn save_view(
        &self,
        project: ProjectId,
        view: StoredView,
        limit: usize,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(view.content.len(), entry, move |connection| {
            save(connection, project, &view, limit)
        })
    }

    fn remove_view<'a>(
        &'a self,
        project: ProjectId,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<StoredView>> {
        let id = id.to_owned();
        self.audited(0, entry, move |connection| {
            connection
                .prepare_cached(
                    "DELETE FROM views WHERE project = ?1 AND id = ?2
                     RETURNING id, created_at, created_by, content",
                )?
                .query_row(params![project.0, id], view)
                .optional()
        })
    }
}

fn views(connection: &Connection, project: ProjectId) -> rusqlite::Result<Vec<StoredView>> {
    connection
        .prepare_cached(
            "SELECT id, created_at, created_by, content FROM views WHERE project = ?1
             ORDER BY created_at, id",
        )?
        .query_map([project.0], view)?
        .collect()
}

fn save(
    connection: &Connection,
    project: ProjectId,
    view: &StoredView,
    limit: usize,
) -> rusqlite::Result<bool> {
    let saved = connection
        .prepare_cached("SELECT count(*) FROM views WHERE project = ?1")?
        .query_row([project.0], |row| row.get::<_, i64>(0))?;
    if usize::try_from(saved).is_ok_and(|saved| saved >= limit) {
        return Ok(false);
    }
    connection
        .prepare_cached("INSERT INTO views VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            project.0,
            view.id,
            view.created_at.as_microsecond(),
            view.created_by,
            view.content
        ])?;
    Ok(true)
}

fn view(row: &Row<'_>) -> rusqlite::Result<StoredView> {
    Ok(StoredView {
        id: row.get(0)?,
        created_at: Timestamp::from_microsecond(row.get(1)?)
            .map_err(|error| unreadable(1, Type::Integer, error))?,
        created_by: row.get(2)?,
        content: row.get(3)?,
    })
}
