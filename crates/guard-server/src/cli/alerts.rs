//! `guard-server alerts ...` and `guard-server channels ...`: work directly on the database, with or
//! without a running server.

use std::iter::once;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::alerts_command::{AlertsArgs, AlertsCommand, ChannelsCommand};
use super::config::Args;
use super::projects::named;
use super::secret_file::secret_in;
use super::table::{Table, print, time};
use super::{FAILED, Outcome, failed_with, opened};
use crate::alerts::Channel;
use crate::alerts::manage::{self, AlertView};
use crate::alerts::standing::active_groups;
use crate::people::Actor;
use crate::store::{Project, Stores};
use crate::visible::visible_json;

/// Runs `guard-server alerts`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn alerts(args: &Args, alerts: &AlertsArgs) -> Outcome<()> {
    let (stores, now, actor) = (opened(args).await?, Timestamp::now(), Actor::CLI);
    let project = named(&stores, &alerts.project).await?;
    let added = manage::add_defaults(&stores, &project, now).await;
    added.map_err(failed_with(FAILED))?;
    match &alerts.command {
        AlertsCommand::List => list(&stores, &project, now).await,
        AlertsCommand::Show { id } => {
            let view = found(&stores, &project, id).await?;
            print_json(&serde_json::json!(view))
        }
        AlertsCommand::Add { file } => {
            let settings = Value::Object(object_in(file)?);
            let added = manage::add_alert(&stores, &project, settings, &actor, now).await;
            let added = added.map_err(failed_with(FAILED))?;
            print(once(format!("alert {} added", added.rule.id)))
        }
        AlertsCommand::Set { id, file } => {
            let change = object_in(file)?;
            let changed = manage::change_alert(&stores, &project, id, change, &actor, now).await;
            changed.map_err(failed_with(FAILED))?;
            print(once(format!("alert {id} changed")))
        }
        AlertsCommand::Mute { id, seconds } => {
            let muted = manage::mute_alert(&stores, &project, id, *seconds, &actor, now).await;
            let muted = muted.map_err(failed_with(FAILED))?;
            print(once(match muted.rule.muted_until {
                Some(until) => format!("alert {id} is muted until {}", time(until)),
                None => format!("alert {id} is not muted"),
            }))
        }
        AlertsCommand::History { id, limit } => history(&stores, &project, id, *limit).await,
        AlertsCommand::Remove { id } => {
            let removed = manage::remove_alert(&stores, &project, id, &actor, now).await;
            removed.map_err(failed_with(FAILED))?;
            print(once(format!("alert {id} removed")))
        }
    }
}

/// Runs `guard-server channels`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn channels(args: &Args, command: &ChannelsCommand) -> Outcome<()> {
    let (stores, now, actor) = (opened(args).await?, Timestamp::now(), Actor::CLI);
    match command {
        ChannelsCommand::List => {
            let stored = stores.alerts.channels().await;
            let stored = stored.map_err(failed_with(FAILED))?.into_iter();
            let rows = stored.filter_map(Channel::stored).map(|channel| {
                let target = channel.shown_target();
                [
                    channel.id,
                    channel.label,
                    channel.kind.name().to_owned(),
                    target,
                ]
            });
            let table = Table::new(["id", "label", "type", "target"]).with(rows);
            table.print("no channels")
        }
        ChannelsCommand::Add { file } => {
            let settings = Value::Object(object_in(file)?);
            let added = manage::add_channel(&stores, settings, &actor, now).await;
            let added = added.map_err(failed_with(FAILED))?;
            print(once(format!("channel {} added", added.id)))
        }
        ChannelsCommand::Remove { id } => {
            let removed = manage::remove_channel(&stores, id, &actor, now).await;
            removed.map_err(failed_with(FAILED))?;
            print(once(format!("channel {id} removed")))
        }
    }
}

async fn views(stores: &Stores, project: &Project) -> Outcome<Vec<AlertView>> {
    let stored = stores.alerts.alerts(project.id).await;
    let stored = stored.map_err(failed_with(FAILED))?;
    Ok(stored.iter().filter_map(AlertView::stored).collect())
}

async fn found(stores: &Stores, project: &Project, id: &str) -> Outcome<AlertView> {
    let mut views = views(stores, project).await?.into_iter();
    let missing = || manage::ManageError::NoSuchAlert(id.to_owned());
    let found = views.find(|view| view.rule.id == id).ok_or_else(missing);
    found.map_err(failed_with(FAILED))
}

async fn list(stores: &Stores, project: &Project, now: Timestamp) -> Outcome<()> {
    let states = stores.alerts.alert_states().await;
    let states = states.map_err(failed_with(FAILED))?;
    let rows = views(stores, project).await?.into_iter().map(|view| {
        let rule = view.rule;
        let its = states
            .iter()
            .filter(|it| it.project == project.id && it.alert == rule.id);
        let active = active_groups(&rule, its.cloned().collect());
        let stands = match (rule.settings.enabled, active.first()) {
            (false, _) => "disabled".to_owned(),
            (true, Some(first)) => format!("since {}", time(first.since.0)),
            (true, None) => "calm".to_owned(),
        };
        let muted = rule.muted_until.filter(|until| now < *until);
        let muted = muted.map_or_else(String::new, |until| format!("until {}", time(until)));
        let condition = rule.settings.condition.name().to_owned();
        [rule.id, rule.settings.label, condition, stands, muted]
    });
    let table = Table::new(["id", "label", "condition", "state", "muted"]);
    table.with(rows).print("no alerts")
}

async fn history(stores: &Stores, project: &Project, id: &str, limit: u16) -> Outcome<()> {
    found(stores, project, id).await?;
    let page = stores
        .alerts
        .alert_history(project.id, id, None, limit)
        .await;
    let page = page.map_err(failed_with(FAILED))?;
    let rows = page.items.into_iter().map(|entry| {
        let what: Value = serde_json::from_str(&entry.content).unwrap_or_default();
        let text = |name: &str| what[name].as_str().unwrap_or_default().to_owned();
        let channel = text("channel_label");
        let said = if channel.is_empty() {
            text("summary")
        } else {
            text("detail")
        };
        [time(entry.at), text("event"), channel, said]
    });
    let table = Table::new(["at", "event", "channel", "what"]);
    table.with(rows).print("nothing happened yet")
}

fn print_json(json: &Value) -> Outcome<()> {
    print(once(visible_json(&format!("{json:#}")).into_owned()))
}

/// The JSON object in a file.
fn object_in(file: &Path) -> Outcome<Map<String, Value>> {
    // The file of a channel holds secrets.
    let text = secret_in(file)?;
    serde_json::from_str(text.expose()).map_err(|error| {
        let file = file.display();
        (FAILED, format!("{file} holds no JSON object: {error}"))
    })
}
