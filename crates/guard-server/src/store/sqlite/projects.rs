//! Projects and keys in SQLite.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Sqlite, timestamp, unreadable};
use crate::people::AuditEntry;
use crate::projects::activity::Activity;
use crate::projects::{ApiKey, KeyHash, KeyId, KeyOwner, NewKey, Settings};
use crate::secret::Secret;
use crate::store::{AddOutcome, BoxFuture, Project, ProjectId, ProjectSettings, Projects};

/// The columns of a project, in the order that [`project`] reads.
const COLUMNS: &str = "projects.id, projects.name, projects.created_at, projects.settings, \
                       projects.encryption_key, projects.signing_secret";
/// Who creates the keys that the options of a start set.
const SERVER: &str = "server";
/// The label of such keys.
const START: &str = "set at start";

impl Projects for Sqlite {
    fn key_owner(&self, key: KeyHash) -> BoxFuture<'_, Option<KeyOwner>> {
        Box::pin(self.read(move |connection| key_owner(connection, &key)))
    }

    fn project_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Project>> {
        let name = name.to_owned();
        Box::pin(self.read(move |connection| named(connection, &name)))
    }

    fn projects(&self) -> BoxFuture<'_, Vec<Project>> {
        Box::pin(self.read(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM projects WHERE removed_at IS NULL ORDER BY name"
                ))?
                .query_map([], project)?
                .collect()
        }))
    }

    fn create_project<'a>(
        &'a self,
        name: &'a str,
        now: Timestamp,
        limit: u32,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, AddOutcome> {
        let name = name.to_owned();
        self.audited(0, entry, move |connection| {
            if named(connection, &name)?.is_some() {
                return Ok(AddOutcome::Exists);
            }
            let count = "SELECT count(*) FROM projects WHERE removed_at IS NULL";
            if connection.query_row(count, [], |row| row.get::<_, u32>(0))? >= limit {
                return Ok(AddOutcome::Full);
            }
            create(connection, &name, now)?;
            Ok(AddOutcome::Added)
        })
    }

    fn save_project<'a>(
        &'a self,
        name: &'a str,
        settings: ProjectSettings,
    ) -> BoxFuture<'a, AddOutcome> {
        let (name, now) = (name.to_owned(), Timestamp::now());
        Box::pin(self.writer.write(0, move |connection| {
            start_with(connection, &name, settings, now)
        }))
    }

    fn change_project(
        &self,
        from: Project,
        to: Project,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(0, entry, move |connection| {
            let found = connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM projects WHERE id = ?1 AND removed_at IS NULL"
                ))?
                .query_row([from.id.0], project)
                .optional()?;
            if found.as_ref() != Some(&from) {
                return Ok(false);
            }
            update(connection, &to)?;
            Ok(true)
        })
    }

    fn remove_project(
        &self,
        project: ProjectId,
        now: Timestamp,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(0, entry, move |connection| {
            connection.execute("DELETE FROM api_keys WHERE project_id = ?1", [project.0])?;
            // No project can have such a name, so the old one is free.
            let removed = connection.execute(
                "UPDATE projects SET name = '#' || id, removed_at = ?2, settings = '{}',
                     encryption_key = NULL, signing_secret = NULL
                 WHERE id = ?1 AND removed_at IS NULL",
                params![project.0, now.as_microsecond()],
            )?;
            Ok(removed > 0)
        })
    }

    fn sweep(&self) -> BoxFuture<'_, bool> {
        Box::pin(self.sweep())
    }

    fn keys(&self, project: ProjectId) -> BoxFuture<'_, Vec<ApiKey>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT id, label, created_at, created_by, last_used_at FROM api_keys
                     WHERE project_id = ?1 ORDER BY created_at, id",
                )?
                .query_map([project.0], api_key)?
                .collect()
        }))
    }

    fn add_key(
        &self,
        project: ProjectId,
        key: NewKey,
        limit: u32,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, AddOutcome> {
        self.audited(0, entry, move |connection| {
            let count = "SELECT count(*) FROM api_keys WHERE project_id = ?1";
            if connection.query_row(count, [project.0], |row| row.get::<_, u32>(0))? >= limit {
                return Ok(AddOutcome::Full);
            }
            add_key(connection, project, &key)
        })
    }

    fn remove_key(
        &self,
        project: ProjectId,
        key: KeyId,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(0, entry, move |connection| {
            let removed = connection.execute(
                "DELETE FROM api_keys WHERE project_id = ?1 AND id = ?2",
                params![project.0, key.0],
            )?;
            Ok(removed > 0)
        })
    }

    fn live_keys(&self, keys: Vec<KeyId>) -> BoxFuture<'_, Vec<KeyId>> {
        Box::pin(self.read(move |connection| {
            let mut find = connection.prepare_cached("SELECT 1 FROM api_keys WHERE id = ?1")?;
            let mut live = Vec::new();
            for key in keys {
                if find.exists([&key.0])? {
                    live.push(key);
                }
            }
            Ok(live)
        }))
    }

    fn save_activity(&self, activity: Activity) -> BoxFuture<'_, ()> {
        Box::pin(
            self.writer
                .write(0, move |connection| save_activity(connection, &activity)),
        )
    }

    fn refusals(&self, project: ProjectId) -> BoxFuture<'_, BTreeMap<String, u64>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached("SELECT reason, n FROM refusals WHERE project_id = ?1")?
                .query_map([project.0], |row| {
                    Ok((
                        row.get(0)?,
                        u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
                    ))
                })?
                .collect()
        }))
    }
}

/// Whether the project was removed.
pub(super) fn is_removed(connection: &Connection, project: ProjectId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM projects WHERE id = ?1 AND removed_at IS NOT NULL")?
        .exists([project.0])
}

fn key_owner(connection: &Connection, key: &KeyHash) -> rusqlite::Result<Option<KeyOwner>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, api_keys.id
             FROM api_keys JOIN projects ON projects.id = project_id WHERE hash = ?1"
        ))?
        .query_row([key.as_bytes()], |row| {
            Ok(KeyOwner {
                project: project(row)?,
                key: KeyId(row.get(6)?),
            })
        })
        .optional()
}

fn named(connection: &Connection, name: &str) -> rusqlite::Result<Option<Project>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM projects WHERE name = ?1 AND removed_at IS NULL"
        ))?
        .query_row([name], project)
        .optional()
}

fn project(row: &Row<'_>) -> rusqlite::Result<Project> {
    let secret = |text: Option<String>| text.map(Secret::from);
    let settings = row.get_ref(3)?.as_str()?;
    let settings: Settings =
        serde_json::from_str(settings).map_err(|error| unreadable(3, Type::Text, error))?;
    Ok(Project {
        id: ProjectId(row.get(0)?),
        name: row.get(1)?,
        created_at: timestamp(row, 2)?,
        settings,
        encryption_key: secret(row.get(4)?),
        signing_secret: secret(row.get(5)?),
    })
}

fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let last_used: Option<i64> = row.get(4)?;
    Ok(ApiKey {
        id: KeyId(row.get(0)?),
        label: row.get(1)?,
        created_at: timestamp(row, 2)?,
        created_by: row.get(3)?,
        last_used_at: last_used.map(|_| timestamp(row, 4)).transpose()?,
    })
}

fn create(connection: &Connection, name: &str, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO projects (name, created_at) VALUES (?1, ?2)",
        params![name, now.as_microsecond()],
    )?;
    Ok(())
}

fn update(connection: &Connection, project: &Project) -> rusqlite::Result<()> {
    let settings = serde_json::to_string(&project.settings)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection.execute(
        "UPDATE projects SET settings = ?2, encryption_key = ?3, signing_secret = ?4 WHERE id = ?1",
        params![
            project.id.0,
            settings,
            project.encryption_key.as_ref().map(Secret::expose),
            project.signing_secret.as_ref().map(Secret::expose),
        ],
    )?;
    Ok(())
}

fn start_with(
    connection: &Connection,
    name: &str,
    mut settings: ProjectSettings,
    now: Timestamp,
) -> rusqlite::Result<AddOutcome> {
    let key = settings.key.take();
    let owner = match &key {
        Some(key) => key_owner(connection, key)?,
        None => None,
    };
    if owner.is_some_and(|owner| owner.project.name != name) {
        return Ok(AddOutcome::Exists);
    }
    if named(connection, name)?.is_none() {
        create(connection, name, now)?;
    }
    let Some(project) = named(connection, name)? else {
        return Err(rusqlite::Error::QueryReturnedNoRows);
    };
    let id = project.id;
    update(connection, &project.started_with(settings))?;
    if let Some(hash) = key {
        connection.execute(
            "DELETE FROM api_keys WHERE project_id = ?1 AND created_by = ?2 AND hash <> ?3",
            params![id.0, SERVER, hash.as_bytes()],
        )?;
        let key = NewKey {
            hash,
            id: KeyId::random()
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?,
            label: START.to_owned(),
            created_at: now,
            created_by: SERVER.to_owned(),
        };
        // It may be there from an earlier start.
        add_key(connection, id, &key)?;
    }
    Ok(AddOutcome::Added)
}

fn add_key(
    connection: &Connection,
    project: ProjectId,
    key: &NewKey,
) -> rusqlite::Result<AddOutcome> {
    let added = connection.execute(
        "INSERT INTO api_keys (hash, project_id, id, label, created_at, created_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        params![
            key.hash.as_bytes(),
            project.0,
            key.id.0,
            key.label,
            key.created_at.as_microsecond(),
            key.created_by,
        ],
    )?;
    Ok(if added > 0 {
        AddOutcome::Added
    } else {
        AddOutcome::Exists
    })
}

fn save_activity(connection: &Connection, activity: &Activity) -> rusqlite::Result<()> {
    let mut used =
        connection.prepare_cached("UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1")?;
    for (key, at) in &activity.used {
        used.execute(params![key.0, at.as_microsecond()])?;
    }
    let mut refused = connection.prepare_cached(
        "INSERT INTO refusals (project_id, reason, n) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET n = n + excluded.n",
    )?;
    for (project, refusal, n) in &activity.refused {
        let n = i64::try_from(*n).unwrap_or(i64::MAX);
        if !is_removed(connection, *project)? {
            refused.execute(params![project.0, refusal.as_str(), n])?;
        }
    }
    Ok(())
}
