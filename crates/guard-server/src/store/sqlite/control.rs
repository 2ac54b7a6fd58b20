//! Projects, keys and rules in SQLite.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Sqlite;
use crate::auth::KeyHash;
use crate::secret::Secret;
use crate::store::{
    Answer, Control, Project, ProjectId, ProjectSettings, RulesOutcome, StoredRules,
};

impl Control for Sqlite {
    fn project_of_key(&self, key: KeyHash) -> Answer<'_, Option<Project>> {
        Box::pin(self.read(move |connection| owner(connection, &key)))
    }

    fn project_named<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Project>> {
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

    fn save_project<'a>(&'a self, name: &'a str, settings: ProjectSettings) -> Answer<'a, ()> {
        let name = name.to_owned();
        Box::pin(
            self.writer
                .write(0, move |connection| save(connection, &name, &settings)),
        )
    }

    fn rules(&self, project: ProjectId) -> Answer<'_, Option<StoredRules>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached("SELECT version, document FROM rules WHERE project_id = ?1")?
                .query_row([project.0], |row| {
                    Ok(StoredRules {
                        version: row.get(0)?,
                        document: row.get(1)?,
                    })
                })
                .optional()
        }))
    }

    fn set_rules(&self, project: ProjectId, rules: StoredRules) -> Answer<'_, RulesOutcome> {
        Box::pin(self.writer.write(rules.document.len(), move |connection| {
            set_rules(connection, project, &rules)
        }))
    }
}

/// Compares with every stored hash, so that the time taken tells nothing.
fn owner(connection: &Connection, key: &KeyHash) -> rusqlite::Result<Option<Project>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, encryption_key, signing_secret, hash
         FROM api_keys JOIN projects ON projects.id = project_id",
    )?;
    let mut rows = statement.query([])?;
    let mut found = None;
    while let Some(row) = rows.next()? {
        if key.matches(&KeyHash::from_bytes(row.get(4)?)) {
            found = Some(project(row)?);
        }
    }
    Ok(found)
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

fn set_rules(
    connection: &Connection,
    project: ProjectId,
    rules: &StoredRules,
) -> rusqlite::Result<RulesOutcome> {
    let current: Option<i64> = connection
        .query_row(
            "SELECT version FROM rules WHERE project_id = ?1",
            [project.0],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(current) = current.filter(|current| rules.version <= *current) {
        return Ok(RulesOutcome::VersionNotAbove { current });
    }
    connection.execute(
        "INSERT INTO rules (project_id, version, document) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET version = excluded.version, document = excluded.document",
        params![project.0, rules.version, rules.document],
    )?;
    Ok(RulesOutcome::Set)
}
