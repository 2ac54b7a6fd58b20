//! Projects, keys and rules in SQLite.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Sqlite, subscribers};
use crate::projects::KeyHash;
use crate::secret::Secret;
use crate::store::{
    Answer, Change, Control, Draft, Follower, Project, ProjectId, ProjectSettings, RulesOutcome,
    Sighting, StoredRules,
};

/// Versions of rules that are kept for each project.
const KEPT_VERSIONS: u16 = 1000;
/// The bytes that they may take together.
const KEPT_BYTES: i64 = 64 * 1024 * 1024;

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
        Box::pin(
            self.read(move |connection| match version(connection, project)? {
                Some(version) => stored(connection, project, version),
                None => Ok(None),
            }),
        )
    }

    fn rules_at(&self, project: ProjectId, version: i64) -> Answer<'_, Option<StoredRules>> {
        Box::pin(self.read(move |connection| stored(connection, project, version)))
    }

    fn rules_history(
        &self,
        project: ProjectId,
        before: i64,
        limit: u16,
    ) -> Answer<'_, Vec<(i64, Change)>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT version, created_at, action, author, reason FROM rule_versions
                     WHERE project_id = ?1 AND version < ?2 ORDER BY version DESC LIMIT ?3",
                )?
                .query_map(params![project.0, before, limit], |row| {
                    Ok((row.get(0)?, change(row, 1)?))
                })?
                .collect()
        }))
    }

    fn rules_due(&self, now: Timestamp, ahead: Timestamp) -> Answer<'_, Vec<ProjectId>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT id FROM projects JOIN rule_versions AS rules ON project_id = id
                     WHERE (due <= ?1 OR created_at > ?2) AND version =
                        (SELECT max(version) FROM rule_versions WHERE project_id = id)",
                )?
                .query_map([now.as_microsecond(), ahead.as_microsecond()], |row| {
                    row.get(0).map(ProjectId)
                })?
                .collect()
        }))
    }

    fn rules_version(&self, project: ProjectId) -> Answer<'_, Option<i64>> {
        Box::pin(self.read(move |connection| version(connection, project)))
    }

    fn set_rules(
        &self,
        project: ProjectId,
        from: Option<i64>,
        rules: StoredRules,
    ) -> Answer<'_, RulesOutcome> {
        let bytes = rules.document.len() + rules.policy.len();
        Box::pin(self.writer.write(bytes, move |connection| {
            set_rules(connection, project, from, &rules)
        }))
    }

    fn draft(&self, project: ProjectId) -> Answer<'_, Option<Draft>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT document, base, saved_at, author FROM rule_drafts WHERE project_id = ?1",
                )?
                .query_row([project.0], |row| {
                    Ok(Draft {
                        document: row.get(0)?,
                        base: row.get(1)?,
                        saved_at: time(row.get(2)?).unwrap_or_default(),
                        author: row.get(3)?,
                    })
                })
                .optional()
        }))
    }

    fn save_draft(&self, project: ProjectId, draft: Draft) -> Answer<'_, ()> {
        Box::pin(self.writer.write(draft.document.len(), move |connection| {
            connection
                .execute(
                    "INSERT OR REPLACE INTO rule_drafts
                        (project_id, document, base, saved_at, author)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        project.0,
                        draft.document,
                        draft.base,
                        draft.saved_at.as_microsecond(),
                        draft.author
                    ],
                )
                .map(drop)
        }))
    }

    fn remove_draft(&self, project: ProjectId, draft: Draft) -> Answer<'_, ()> {
        Box::pin(self.writer.write(0, move |connection| {
            connection
                .execute(
                    "DELETE FROM rule_drafts WHERE project_id = ?1 AND document = ?2",
                    params![project.0, draft.document],
                )
                .map(drop)
        }))
    }

    fn save_sightings(&self, sightings: Arc<[Sighting]>) -> Answer<'_, ()> {
        let bytes = sightings.len() * size_of::<Sighting>();
        let installs = self.limits.installs;
        Box::pin(async move {
            let saving = self.writer.write(bytes, move |connection| {
                subscribers::save(connection, &sightings, installs)
            });
            self.tell_of_crowd(saving.await?);
            Ok(())
        })
    }

    fn move_agents(&self, by: SignedDuration) -> Answer<'_, ()> {
        Box::pin(
            self.writer
                .write(0, move |connection| subscribers::move_times(connection, by)),
        )
    }

    fn followers(&self, project: ProjectId) -> Answer<'_, Vec<Follower>> {
        Box::pin(self.read(move |connection| subscribers::all(connection, project)))
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

fn version(connection: &Connection, project: ProjectId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT max(version) FROM rule_versions WHERE project_id = ?1")?
        .query_row([project.0], |row| row.get(0))
}

fn stored(
    connection: &Connection,
    project: ProjectId,
    version: i64,
) -> rusqlite::Result<Option<StoredRules>> {
    connection
        .prepare_cached(
            "SELECT version, document, policy, lease_ends, due, created_at, action, author, reason
             FROM rule_versions WHERE project_id = ?1 AND version = ?2",
        )?
        .query_row([project.0, version], |row| {
            Ok(StoredRules {
                version: row.get(0)?,
                document: row.get(1)?,
                policy: row.get(2)?,
                lease_ends: time(row.get(3)?),
                due: time(row.get(4)?),
                change: change(row, 5)?,
            })
        })
        .optional()
}

fn change(row: &Row<'_>, first: usize) -> rusqlite::Result<Change> {
    Ok(Change {
        created_at: time(row.get(first)?).unwrap_or_default(),
        action: row.get(first + 1)?,
        author: row.get(first + 2)?,
        reason: row.get(first + 3)?,
    })
}

fn time(microseconds: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_microsecond(microseconds?).ok()
}

fn set_rules(
    connection: &Connection,
    project: ProjectId,
    from: Option<i64>,
    rules: &StoredRules,
) -> rusqlite::Result<RulesOutcome> {
    if version(connection, project)? != from {
        return Ok(RulesOutcome::Outdated);
    }
    connection.execute(
        "INSERT INTO rule_versions (project_id, version, document, policy, lease_ends, due,
            created_at, action, author, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            project.0,
            rules.version,
            rules.document,
            rules.policy,
            rules.lease_ends.map(Timestamp::as_microsecond),
            rules.due.map(Timestamp::as_microsecond),
            rules.change.created_at.as_microsecond(),
            rules.change.action,
            rules.change.author,
            rules.change.reason
        ],
    )?;
    if let Some(from) = from {
        forget_renewal(connection, project, from, rules)?;
    }
    forget_oldest(connection, project)?;
    Ok(RulesOutcome::Set)
}

/// Forgets the version `from` when both it and the newer `rules` only went on with the
/// policy of the one before: renewals in time would soon be all that history holds.
fn forget_renewal(
    connection: &Connection,
    project: ProjectId,
    from: i64,
    rules: &StoredRules,
) -> rusqlite::Result<()> {
    if rules.change.author.is_some() || rules.change.reason.is_some() {
        return Ok(());
    }
    connection
        .prepare_cached(
            "DELETE FROM rule_versions WHERE project_id = ?1 AND version = ?2
                AND action = ?3 AND policy = ?4 AND author IS NULL AND reason IS NULL
                AND ?4 = (SELECT policy FROM rule_versions
                    WHERE project_id = ?1 AND version < ?2 ORDER BY version DESC LIMIT 1)",
        )?
        .execute(params![project.0, from, rules.change.action, rules.policy])
        .map(drop)
}

/// Forgets versions beyond [`KEPT_VERSIONS`] and [`KEPT_BYTES`], but not the newest.
fn forget_oldest(connection: &Connection, project: ProjectId) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM rule_versions WHERE project_id = ?1 AND version <=
                (SELECT max(version) FROM (
                    SELECT version, row_number() OVER newest AS place,
                        sum(octet_length(document) + octet_length(policy)) OVER newest AS bytes
                    FROM rule_versions WHERE project_id = ?1
                    WINDOW newest AS (ORDER BY version DESC))
                 WHERE place > 1 AND (place > ?2 OR bytes > ?3))",
        )?
        .execute(params![project.0, KEPT_VERSIONS, KEPT_BYTES])
        .map(drop)
}
