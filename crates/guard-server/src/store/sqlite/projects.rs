//! Projects and keys in SQLite.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Sqlite;
use crate::projects::KeyHash;
use crate::secret::Secret;
use crate::store::{BoxFuture, Project, ProjectId, ProjectSettings, Projects};

impl Projects for Sqlite {
    fn project_of_key(&self, key: KeyHash) -> BoxFuture<'_, Option<Project>> {
        Box::pin(self.read(move |connection| owner(connection, &key)))
    }

    fn project_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Project>> {
        let name = name.to_owned();
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT id, name, encryption_key, signing_secret FROM projects WHERE name = ?1",
                )?
                .query_row([name], project)
                .optional()
        }))
    }

    fn save_project<'a>(&'a self, name: &'a str, settings: ProjectSettings) -> BoxFuture<'a, ()> {
        let name = name.to_owned();
        Box::pin(
            self.writer
                .write(0, move |connection| save(connection, &name, &settings)),
        )
    }
}

fn owner(connection: &Connection, key: &KeyHash) -> rusqlite::Result<Option<Project>> {
    connection
        .prepare_cached(
            "SELECT id, name, encryption_key, signing_secret
             FROM api_keys JOIN projects ON projects.id = project_id WHERE hash = ?1",
        )?
        .query_row([key.as_bytes()], project)
        .optional()
}

fn project(row: &Row<'_>) -> rusqlite::Result<Project> {
    let secret = |text: Option<String>| text.map(Secret::from);
    Ok(Project {
        id: ProjectId(row.get(0)?),
        name: row.get(1)?,
        encryption_key: secret(row.get(2)?),
        signing_secret: secret(row.get(3)?),
    })
}

fn save(connection: &Connection, name: &str, settings: &ProjectSettings) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO projects (name) VALUES (?1) ON CONFLICT DO NOTHING",
        [name],
    )?;
    let id: i64 =
        connection.query_row("SELECT id FROM projects WHERE name = ?1", [name], |row| {
            row.get(0)
        })?;
    if let Some(key) = &settings.key {
        connection.execute("DELETE FROM api_keys WHERE project_id = ?1", [id])?;
        connection.execute(
            "INSERT INTO api_keys (hash, project_id) VALUES (?1, ?2)",
            params![key.as_bytes(), id],
        )?;
    }
    for (column, secret) in [
        ("encryption_key", &settings.encryption_key),
        ("signing_secret", &settings.signing_secret),
    ] {
        if let Some(secret) = secret {
            connection.execute(
                &format!("UPDATE projects SET {column} = nullif(?1, '') WHERE id = ?2"),
                params![secret.expose(), id],
            )?;
        }
    }
    Ok(())
}
