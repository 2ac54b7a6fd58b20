//! Adding, changing and removing channels.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{AlertView, ManageError};
use crate::alerts::Channel;
use crate::alerts::channel::MAX_CHANNELS;
use crate::alerts::delivery::channels;
use crate::people::credential::new_id;
use crate::people::{Actor, AuditEntry, Change};
use crate::store::Stores;

/// Adds a channel.
///
/// # Errors
///
/// [`ManageError`] if a field is wrong, there are too many channels, or the store fails.
pub async fn add_channel(
    stores: &Stores,
    json: Value,
    actor: &Actor,
    now: Timestamp,
) -> Result<Channel, ManageError> {
    let channel = Channel::read(new_id()?, json)?;
    let stored = channel.to_stored(now, actor.who.to_string());
    let change = of_channel("channel.add", &channel.id, Value::Null, channel.shown());
    let entry = Some(AuditEntry::new(actor, change, now));
    let added = stores.alerts.add_channel(stored, MAX_CHANNELS, entry);
    if !added.await? {
        return Err(ManageError::TooMany {
            what: "channels",
            limit: MAX_CHANNELS,
        });
    }
    Ok(channel)
}

/// Changes what `change` names of a channel. Its type stays.
///
/// # Errors
///
/// [`ManageError`] if there is no such channel, a field is wrong, or the store fails.
pub async fn change_channel(
    stores: &Stores,
    id: &str,
    change: Map<String, Value>,
    actor: &Actor,
    now: Timestamp,
) -> Result<Channel, ManageError> {
    let all = stores.alerts.channels().await?;
    let from = all.into_iter().find(|it| it.id == id);
    let from = from.ok_or_else(|| ManageError::NoSuchChannel(id.to_owned()))?;
    let before = Channel::stored(from.clone());
    let before = before.ok_or_else(|| ManageError::NoSuchChannel(id.to_owned()))?;
    let after = before.changed(change)?;
    let to = after.to_stored(from.created_at, from.created_by.clone());
    let mut shown = after.shown();
    // Shown targets may be equal although the secret parts differ.
    shown["target_changed"] = (before.target != after.target).into();
    shown["secret_changed"] = (before.secret != after.secret).into();
    let change = of_channel("channel.change", id, before.shown(), shown);
    let entry = Some(AuditEntry::new(actor, change, now));
    if !stores.alerts.change_channel(from, to, entry).await? {
        return Err(ManageError::Changed);
    }
    Ok(after)
}

/// Removes a channel that no alert uses.
///
/// # Errors
///
/// [`ManageError`] if there is no such channel, alerts use it, or the store fails.
pub async fn remove_channel(
    stores: &Stores,
    id: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), ManageError> {
    let alerts = stores.alerts.all_alerts().await?;
    let views = alerts.iter().filter_map(AlertView::stored);
    let uses = views.filter(|it| it.rule.settings.channels.iter().any(|its| its == id));
    let labels: Vec<_> = uses.map(|it| it.rule.settings.label).take(5).collect();
    if !labels.is_empty() {
        return Err(ManageError::InUse(labels.join(", ")));
    }
    let known = channels(&*stores.alerts).await?;
    let missing = || ManageError::NoSuchChannel(id.to_owned());
    let before = known.get(id).ok_or_else(missing)?.shown();
    let change = of_channel("channel.remove", id, before, Value::Null);
    let entry = Some(AuditEntry::new(actor, change, now));
    let removed = stores.alerts.remove_channel(id, entry).await?;
    removed.map(drop).ok_or_else(missing)
}

fn of_channel(action: &'static str, id: &str, before: Value, after: Value) -> Change {
    Change {
        action,
        project: None,
        object: id.to_owned(),
        before,
        after,
    }
}
