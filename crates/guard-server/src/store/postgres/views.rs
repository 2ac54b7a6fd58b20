//! Saved views in PostgreSQL.

use tokio_postgres::Row;

use super::Postgres;
use super::rows::{ReadError, column, text, timestamp};
use crate::people::AuditEntry;
use crate::store::{BoxFuture, ProjectId, StoredView, Views};

impl Views for Postgres {
    fn views(&self, project: ProjectId) -> BoxFuture<'_, Vec<StoredView>> {
        Box::pin(async move {
            let list = "SELECT id, created_at, created_by, content FROM views WHERE project = $1
                ORDER BY created_at, id";
            self.session().await?.all(list, &[&project.0], view).await
        })
    }

    fn save_view(
        &self,
        project: ProjectId,
        view: StoredView,
        limit: usize,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let change = self.begin().await?;
            if !change.lock_project(project).await? {
                return change.commit_audited(false, entry).await;
            }
            let count = "SELECT count(*) FROM views WHERE project = $1";
            let saved = change.one(count, &[&project.0], column::<i64>).await?;
            let has_room = usize::try_from(saved).is_ok_and(|saved| saved < limit);
            if has_room {
                let add = "INSERT INTO views (project, id, created_at, created_by, content)
                    VALUES ($1, $2, $3, $4, $5)";
                let at = view.created_at.as_microsecond();
                let view: super::session::Params<'_> =
                    &[&project.0, &view.id, &at, &view.created_by, &view.content];
                change.execute(add, view).await?;
            }
            change.commit_audited(has_room, entry).await
        })
    }

    fn remove_view<'a>(
        &'a self,
        project: ProjectId,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<StoredView>> {
        Box::pin(async move {
            let remove = "DELETE FROM views WHERE project = $1 AND id = $2
                RETURNING id, created_at, created_by, content";
            let change = self.begin().await?;
            let removed = change.first(remove, &[&project.0, &text(id)], view).await?;
            change.commit_audited(removed, entry).await
        })
    }
}

fn view(row: &Row) -> Result<StoredView, ReadError> {
    Ok(StoredView {
        id: row.try_get(0)?,
        created_at: timestamp(row, 1)?,
        created_by: row.try_get(2)?,
        content: row.try_get(3)?,
    })
}
