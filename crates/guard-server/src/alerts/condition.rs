//! What an alert watches for.
//!
//! In JSON a condition is an object whose `type` names it. Each type has its own fields; an unknown
//! one is refused. Durations are whole seconds.

use std::sync::Arc;

use guard_wire::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{AlertError, read, within};
use crate::query::filter::{Field, Filter};

/// The shortest window, in seconds. Conditions are evaluated about this often.
pub const MIN_WINDOW: u64 = 10;
/// The longest window, in seconds: a day.
pub const MAX_WINDOW: u64 = 86_400;
/// The largest count.
pub const MAX_COUNT: u64 = 1_000_000_000;
/// The largest ratio.
pub const MAX_RATIO: f64 = 1_000.0;

/// The types, as `type` names them.
const TYPES: [&str; 8] = [
    "threshold",
    "rise",
    "first_seen",
    "agent_silent",
    "losses",
    "storage",
    "rule_rejected",
    "sign_in_failures",
];

/// What an alert watches for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Condition {
    /// So many events match a filter within a window.
    Threshold(Threshold),
    /// More events match a filter within a window than in the equally long window before it.
    Rise(Rise),
    /// A field of an event has a value that no event had before.
    FirstSeen(FirstSeen),
    /// An agent has been silent for a while.
    AgentSilent(AgentSilent),
    /// Agents or the server lost records.
    Losses(CountInWindow),
    /// The disk or the project's share of it fills up.
    Storage(Storage),
    /// Agents refuse the rules that were published.
    RuleRejected(Nothing),
    /// Wrong passwords at the server itself, over all projects.
    SignInFailures(CountInWindow),
}

/// So many events match `filter` within the last `window_s` seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// In the filter language. Empty matches every event.
    #[serde(default)]
    pub filter: String,
    /// This many or more.
    pub count: u64,
    /// The length of the window.
    pub window_s: u64,
}

/// Events that match `filter` within the last `window_s` seconds: at least `minimum`, and at least
/// `ratio` times as many as in the window before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rise {
    /// In the filter language. Empty matches every event.
    #[serde(default)]
    pub filter: String,
    /// How many times as many: above 1.
    pub ratio: f64,
    /// Fewer than this are never a rise.
    pub minimum: u64,
    /// The length of each window.
    pub window_s: u64,
}

/// `field` of an event that matches `filter` has a value that was not seen before. It ends when no
/// new value came for `window_s` seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstSeen {
    /// In the filter language. Empty matches every event.
    #[serde(default)]
    pub filter: String,
    /// The field, such as `country`.
    pub field: String,
    /// How long a new value keeps the alert going.
    #[serde(default = "hour")]
    pub window_s: u64,
}

/// An agent has not reported for `after_s` seconds, although the server could receive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSilent {
    /// For how long. The default is three status intervals.
    #[serde(default = "quarter")]
    pub after_s: u64,
}

/// At least `count` within the last `window_s` seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountInWindow {
    /// This many or more.
    pub count: u64,
    /// The length of the window.
    pub window_s: u64,
}

/// The disk fills up within `days_left` days, the project uses `used_percent` of its
/// `retention_bytes`, or the server refuses records because the disk is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// At the present growth.
    #[serde(default = "week")]
    pub days_left: u64,
    /// Of `retention_bytes`. Left out, a project may use all of it: the oldest records give way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<u64>,
}

/// A condition without parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

const fn hour() -> u64 {
    3600
}

const fn quarter() -> u64 {
    900
}

const fn week() -> u64 {
    7
}

impl FirstSeen {
    /// The field.
    pub fn field(&self) -> Option<Field> {
        field_of("field", &self.field).ok()
    }
}

impl Condition {
    /// Reads and checks a condition.
    ///
    /// # Errors
    ///
    /// [`AlertError`] with the path of the wrong field below `condition`.
    pub fn read(json: Value) -> Result<Self, AlertError> {
        let condition = Self::parse(json).and_then(|condition| {
            condition.check()?;
            Ok(condition)
        });
        condition.map_err(|error| error.below("condition"))
    }

    fn parse(json: Value) -> Result<Self, AlertError> {
        let Value::Object(mut fields) = json else {
            return Err(AlertError::alert("", "give an object with a type"));
        };
        let name = fields.remove("type").unwrap_or_default();
        let rest = Value::Object(fields);
        match name.as_str().unwrap_or_default() {
            "threshold" => read(rest).map(Self::Threshold),
            "rise" => read(rest).map(Self::Rise),
            "first_seen" => read(rest).map(Self::FirstSeen),
            "agent_silent" => read(rest).map(Self::AgentSilent),
            "losses" => read(rest).map(Self::Losses),
            "storage" => read(rest).map(Self::Storage),
            "rule_rejected" => read(rest).map(Self::RuleRejected),
            "sign_in_failures" => read(rest).map(Self::SignInFailures),
            _ => {
                let problem = format!("{name} is no condition; give one of {}", TYPES.join(", "));
                Err(AlertError::alert("type", problem))
            }
        }
    }

    fn check(&self) -> Result<(), AlertError> {
        match self {
            Self::Threshold(it) => {
                filter_of(&it.filter)?;
                within("count", it.count, 1, MAX_COUNT)?;
                window("window_s", it.window_s)
            }
            Self::Rise(it) => {
                filter_of(&it.filter)?;
                // Also refuses what is not a number.
                if !(it.ratio > 1.0 && it.ratio <= MAX_RATIO) {
                    let problem = format!("give a number above 1, up to {MAX_RATIO}");
                    return Err(AlertError::alert("ratio", problem));
                }
                within("minimum", it.minimum, 1, MAX_COUNT)?;
                window("window_s", it.window_s)
            }
            Self::FirstSeen(it) => {
                filter_of(&it.filter)?;
                field_of("field", &it.field)?;
                window("window_s", it.window_s)
            }
            Self::AgentSilent(it) => within("after_s", it.after_s, 60, MAX_WINDOW),
            Self::Losses(it) | Self::SignInFailures(it) => {
                within("count", it.count, 1, MAX_COUNT)?;
                window("window_s", it.window_s)
            }
            Self::Storage(it) => {
                within("days_left", it.days_left, 1, 365)?;
                it.used_percent
                    .map_or(Ok(()), |percent| within("used_percent", percent, 1, 100))
            }
            Self::RuleRejected(Nothing {}) => Ok(()),
        }
    }

    /// What `type` is in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Threshold(_) => "threshold",
            Self::Rise(_) => "rise",
            Self::FirstSeen(_) => "first_seen",
            Self::AgentSilent(_) => "agent_silent",
            Self::Losses(_) => "losses",
            Self::Storage(_) => "storage",
            Self::RuleRejected(_) => "rule_rejected",
            Self::SignInFailures(_) => "sign_in_failures",
        }
    }

    /// The events that it is about, if it is about events.
    pub fn filter(&self) -> Option<Arc<Filter>> {
        let text = match self {
            Self::Threshold(it) => &it.filter,
            Self::Rise(it) => &it.filter,
            Self::FirstSeen(it) => &it.filter,
            _ => return None,
        };
        Filter::parse(Kind::Event, text).ok().map(Arc::new)
    }

    /// Whether it can be watched for each value of a field.
    pub const fn can_group(&self) -> bool {
        matches!(self, Self::Threshold(_) | Self::Rise(_))
    }
}

fn window(field: &str, seconds: u64) -> Result<(), AlertError> {
    within(field, seconds, MIN_WINDOW, MAX_WINDOW)
}

fn filter_of(text: &str) -> Result<Filter, AlertError> {
    Filter::parse(Kind::Event, text).map_err(|error| AlertError {
        position: Some(error.position),
        ..AlertError::new("invalid_filter", "filter", error.to_string())
    })
}

/// The field of events with this name.
pub(super) fn field_of(path: &str, name: &str) -> Result<Field, AlertError> {
    let found = Field::find(Kind::Event, name).map(|(field, _)| field);
    found.map_err(|nearest| {
        let problem = format!("{name:?} is not a field of events; did you mean {nearest}?");
        AlertError::alert(path, problem)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_are_written_as_they_are_read() {
        for json in [
            json!({ "type": "threshold", "filter": "endpoint:/login", "count": 10, "window_s": 60 }),
            json!({ "type": "rise", "filter": "", "ratio": 3.0, "minimum": 100, "window_s": 300 }),
            json!({ "type": "first_seen", "filter": "", "field": "country", "window_s": 3600 }),
            json!({ "type": "agent_silent", "after_s": 900 }),
            json!({ "type": "losses", "count": 1, "window_s": 300 }),
            json!({ "type": "storage", "days_left": 7, "used_percent": 90 }),
            json!({ "type": "rule_rejected" }),
            json!({ "type": "sign_in_failures", "count": 20, "window_s": 300 }),
        ] {
            let condition = Condition::read(json.clone()).unwrap();
            assert_eq!(condition.name(), json["type"]);
            assert_eq!(serde_json::to_value(condition).unwrap(), json);
        }
        let silent = Condition::read(json!({ "type": "agent_silent" })).unwrap();
        let expected = AgentSilent { after_s: 900 };
        assert_eq!(silent, Condition::AgentSilent(expected));
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        for (json, field) in [
            (json!("threshold"), "condition"),
            (json!({}), "condition.type"),
            (json!({ "type": "tide" }), "condition.type"),
            (
                json!({ "type": "threshold", "count": 1 }),
                "condition.window_s",
            ),
            (
                json!({ "type": "threshold", "count": 1, "window_s": 0 }),
                "condition.window_s",
            ),
            (
                json!({ "type": "threshold", "count": 0, "window_s": 60 }),
                "condition.count",
            ),
            (
                json!({ "type": "threshold", "count": "5", "window_s": 60 }),
                "condition.count",
            ),
            (
                json!({ "type": "threshold", "count": 1, "window_s": 60, "windows": 1 }),
                "condition.windows",
            ),
            (
                json!({ "type": "rise", "ratio": 1, "minimum": 1, "window_s": 60 }),
                "condition.ratio",
            ),
            (
                json!({ "type": "first_seen", "field": "countri" }),
                "condition.field",
            ),
            (
                json!({ "type": "agent_silent", "after_s": 1 }),
                "condition.after_s",
            ),
            (
                json!({ "type": "storage", "days_left": 0 }),
                "condition.days_left",
            ),
            (
                json!({ "type": "rule_rejected", "count": 1 }),
                "condition.count",
            ),
        ] {
            let error = Condition::read(json.clone()).unwrap_err();
            assert_eq!(
                (error.code, &*error.field),
                ("invalid_alert", field),
                "{json}"
            );
        }
    }

    #[test]
    fn a_filter_that_does_not_parse_is_refused_with_the_position() {
        let json = json!({ "type": "threshold", "filter": "a OR (b", "count": 1, "window_s": 60 });
        let error = Condition::read(json).unwrap_err();
        assert_eq!(
            (error.code, &*error.field),
            ("invalid_filter", "condition.filter")
        );
        assert_eq!(error.position, Some(5));
    }
}
