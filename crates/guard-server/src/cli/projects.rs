//! `guard-server projects ...` and `guard-server keys ...`: work directly on the database, with or
//! without a running server.

use std::iter::once;

use jiff::Timestamp;

use super::config::Args;
use super::projects_command::{KeysArgs, KeysCommand, ProjectsCommand, SettingArgs};
use super::secret_file::secret_in;
use super::table::{Table, print, time};
use super::{FAILED, Outcome, failed_with, opened};
use crate::people::Actor;
use crate::project_admin::{
    add_key, change_project, create_project, details, remove_project, revoke_key,
};
use crate::projects::SettingsChange;
use crate::store::{Project, Stores};
use crate::visible::visible_json;

/// Runs `guard-server projects`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn projects(args: &Args, command: &ProjectsCommand) -> Outcome<()> {
    let (stores, now) = (opened(args).await?, Timestamp::now());
    match command {
        ProjectsCommand::List => list(&stores).await,
        ProjectsCommand::Show { name } => {
            let project = named(&stores, name).await?;
            let details = details(&stores, project)
                .await
                .map_err(failed_with(FAILED))?;
            let details = serde_json::json!(details);
            print(once(visible_json(&format!("{details:#}")).into_owned()))
        }
        ProjectsCommand::Create { name } => {
            create_project(&stores, name, &Actor::CLI, now)
                .await
                .map_err(failed_with(FAILED))?;
            print(once(format!(
                "project {name} created; guard-server keys create makes a key"
            )))
        }
        ProjectsCommand::Set { name, settings } => {
            let change = change(settings)?;
            change_project(&stores, name, change, &Actor::CLI, now)
                .await
                .map_err(failed_with(FAILED))?;
            print(once(format!("project {name} changed")))
        }
        ProjectsCommand::Remove { name, yes } => {
            let project = named(&stores, name).await?;
            if !yes {
                let message = format!(
                    "this removes the project {name} with all its records, rules and keys, for \
                     good; to do it, add --yes"
                );
                return Err((FAILED, message));
            }
            remove_project(&stores, project, &Actor::CLI, now)
                .await
                .map_err(failed_with(FAILED))?;
            while stores.projects.sweep().await.map_err(failed_with(FAILED))? {}
            while stores.sweep_records().await.map_err(failed_with(FAILED))? {}
            print(once(format!("project {name} removed")))
        }
    }
}

/// Runs `guard-server keys`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn keys(args: &Args, keys: &KeysArgs) -> Outcome<()> {
    let (stores, now) = (opened(args).await?, Timestamp::now());
    let project = named(&stores, &keys.project).await?;
    match &keys.command {
        KeysCommand::List => list_keys(&stores, &project).await,
        KeysCommand::Create { label } => {
            let made = add_key(&stores, &project, label, &Actor::CLI, now).await;
            let (id, key) = made.map_err(failed_with(FAILED))?;
            let lines = [
                format!("id: {}", id.0),
                format!("API key, shown only this once: {}", key.expose()),
            ];
            print(lines.into_iter())
        }
        KeysCommand::Revoke { id } => {
            revoke_key(&stores, &project, id, &Actor::CLI, now)
                .await
                .map_err(failed_with(FAILED))?;
            print(once(format!("key {id} revoked")))
        }
    }
}

/// The project called `name`.
pub(super) async fn named(stores: &Stores, name: &str) -> Outcome<Project> {
    let project = stores.projects.project_named(name).await;
    let missing = || (FAILED, format!("there is no project {name}"));
    project.map_err(failed_with(FAILED))?.ok_or_else(missing)
}

async fn list(stores: &Stores) -> Outcome<()> {
    let projects = stores.projects.projects().await;
    let projects = projects.map_err(failed_with(FAILED))?.into_iter();
    let none = || "none".to_owned();
    let rows = projects.map(|project| {
        let settings = project.settings;
        [
            project.name,
            time(project.created_at),
            settings.retention_days.to_string(),
            settings
                .retention_bytes
                .map_or_else(none, |it| it.to_string()),
            settings
                .quota_per_minute
                .map_or_else(none, |it| it.to_string()),
        ]
    });
    Table::new(["NAME", "CREATED", "DAYS", "BYTES", "QUOTA"])
        .with(rows)
        .print("there are no projects yet: start guard-server once first")
}

async fn list_keys(stores: &Stores, project: &Project) -> Outcome<()> {
    let keys = stores.projects.keys(project.id).await;
    let keys = keys.map_err(failed_with(FAILED))?.into_iter();
    let rows = keys.map(|key| {
        let last_used = key.last_used_at.map_or_else(|| "never".to_owned(), time);
        let created = time(key.created_at);
        [key.id.0, key.label, created, key.created_by, last_used]
    });
    Table::new(["ID", "LABEL", "CREATED", "BY", "LAST USED"])
        .with(rows)
        .print("the project has no keys")
}

fn change(args: &SettingArgs) -> Outcome<SettingsChange> {
    let listed = |list: &String| {
        let items = list.split(',').map(str::trim).filter(|it| !it.is_empty());
        items.map(str::to_owned).collect()
    };
    let secret = |file: &Option<_>| file.as_deref().map(secret_in).transpose();
    Ok(SettingsChange {
        retention_days: args.retention_days,
        retention_bytes: args.retention_bytes.map(|limit| limit.0),
        raw_metrics_hours: args.raw_metrics_hours,
        require_encryption: args.require_encryption,
        require_signature: args.require_signature,
        ip_allowlist: args.ip_allowlist.as_ref().map(listed),
        quota_per_minute: args.quota_per_minute.map(|limit| limit.0),
        encryption_key: secret(&args.encryption_key_file)?.map(Some),
        signing_secret: secret(&args.signing_secret_file)?.map(Some),
    })
}
