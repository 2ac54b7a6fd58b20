//! Removes the data of removed projects, a part at a time.
//!
//! Every table with a column `project_id` or `project` that holds integers belongs to a project, so
//! no table can be forgotten here. Tables that name a project by its text, such as the audit log, keep
//! their rows.

use tokio_postgres::Row;

use super::Postgres;
use super::rows::{ReadError, column};
use super::session::Session;
use crate::store::StoreError;

/// How many rows one call removes of a table.
const PART: i64 = 1000;

impl Postgres {
    pub(super) async fn sweep_part(&self) -> Result<bool, StoreError> {
        let session = self.session().await?;
        let Some(project) = next(&session).await? else {
            return Ok(false);
        };
        for table in session.all(TABLES, &[], Table::of).await? {
            if session.execute(&table.delete(), &[&project, &PART]).await? > 0 {
                return Ok(true);
            }
        }
        let done = "UPDATE projects SET is_swept = true WHERE id = $1";
        session.execute(done, &[&project]).await?;
        Ok(next(&session).await?.is_some())
    }
}

/// A removed project whose data is not removed yet.
async fn next(session: &Session<'_>) -> Result<Option<i64>, StoreError> {
    let find = "SELECT id FROM projects WHERE removed_at IS NOT NULL AND NOT is_swept LIMIT 1";
    session.first(find, &[], column).await
}

/// The tables whose rows belong to projects.
const TABLES: &str = "SELECT quote_ident(table_name), column_name::text
    FROM information_schema.columns
    WHERE table_schema = current_schema() AND data_type = 'bigint'
        AND column_name IN ('project_id', 'project')
    ORDER BY table_name";

struct Table {
    name: String,
    /// The column with the project.
    project: String,
}

impl Table {
    fn of(row: &Row) -> Result<Self, ReadError> {
        Ok(Self {
            name: row.try_get(0)?,
            project: row.try_get(1)?,
        })
    }

    fn delete(&self) -> String {
        let Self { name, project } = self;
        format!(
            "DELETE FROM {name} WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM {name} WHERE {project} = $1 LIMIT $2))"
        )
    }
}
