//! Managing projects and their keys: what the operator API and the command line share. Each change
//! is in the audit log.

mod view;

use jiff::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;

pub use self::view::{
    KindFigures, ProjectDetails, ProjectFigures, ProjectView, RecordFigures, StorageFigures,
    details, figures,
};

use crate::DEFAULT_PROJECT;
use crate::people::{Actor, AuditEntry, Change};
use crate::projects::key::{self, InvalidLabel, KeyHash, KeyId, NewKey, NoRandomness};
use crate::projects::name::{InvalidName, check_name};
use crate::projects::{ApiKey, Project, SettingsChange, SettingsError};
use crate::secret::Secret;
use crate::store::{AddOutcome, StoreError, Stores};

/// The most projects of a server.
pub const MAX_PROJECTS: u32 = 1000;
/// The most keys of a project.
pub const MAX_KEYS: u32 = 100;
/// How often a change is tried again when others change the same settings.
const TRIES: usize = 5;

/// Why a change was refused. Nothing changed then.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// The name is not valid.
    #[error("name: {0}")]
    Name(#[from] InvalidName),
    /// The name is taken.
    #[error("there is a project {0} already; choose another name")]
    Exists(String),
    /// There are too many projects.
    #[error("there are {MAX_PROJECTS} projects already; remove some that are no longer used")]
    TooManyProjects,
    /// The project was removed meanwhile.
    #[error("there is no project {0}")]
    NoSuchProject(String),
    /// Every start creates this project.
    #[error(
        "the project {DEFAULT_PROJECT} cannot be removed: each start of the server sets it up again"
    )]
    Default,
    /// A setting is not valid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Others change the same settings all the time.
    #[error("somebody else changes these settings right now; try again")]
    Busy,
    /// The label is not valid.
    #[error("label: {0}")]
    Label(#[from] InvalidLabel),
    /// There are too many keys.
    #[error("the project has {MAX_KEYS} keys already; revoke some that are no longer used")]
    TooManyKeys,
    /// There is no such key.
    #[error("the project {project} has no key {id}; the list of its keys shows their ids")]
    NoSuchKey {
        /// The project.
        project: String,
        /// The id.
        id: String,
    },
    /// The change could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Creates a project.
///
/// # Errors
///
/// [`ProjectError`] if the name is not valid or taken, there are too many, or the store fails.
pub async fn create_project(
    stores: &Stores,
    name: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<Project, ProjectError> {
    check_name(name)?;
    let change = Change {
        action: "project.add",
        project: Some(name.to_owned()),
        object: name.to_owned(),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    let created = stores
        .projects
        .create_project(name, now, MAX_PROJECTS, Some(entry));
    match created.await? {
        AddOutcome::Added => {}
        AddOutcome::Exists => return Err(ProjectError::Exists(name.to_owned())),
        AddOutcome::Full => return Err(ProjectError::TooManyProjects),
    }
    let created = stores.projects.project_named(name).await?;
    created.ok_or_else(|| ProjectError::NoSuchProject(name.to_owned()))
}

/// Changes the settings of a project. Returns the project after the change.
///
/// # Errors
///
/// [`ProjectError`] if a setting is not valid, the project is gone, or the store fails.
pub async fn change_project(
    stores: &Stores,
    name: &str,
    change: SettingsChange,
    actor: &Actor,
    now: Timestamp,
) -> Result<Project, ProjectError> {
    for _ in 0..TRIES {
        let found = stores.projects.project_named(name).await?;
        let before = found.ok_or_else(|| ProjectError::NoSuchProject(name.to_owned()))?;
        let after = before.changed(change.clone())?;
        let (old, new) = differences(&before, &after);
        let change = Change {
            action: "project.change",
            project: Some(name.to_owned()),
            object: name.to_owned(),
            before: old,
            after: new,
        };
        let entry = AuditEntry::new(actor, change, now);
        let changed = stores
            .projects
            .change_project(before, after.clone(), Some(entry));
        if changed.await? {
            return Ok(after);
        }
    }
    Err(ProjectError::Busy)
}

/// The settings that differ, before and after. Of a secret it says only that it was replaced.
fn differences(before: &Project, after: &Project) -> (Value, Value) {
    let secrets = [
        (
            "encryption_key",
            before.encryption_key != after.encryption_key,
        ),
        (
            "signing_secret",
            before.signing_secret != after.signing_secret,
        ),
    ];
    let is_set = |project: &Project| {
        let secrets = [&project.encryption_key, &project.signing_secret];
        secrets.map(|secret| secret.is_some().then_some("set"))
    };
    let [mut old, mut new] = [before, after].map(|project| match json!(project.settings) {
        Value::Object(settings) => settings,
        _ => serde_json::Map::new(),
    });
    old.retain(|field, value| new.get(field) != Some(value));
    new.retain(|field, _| old.contains_key(field));
    let changed = secrets
        .into_iter()
        .zip(is_set(before).into_iter().zip(is_set(after)));
    for ((field, _), (was, is)) in changed.filter(|((_, is_changed), _)| *is_changed) {
        let is = is.map(|_| if was.is_some() { "replaced" } else { "set" });
        old.insert(field.to_owned(), json!(was));
        new.insert(field.to_owned(), json!(is));
    }
    (Value::Object(old), Value::Object(new))
}

/// Removes a project. Its keys end at once; its data is removed afterwards, in steps. Returns the
/// keys that ended.
///
/// # Errors
///
/// [`ProjectError`] for the default project, and if the store fails.
pub async fn remove_project(
    stores: &Stores,
    project: Project,
    actor: &Actor,
    now: Timestamp,
) -> Result<Vec<KeyId>, ProjectError> {
    if project.name == DEFAULT_PROJECT {
        return Err(ProjectError::Default);
    }
    let keys = stores.projects.keys(project.id).await?;
    let (id, name) = (project.id, project.name.clone());
    let change = Change {
        action: "project.remove",
        project: Some(name.clone()),
        object: name.clone(),
        before: json!(ProjectView::from(project)),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    if !stores.projects.remove_project(id, now, Some(entry)).await? {
        return Err(ProjectError::NoSuchProject(name));
    }
    Ok(keys.into_iter().map(|key| key.id).collect())
}

/// Makes a key. Returns its id, and the key, which is not stored.
///
/// # Errors
///
/// [`ProjectError`] if the label is not valid, there are too many keys, or the store fails.
pub async fn add_key(
    stores: &Stores,
    project: &Project,
    label: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<(KeyId, Secret), ProjectError> {
    key::check_label(label)?;
    let (id, secret) = (KeyId::random()?, key::new_key()?);
    let new = NewKey {
        hash: KeyHash::of(secret.expose()),
        id: id.clone(),
        label: label.to_owned(),
        created_at: now,
        created_by: actor.who.to_string(),
    };
    let change = Change {
        action: "key.add",
        project: Some(project.name.clone()),
        object: id.0.clone(),
        after: json!({ "label": label }),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    match stores
        .projects
        .add_key(project.id, new, MAX_KEYS, Some(entry))
        .await?
    {
        AddOutcome::Added => Ok((id, secret)),
        AddOutcome::Full => Err(ProjectError::TooManyKeys),
        AddOutcome::Exists => Err(NoRandomness.into()),
    }
}

/// Revokes a key. It is refused from the next request on.
///
/// # Errors
///
/// [`ProjectError`] if the project has no such key, or the store fails.
pub async fn revoke_key(
    stores: &Stores,
    project: &Project,
    id: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<KeyId, ProjectError> {
    let none = || ProjectError::NoSuchKey {
        project: project.name.clone(),
        id: id.to_owned(),
    };
    let mut keys = stores.projects.keys(project.id).await?.into_iter();
    let ApiKey { id, label, .. } = keys.find(|key| key.id.0 == id).ok_or_else(none)?;
    let change = Change {
        action: "key.revoke",
        project: Some(project.name.clone()),
        object: id.0.clone(),
        before: json!({ "label": label }),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    if !stores
        .projects
        .remove_key(project.id, id.clone(), Some(entry))
        .await?
    {
        return Err(none());
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::{ProjectId, Settings};

    #[test]
    fn the_audit_log_gets_what_differs_and_no_secret() {
        let before = Project {
            id: ProjectId(1),
            name: "shop".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            settings: Settings::default(),
            encryption_key: None,
            signing_secret: Some("hush".into()),
        };
        let change = json!({ "quota_per_minute": 7, "signing_secret": "hush hush",
            "encryption_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" });
        let after = before
            .changed(serde_json::from_value(change).unwrap())
            .unwrap();
        let (old, new) = differences(&before, &after);
        assert_eq!(
            old,
            json!({ "quota_per_minute": null, "require_signature": false,
                "encryption_key": null, "signing_secret": "set" })
        );
        assert_eq!(
            new,
            json!({ "quota_per_minute": 7, "require_signature": true,
                "encryption_key": "set", "signing_secret": "replaced" })
        );
    }
}
