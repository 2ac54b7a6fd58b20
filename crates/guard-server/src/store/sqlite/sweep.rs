//! Removes the data of removed projects, a part at a time.
//!
//! Every table with a column `project_id` or `project` that holds integers belongs to a project, so
//! no table can be forgotten here. Tables that name a project by its text, such as an audit log,
//! keep their rows.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};

use super::Sqlite;
use super::pace::Speed;
use crate::store::StoreError;

impl Sqlite {
    pub(super) async fn sweep(&self) -> Result<bool, StoreError> {
        // Usually there is nothing to do, and then the writer is not needed.
        let pending = self.read(|connection| Ok(next(connection)?.is_some()));
        if !pending.await? {
            return Ok(false);
        }
        let speeds = Arc::clone(&self.speeds);
        self.writer
            .write(0, move |connection| sweep(connection, &speeds.rows))
            .await
    }
}

/// A removed project whose data is not removed yet.
fn next(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT id FROM projects WHERE removed_at IS NOT NULL AND is_swept = 0 LIMIT 1",
        )?
        .query_row([], |row| row.get(0))
        .optional()
}

/// Removes rows until the time of the step is over. Returns whether there is more to do.
fn sweep(connection: &Connection, speed: &Speed) -> rusqlite::Result<bool> {
    let mut pace = speed.step();
    let Some(project) = next(connection)? else {
        return Ok(false);
    };
    for table in tables(connection)? {
        let mut delete = connection.prepare_cached(&table.delete())?;
        loop {
            let Some(part) = pace.part() else {
                return Ok(true);
            };
            let removed = delete.execute([project, part])?;
            pace.did(removed as u64);
            if removed == 0 {
                break;
            }
        }
    }
    connection.execute("UPDATE projects SET is_swept = 1 WHERE id = ?1", [project])?;
    Ok(next(connection)?.is_some())
}

/// A table whose rows belong to projects.
struct Table {
    name: String,
    /// The column with the project.
    project: String,
    /// The columns that identify a row.
    key: String,
}

impl Table {
    fn delete(&self) -> String {
        let Self { name, project, key } = self;
        format!(
            "DELETE FROM {name} WHERE ({key}) IN
                 (SELECT {key} FROM {name} WHERE {project} = ?1 LIMIT ?2)"
        )
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    connection
        .prepare_cached(
            "SELECT list.name, project.name, CASE list.wr WHEN 0 THEN 'rowid' ELSE
                 (SELECT group_concat(name) FROM pragma_table_info(list.name) WHERE pk > 0) END
             FROM pragma_table_list AS list JOIN pragma_table_info(list.name) AS project
             WHERE list.schema = 'main' AND list.type = 'table'
                 AND project.name IN ('project_id', 'project') AND project.type = 'INTEGER'",
        )?
        .query_map([], |row| {
            Ok(Table {
                name: row.get(0)?,
                project: row.get(1)?,
                key: row.get(2)?,
            })
        })?
        .collect()
}

#[cfg(test)]
mod tests;
