//! Adding, changing and removing alerts.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ManageError;
use crate::alerts::defaults::default_alerts;
use crate::alerts::delivery::channels;
use crate::alerts::rule::MAX_ALERTS;
use crate::alerts::{AlertError, AlertRule, AlertSettings};
use crate::fingerprint::fingerprint;
use crate::people::credential::new_id;
use crate::people::{Actor, AuditEntry, Change};
use crate::query::Utc;
use crate::store::{Project, StoreError, StoredAlert, Stores};

/// The longest time for which an alert can be muted: 30 days.
pub const MAX_MUTE: u64 = 30 * 86_400;

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

fn of_alert(
    action: &'static str,
    project: &Project,
    id: &str,
    before: Value,
    after: Value,
) -> Change {
    Change {
        action,
        project: Some(project.name.clone()),
        object: id.to_owned(),
        before,
        after,
    }
}
