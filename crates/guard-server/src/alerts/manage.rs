//! Adding, changing and removing alerts and channels, for the API and the command line. Each change
//! has an entry in the audit log.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::channel::MAX_CHANNELS;
use super::defaults::default_alerts;
use super::delivery::channels;
use super::rule::MAX_ALERTS;
use super::{AlertError, AlertRule, AlertSettings, Channel};
use crate::fingerprint::fingerprint;
use crate::people::credential::{NoRandomness, new_id};
use crate::people::{Actor, AuditEntry, Change};
use crate::query::Utc;
use crate::store::{Project, StoreError, StoredAlert, Stores};

/// The longest time for which an alert can be muted: 30 days.
pub const MAX_MUTE: u64 = 30 * 86_400;

/// Why an alert or a channel cannot be added, changed or removed.
#[derive(Debug, Error)]
pub enum ManageError {
    /// A field is wrong.
    #[error(transparent)]
    Field(#[from] AlertError),
    /// There is no such alert.
    #[error("there is no alert {0} in this project")]
    NoSuchAlert(String),
    /// There is no such channel.
    #[error("there is no channel {0}")]
    NoSuchChannel(String),
    /// There are too many.
    #[error("there are {limit} {what} already; remove one first")]
    TooMany {
        /// Alerts or channels.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Alerts use the channel.
    #[error("these alerts use the channel: {0}; take it out of them first")]
    InUse(String),
    /// Somebody else changed it at the same time.
    #[error("somebody changed it at the same time; read it again and repeat the change")]
    Changed,
    /// No id could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An alert of a project, with who created it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertView {
    /// The alert.
    #[serde(flatten)]
    pub rule: AlertRule,
    /// When it was created.
    pub created_at: Utc,
    /// Who created it.
    pub created_by: String,
}

impl AlertView {
    /// From what is stored. `None` if only a newer version can read it.
    pub fn stored(stored: &StoredAlert) -> Option<Self> {
        let json = serde_json::from_str(&stored.content).ok()?;
        Some(Self {
            rule: AlertRule {
                id: stored.id.clone(),
                settings: AlertSettings::read(json).ok()?,
                muted_until: stored.muted_until,
            },
            created_at: Utc(stored.created_at),
            created_by: stored.created_by.clone(),
        })
    }
}

/// Gives a project its default alerts, if it never had them.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn add_defaults(
    stores: &Stores,
    project: &Project,
    now: Timestamp,
) -> Result<(), StoreError> {
    let alerts = default_alerts().into_iter().map(|settings| StoredAlert {
        project: project.id,
        id: fingerprint(&[&project.name, &settings.label, &now.to_string()])[..16].to_owned(),
        created_at: now,
        created_by: Actor::SERVER.who.to_string(),
        content: json!(settings).to_string(),
        muted_until: None,
    });
    let added = stores
        .alerts
        .add_default_alerts(project.id, alerts.collect());
    added.await.map(drop)
}

/// Adds an alert to a project.
///
/// # Errors
///
/// [`ManageError`] if a field is wrong, there are too many alerts, or the store fails.
pub async fn add_alert(
    stores: &Stores,
    project: &Project,
    json: Value,
    actor: &Actor,
    now: Timestamp,
) -> Result<AlertView, ManageError> {
    let settings = AlertSettings::read(json)?;
    check_channels(stores, &settings).await?;
    let stored = StoredAlert {
        project: project.id,
        id: new_id()?,
        created_at: now,
        created_by: actor.who.to_string(),
        content: json!(settings).to_string(),
        muted_until: None,
    };
    let change = of_alert(
        "alert.add",
        project,
        &stored.id,
        Value::Null,
        json!(settings),
    );
    let entry = Some(AuditEntry::new(actor, change, now));
    let added = stores.alerts.add_alert(stored.clone(), MAX_ALERTS, entry);
    if !added.await? {
        return Err(ManageError::TooMany {
            what: "alerts",
            limit: MAX_ALERTS,
        });
    }
    view(&stored)
}

/// Changes the settings that `change` names.
///
/// # Errors
///
/// [`ManageError`] if there is no such alert, a field is wrong, or the store fails.
pub async fn change_alert(
    stores: &Stores,
    project: &Project,
    id: &str,
    change: Map<String, Value>,
    actor: &Actor,
    now: Timestamp,
) -> Result<AlertView, ManageError> {
    let from = stored_alert(stores, project, id).await?;
    let before = view(&from)?.rule.settings;
    let after = before.changed(change)?;
    check_channels(stores, &after).await?;
    let to = StoredAlert {
        content: json!(after).to_string(),
        ..from.clone()
    };
    let change = of_alert("alert.change", project, id, json!(before), json!(after));
    replace(stores, from, &to, AuditEntry::new(actor, change, now)).await?;
    view(&to)
}

/// Mutes an alert for `seconds`; 0 ends that.
///
/// # Errors
///
/// [`ManageError`] if there is no such alert, the time is too long, or the store fails.
pub async fn mute_alert(
    stores: &Stores,
    project: &Project,
    id: &str,
    seconds: u64,
    actor: &Actor,
    now: Timestamp,
) -> Result<AlertView, ManageError> {
    let length = i64::try_from(seconds).ok().filter(|_| seconds <= MAX_MUTE);
    let Some(length) = length.map(SignedDuration::from_secs) else {
        let problem = format!("{seconds} is out of range; give 0 to {MAX_MUTE}");
        return Err(AlertError::alert("duration_s", problem).into());
    };
    let from = stored_alert(stores, project, id).await?;
    let until = now.saturating_add(length).unwrap_or(now);
    let to = StoredAlert {
        muted_until: (seconds > 0).then_some(until),
        ..from.clone()
    };
    let (before, after) = (from.muted_until, to.muted_until);
    let (before, after) = (
        json!({ "muted_until": before }),
        json!({ "muted_until": after }),
    );
    let change = of_alert("alert.mute", project, id, before, after);
    replace(stores, from, &to, AuditEntry::new(actor, change, now)).await?;
    view(&to)
}

/// Removes an alert, with its history.
///
/// # Errors
///
/// [`ManageError`] if there is no such alert, or the store fails.
pub async fn remove_alert(
    stores: &Stores,
    project: &Project,
    id: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), ManageError> {
    let stored = stored_alert(stores, project, id).await?;
    let before = serde_json::from_str(&stored.content).unwrap_or_default();
    let change = of_alert("alert.remove", project, id, before, Value::Null);
    let entry = Some(AuditEntry::new(actor, change, now));
    let removed = stores.alerts.remove_alert(project.id, id, entry).await?;
    let missing = || ManageError::NoSuchAlert(id.to_owned());
    removed.map(drop).ok_or_else(missing)
}

/// Replaces an alert, unless somebody else changed it.
async fn replace(
    stores: &Stores,
    from: StoredAlert,
    to: &StoredAlert,
    entry: AuditEntry,
) -> Result<(), ManageError> {
    let changed = stores.alerts.change_alert(from, to.clone(), Some(entry));
    changed.await?.then_some(()).ok_or(ManageError::Changed)
}

async fn stored_alert(
    stores: &Stores,
    project: &Project,
    id: &str,
) -> Result<StoredAlert, ManageError> {
    let all = stores.alerts.alerts(project.id).await?;
    let found = all.into_iter().find(|it| it.id == id);
    found.ok_or_else(|| ManageError::NoSuchAlert(id.to_owned()))
}

fn view(stored: &StoredAlert) -> Result<AlertView, ManageError> {
    AlertView::stored(stored).ok_or_else(|| {
        let problem = "it was written by a newer version of guard-server; update this one";
        AlertError::alert("", problem).into()
    })
}

/// Each channel of an alert must exist.
async fn check_channels(stores: &Stores, settings: &AlertSettings) -> Result<(), ManageError> {
    if settings.channels.is_empty() {
        return Ok(());
    }
    let known = channels(&*stores.alerts).await?;
    let wrong = settings
        .channels
        .iter()
        .position(|id| !known.contains_key(id));
    wrong.map_or(Ok(()), |at| {
        let problem = "there is no such channel; see GET /api/v1/channels";
        Err(AlertError::alert(format!("channels[{at}]"), problem).into())
    })
}

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

fn of_alert(
    action: &'static str,
    project: &Project,
    id: &str,
    before: Value,
    after: Value,
) -> Change {
    Change {
        project: Some(project.name.clone()),
        ..of_channel(action, id, before, after)
    }
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
