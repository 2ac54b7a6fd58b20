//! An alert: a condition, and when and where to notify.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::condition::{Condition, field_of};
use super::error::{AlertError, read, within};
use super::quiet_hours::QuietHours;
use crate::projects::key::check_label;
use crate::query::Utc;
use crate::query::filter::Field;

/// The most alerts of a project.
pub const MAX_ALERTS: usize = 2000;
/// The most channels of an alert.
pub const MAX_ALERT_CHANNELS: usize = 20;
/// Default of `update_interval_s`.
const UPDATE_INTERVAL: u64 = 3600;
/// The shortest `update_interval_s`.
const MIN_UPDATE_INTERVAL: u64 = 60;
/// The longest `update_interval_s`: a week.
const MAX_UPDATE_INTERVAL: u64 = 604_800;

/// An alert of a project.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertRule {
    /// Identifies it in its project.
    pub id: String,
    /// Its settings.
    #[serde(flatten)]
    pub settings: AlertSettings,
    /// No notifications are sent until then.
    #[serde(serialize_with = "utc")]
    pub muted_until: Option<Timestamp>,
}

fn utc<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(Utc).serialize(serializer)
}

/// What a person sets of an alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertSettings {
    /// Its name, for people.
    pub label: String,
    /// What it watches for.
    pub condition: Condition,
    /// The ids of the channels that are told. Without any, the alert is only shown.
    pub channels: Vec<String>,
    /// Watch for each value of this field alone, such as `ip_address`.
    pub group_by: Option<String>,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// While it lasts, send updates at most this often.
    pub update_interval_s: u64,
    /// A span of each day without notifications. If the alert still lasts afterwards, they are
    /// told then.
    pub quiet_hours: Option<QuietHours>,
}

/// The settings as they are read, before they are checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    label: String,
    condition: Value,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    group_by: Option<String>,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default = "update_interval")]
    update_interval_s: u64,
    #[serde(default)]
    quiet_hours: Option<QuietHours>,
}

const fn yes() -> bool {
    true
}

const fn update_interval() -> u64 {
    UPDATE_INTERVAL
}

impl AlertSettings {
    /// An alert with the defaults of all other fields.
    pub(super) fn new(label: &str, condition: Condition) -> Self {
        Self {
            label: label.to_owned(),
            condition,
            channels: Vec::new(),
            group_by: None,
            enabled: true,
            update_interval_s: UPDATE_INTERVAL,
            quiet_hours: None,
        }
    }

    /// Reads and checks the settings of an alert. Fields other than `label` and `condition` have
    /// defaults.
    ///
    /// # Errors
    ///
    /// [`AlertError`] with the path of the wrong field.
    pub fn read(json: Value) -> Result<Self, AlertError> {
        let given: Given = read(json)?;
        let condition = Condition::read(given.condition)?;
        let label = check_label(&given.label);
        label.map_err(|error| AlertError::alert("label", error.to_string()))?;
        if given.channels.len() > MAX_ALERT_CHANNELS {
            let problem = format!("give at most {MAX_ALERT_CHANNELS}");
            return Err(AlertError::alert("channels", problem));
        }
        if let Some(name) = &given.group_by {
            field_of("group_by", name)?;
            if !condition.can_group() {
                let problem = format!(
                    "a condition of type {} has no groups; leave it out",
                    condition.name()
                );
                return Err(AlertError::alert("group_by", problem));
            }
        }
        within(
            "update_interval_s",
            given.update_interval_s,
            MIN_UPDATE_INTERVAL,
            MAX_UPDATE_INTERVAL,
        )?;
        if let Some(hours) = &given.quiet_hours {
            hours.check()?;
        }
        Ok(Self {
            label: given.label,
            condition,
            channels: given.channels,
            group_by: given.group_by,
            enabled: given.enabled,
            update_interval_s: given.update_interval_s,
            quiet_hours: given.quiet_hours,
        })
    }

    /// The settings after a change: each field that `change` names is replaced; null sets it to its
    /// default.
    ///
    /// # Errors
    ///
    /// [`AlertError`] with the path of the wrong field.
    pub fn changed(&self, change: Map<String, Value>) -> Result<Self, AlertError> {
        let mut json =
            serde_json::to_value(self).map_err(|error| AlertError::alert("", error.to_string()))?;
        if let Value::Object(fields) = &mut json {
            for (name, value) in change {
                if value.is_null() {
                    fields.remove(&name);
                } else {
                    fields.insert(name, value);
                }
            }
        }
        Self::read(json)
    }

    /// The field that it is grouped by.
    pub fn group_field(&self) -> Option<Field> {
        let name = self.group_by.as_deref()?;
        field_of("group_by", name).ok()
    }
}

impl AlertRule {
    /// Whether notifications are held back at `now`.
    pub fn is_silenced(&self, now: Timestamp) -> bool {
        let quiet = self.settings.quiet_hours.as_ref();
        self.muted_until.is_some_and(|until| now < until)
            || quiet.is_some_and(|hours| hours.contains(now))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Value {
        json!({
            "label": "Brute force",
            "condition": { "type": "threshold", "filter": "endpoint:/login", "count": 10, "window_s": 60 },
            "group_by": "ip_address",
        })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut json = settings();
        json[key] = value;
        json
    }

    #[test]
    fn settings_have_defaults_and_are_written_as_they_are_read() {
        let read = AlertSettings::read(settings()).unwrap();
        assert!(read.enabled && read.channels.is_empty());
        assert_eq!(read.update_interval_s, 3600);
        let json = serde_json::to_value(&read).unwrap();
        assert_eq!(AlertSettings::read(json).unwrap(), read);
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        for (json, field) in [
            (json!({}), "label"),
            (with("label", json!("")), "label"),
            (with("label", json!("a\nb")), "label"),
            (with("channel", json!([])), "channel"),
            (with("channels", json!(["a", 1])), "channels[1]"),
            (with("channels", json!(vec!["a"; 21])), "channels"),
            (with("group_by", json!("adress")), "group_by"),
            (
                with("condition", json!({ "type": "rule_rejected" })),
                "group_by",
            ),
            (with("condition", json!({ "type": "x" })), "condition.type"),
            (with("update_interval_s", json!(1)), "update_interval_s"),
            (
                with("quiet_hours", json!({ "from": "22:00" })),
                "quiet_hours.to",
            ),
            (
                with(
                    "quiet_hours",
                    json!({ "from": "22:00", "to": "07:00", "tz": "Mars" }),
                ),
                "quiet_hours.tz",
            ),
        ] {
            assert_eq!(
                AlertSettings::read(json.clone()).unwrap_err().field,
                field,
                "{json}"
            );
        }
    }

    #[test]
    fn a_change_replaces_what_it_names() {
        let settings = AlertSettings::read(settings()).unwrap();
        let change = |json: Value| settings.changed(json.as_object().unwrap().clone());
        let changed = change(json!({ "enabled": false, "group_by": null })).unwrap();
        assert_eq!((changed.enabled, &changed.group_by), (false, &None));
        assert_eq!(changed.condition, settings.condition);
        assert_eq!(change(json!({ "label": null })).unwrap_err().field, "label");
        assert_eq!(change(json!({ "id": "x" })).unwrap_err().field, "id");
    }
}
