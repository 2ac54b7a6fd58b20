//! Projects and keys in PostgreSQL.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;

use super::rows::{ReadError, column, count, json, optional_timestamp, text, timestamp};
use super::session::{Session, Transaction};
use super::{AdvisoryLock, Postgres};
use crate::people::AuditEntry;
use crate::projects::activity::Activity;
use crate::projects::{ApiKey, KeyHash, KeyId, KeyOwner, NewKey};
use crate::secret::Secret;
use crate::store::{
    AddOutcome, BoxFuture, Project, ProjectId, ProjectSettings, Projects, StoreError,
};

/// The columns of a project, in the order that [`project`] reads.
const COLUMNS: &str = "projects.id, projects.name, projects.created_at, projects.settings, \
                       projects.encryption_key, projects.signing_secret";
/// Who creates the keys that the options of a start set.
const SERVER: &str = "server";
/// The label of such keys.
const START: &str = "set at start";

impl Projects for Postgres {
    fn key_owner(&self, key: KeyHash) -> BoxFuture<'_, Option<KeyOwner>> {
        Box::pin(async move { key_owner(&self.session().await?, &key).await })
    }

    fn project_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Project>> {
        Box::pin(async move { named(&self.session().await?, name).await })
    }

    fn projects(&self) -> BoxFuture<'_, Vec<Project>> {
        Box::pin(async move {
            let list =
                format!("SELECT {COLUMNS} FROM projects WHERE removed_at IS NULL ORDER BY name");
            self.session().await?.all(&list, &[], project).await
        })
    }

    fn create_project<'a>(
        &'a self,
        name: &'a str,
        now: Timestamp,
        limit: u32,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, AddOutcome> {
        Box::pin(async move {
            let change = self.begin().await?;
            change.lock(AdvisoryLock::Projects).await?;
            let all = "SELECT count(*) FROM projects WHERE removed_at IS NULL";
            let outcome = if named(&change, name).await?.is_some() {
                AddOutcome::Exists
            } else if change.one(all, &[], count).await? >= u64::from(limit) {
                AddOutcome::Full
            } else {
                create(&change, name, now).await?;
                AddOutcome::Added
            };
            change.commit_audited(outcome, entry).await
        })
    }

    fn save_project<'a>(
        &'a self,
        name: &'a str,
        settings: ProjectSettings,
    ) -> BoxFuture<'a, AddOutcome> {
        Box::pin(async move {
            let change = self.begin().await?;
            change.lock(AdvisoryLock::Projects).await?;
            let outcome = start_with(&change, name, settings, Timestamp::now()).await?;
            change.commit_audited(outcome, None).await
        })
    }

    fn change_project(
        &self,
        from: Project,
        to: Project,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let change = self.begin().await?;
            change.lock_project(from.id).await?;
            let find =
                format!("SELECT {COLUMNS} FROM projects WHERE id = $1 AND removed_at IS NULL");
            let found = change.first(&find, &[&from.id.0], project).await?;
            let is_unchanged = found.as_ref() == Some(&from);
            if is_unchanged {
                update(&change, &to).await?;
            }
            change.commit_audited(is_unchanged, entry).await
        })
    }

    fn remove_project(
        &self,
        project: ProjectId,
        now: Timestamp,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let change = self.begin().await?;
            let is_there = change.lock_project(project).await?;
            if is_there {
                // No project can have such a name, so the old one is free.
                let remove = "UPDATE projects SET name = '#' || id, removed_at = $2,
                        settings = '{}', encryption_key = NULL, signing_secret = NULL
                    WHERE id = $1";
                change
                    .execute(remove, &[&project.0, &now.as_microsecond()])
                    .await?;
                let revoke = "DELETE FROM api_keys WHERE project_id = $1";
                change.execute(revoke, &[&project.0]).await?;
            }
            change.commit_audited(is_there, entry).await
        })
    }

    fn sweep(&self) -> BoxFuture<'_, bool> {
        Box::pin(self.sweep_part())
    }

    fn removed_projects(&self) -> BoxFuture<'_, Vec<ProjectId>> {
        Box::pin(async move {
            let day = SignedDuration::from_hours(24);
            let lately = Timestamp::now() - day;
            let find = "SELECT id FROM projects WHERE removed_at > $1 ORDER BY id";
            let session = self.session().await?;
            session
                .all(find, &[&lately.as_microsecond()], |row| {
                    Ok(ProjectId(column(row)?))
                })
                .await
        })
    }

    fn probe(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let write = "INSERT INTO probes (id, at) VALUES (1, $1)
                ON CONFLICT (id) DO UPDATE SET at = excluded.at";
            let session = self.session().await?;
            session
                .execute(write, &[&Timestamp::now().as_microsecond()])
                .await
                .map(drop)
        })
    }

    fn keys(&self, project: ProjectId) -> BoxFuture<'_, Vec<ApiKey>> {
        Box::pin(async move {
            let list = "SELECT id, label, created_at, created_by, last_used_at FROM api_keys
                WHERE project_id = $1 ORDER BY created_at, id";
            self.session()
                .await?
                .all(list, &[&project.0], api_key)
                .await
        })
    }

    fn add_key(
        &self,
        project: ProjectId,
        key: NewKey,
        limit: u32,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, AddOutcome> {
        Box::pin(async move {
            let change = self.begin().await?;
            let all = "SELECT count(*) FROM api_keys WHERE project_id = $1";
            // A project that another node has just removed has no room for keys.
            let has_room = change.lock_project(project).await?
                && change.one(all, &[&project.0], count).await? < u64::from(limit);
            let outcome = if has_room {
                add_key(&change, project, &key).await?
            } else {
                AddOutcome::Full
            };
            change.commit_audited(outcome, entry).await
        })
    }

    fn remove_key(
        &self,
        project: ProjectId,
        key: KeyId,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let change = self.begin().await?;
            let remove = "DELETE FROM api_keys WHERE project_id = $1 AND id = $2";
            let removed = change.execute(remove, &[&project.0, &text(&key.0)]).await?;
            change.commit_audited(removed > 0, entry).await
        })
    }

    fn live_keys(&self, keys: Vec<KeyId>) -> BoxFuture<'_, Vec<KeyId>> {
        Box::pin(async move {
            let ids: Vec<&str> = keys.iter().map(|key| &*key.0).collect();
            let find = "SELECT id FROM api_keys WHERE id = ANY ($1)";
            let session = self.session().await?;
            session
                .all(find, &[&ids], |row| Ok(KeyId(column(row)?)))
                .await
        })
    }

    fn save_activity(&self, activity: Activity) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let change = self.begin().await?;
            change.lock(AdvisoryLock::Activity).await?;
            save_activity(&change, &activity).await?;
            change.commit().await
        })
    }

    fn refusals(&self, project: ProjectId) -> BoxFuture<'_, BTreeMap<String, u64>> {
        Box::pin(async move {
            let find = "SELECT n, reason FROM refusals WHERE project_id = $1";
            let session = self.session().await?;
            let found = session
                .all(find, &[&project.0], |row| {
                    Ok((row.try_get(1)?, count(row)?))
                })
                .await?;
            Ok(found.into_iter().collect())
        })
    }
}

async fn key_owner(session: &Session<'_>, key: &KeyHash) -> Result<Option<KeyOwner>, StoreError> {
    let find = format!(
        "SELECT {COLUMNS}, api_keys.id
         FROM api_keys JOIN projects ON projects.id = project_id WHERE hash = $1"
    );
    let hash = key.as_bytes().as_slice();
    let owner = |row: &Row| {
        Ok(KeyOwner {
            project: project(row)?,
            key: KeyId(row.try_get(6)?),
        })
    };
    session.first(&find, &[&hash], owner).await
}

async fn named(session: &Session<'_>, name: &str) -> Result<Option<Project>, StoreError> {
    let find = format!("SELECT {COLUMNS} FROM projects WHERE name = $1 AND removed_at IS NULL");
    session.first(&find, &[&text(name)], project).await
}

fn project(row: &Row) -> Result<Project, ReadError> {
    let secret = |text: Option<String>| text.map(Secret::from);
    Ok(Project {
        id: ProjectId(row.try_get(0)?),
        name: row.try_get(1)?,
        created_at: timestamp(row, 2)?,
        settings: json(row, 3)?,
        encryption_key: secret(row.try_get(4)?),
        signing_secret: secret(row.try_get(5)?),
    })
}

fn api_key(row: &Row) -> Result<ApiKey, ReadError> {
    Ok(ApiKey {
        id: KeyId(row.try_get(0)?),
        label: row.try_get(1)?,
        created_at: timestamp(row, 2)?,
        created_by: row.try_get(3)?,
        last_used_at: optional_timestamp(row, 4)?,
    })
}

async fn create(change: &Transaction<'_>, name: &str, now: Timestamp) -> Result<(), StoreError> {
    let add = "INSERT INTO projects (name, created_at) VALUES ($1, $2)";
    change
        .execute(add, &[&name, &now.as_microsecond()])
        .await
        .map(drop)
}

async fn update(change: &Transaction<'_>, project: &Project) -> Result<(), StoreError> {
    let settings = change.to_json(&project.settings)?;
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|it| it.expose().to_owned());
    let set = "UPDATE projects SET settings = $2, encryption_key = $3, signing_secret = $4
        WHERE id = $1";
    let (encryption, signing) = (
        secret(&project.encryption_key),
        secret(&project.signing_secret),
    );
    change
        .execute(set, &[&project.id.0, &settings, &encryption, &signing])
        .await
        .map(drop)
}

async fn start_with(
    change: &Transaction<'_>,
    name: &str,
    mut settings: ProjectSettings,
    now: Timestamp,
) -> Result<AddOutcome, StoreError> {
    let key = settings.key.take();
    let owner = match &key {
        Some(key) => key_owner(change, key).await?,
        None => None,
    };
    if owner.is_some_and(|owner| owner.project.name != name) {
        return Ok(AddOutcome::Exists);
    }
    if named(change, name).await?.is_none() {
        create(change, name, now).await?;
    }
    let project = named(change, name).await?.ok_or(StoreError::Unavailable)?;
    let id = project.id;
    update(change, &project.started_with(settings)).await?;
    if let Some(hash) = key {
        let old = "DELETE FROM api_keys WHERE project_id = $1 AND created_by = $2 AND hash <> $3";
        change
            .execute(old, &[&id.0, &SERVER, &hash.as_bytes().as_slice()])
            .await?;
        let key = NewKey {
            hash,
            id: KeyId::random().map_err(|error| change.unwritable(&error))?,
            label: START.to_owned(),
            created_at: now,
            created_by: SERVER.to_owned(),
        };
        // It may be there from an earlier start.
        add_key(change, id, &key).await?;
    }
    Ok(AddOutcome::Added)
}

async fn add_key(
    change: &Transaction<'_>,
    project: ProjectId,
    key: &NewKey,
) -> Result<AddOutcome, StoreError> {
    let add = "INSERT INTO api_keys (hash, project_id, id, label, created_at, created_by)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let added = change
        .execute(
            add,
            &[
                &key.hash.as_bytes().as_slice(),
                &project.0,
                &key.id.0,
                &key.label,
                &key.created_at.as_microsecond(),
                &key.created_by,
            ],
        )
        .await?;
    Ok(if added > 0 {
        AddOutcome::Added
    } else {
        AddOutcome::Exists
    })
}

async fn save_activity(change: &Transaction<'_>, activity: &Activity) -> Result<(), StoreError> {
    // Another node may have saved a later use.
    let used = "UPDATE api_keys SET last_used_at = greatest(last_used_at, used.at)
        FROM unnest($1::text[], $2::bigint[]) AS used (id, at) WHERE api_keys.id = used.id";
    let (keys, times): (Vec<&str>, Vec<i64>) = activity
        .used
        .iter()
        .map(|(key, at)| (&*key.0, at.as_microsecond()))
        .unzip();
    change.execute(used, &[&keys, &times]).await?;
    let refused = "INSERT INTO refusals (project_id, reason, n)
        SELECT id, reason, sum(n)::bigint
        FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS refused (project, reason, n)
        JOIN projects ON id = project AND removed_at IS NULL GROUP BY id, reason
        ON CONFLICT (project_id, reason) DO UPDATE SET n = refusals.n + excluded.n";
    let projects: Vec<i64> = activity
        .refused
        .iter()
        .map(|(project, ..)| project.0)
        .collect();
    let reasons: Vec<&str> = activity
        .refused
        .iter()
        .map(|(_, why, _)| why.as_str())
        .collect();
    let counts = activity.refused.iter();
    let counts: Vec<i64> = counts
        .map(|(.., n)| i64::try_from(*n).unwrap_or(i64::MAX))
        .collect();
    change
        .execute(refused, &[&projects, &reasons, &counts])
        .await
        .map(drop)
}
