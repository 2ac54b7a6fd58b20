//! The fields of a record that engines keep in columns, so that filters and groups need not read
//! the body.

use std::borrow::Cow;

use guard_wire::Kind;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a column can hold of a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Column<T> {
    /// The field is missing or null.
    #[default]
    Absent,
    /// The value.
    Value(T),
    /// The field has a value of another type than usual. Only the body tells which.
    InBody,
}

impl<T> Column<T> {
    /// The value, if the column holds it.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::InBody => None,
        }
    }

    fn and_then<U>(self, convert: impl FnOnce(T) -> Column<U>) -> Column<U> {
        match self {
            Self::Absent => Column::Absent,
            Self::InBody => Column::InBody,
            Self::Value(value) => convert(value),
        }
    }
}

/// A field whose text repeats between records, so that an engine may keep it in a dictionary. The
/// numbers are stored and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum TextField {
    EventType = 1,
    MetricType = 2,
    InstallId = 3,
    /// An `ip_address` that is no address, such as `system`.
    Address = 4,
    ActionTaken = 5,
    Method = 6,
    Country = 7,
    Endpoint = 8,
    Reason = 9,
    UserAgent = 10,
    RuleType = 11,
    DecoratorType = 12,
    HandlerName = 13,
    PatternMatched = 14,
    /// `guard.rule.id`.
    RuleId = 15,
    /// `guard.service.name`.
    ServiceName = 16,
    /// `guard.deployment.environment`.
    Environment = 17,
    /// `guard.project_id`.
    GuardProject = 18,
    // 19 is `status_code` and 20 the address as bytes, where an engine numbers all fields.
}

/// The fields of a record besides its type, time, address, endpoint and value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// The fields with text that are present.
    texts: Vec<(TextField, Column<String>)>,
    /// `status_code` of an event, `status` of a metric. 1 and up.
    pub status: Column<i64>,
    /// `response_time`, 0 and up.
    pub response_time: Column<f64>,
    /// `guard.threat_score`, 0 and up.
    pub score: Column<i64>,
    /// `guard.rule.version`, 0 and up.
    pub rule_version: Column<i64>,
    /// `guard.behavior.recent_event_count`, 0 and up.
    pub recent: Column<i64>,
    /// `guard.behavior.correlation_key`.
    pub correlation: Column<String>,
    /// `traceparent`.
    pub trace: Column<String>,
}

impl Columns {
    /// The text of `field`.
    pub fn text(&self, field: TextField) -> Column<&str> {
        let found = self.texts.iter().find(|(its, _)| *its == field);
        match found {
            None => Column::Absent,
            Some((_, Column::Value(text))) => Column::Value(text),
            Some(_) => Column::InBody,
        }
    }

    /// Reads the fields from a record's JSON. Text that is not an object has none.
    pub fn of(kind: Kind, body: &str) -> Self {
        match kind {
            Kind::Event => serde_json::from_str(body).map(Self::of_event),
            Kind::Metric => serde_json::from_str(body).map(Self::of_metric),
        }
        .unwrap_or_default()
    }

    fn of_event(fields: EventFields<'_>) -> Self {
        let mut columns = Self::default();
        for (field, raw) in [
            (TextField::ActionTaken, fields.action_taken),
            (TextField::Method, fields.method),
            (TextField::Country, fields.country),
            (TextField::Reason, fields.reason),
            (TextField::UserAgent, fields.user_agent),
            (TextField::RuleType, fields.rule_type),
            (TextField::DecoratorType, fields.decorator_type),
            (TextField::HandlerName, fields.handler_name),
            (TextField::PatternMatched, fields.pattern_matched),
        ] {
            columns.add(field, text(raw));
        }
        columns.status = whole(fields.status_code, 1);
        columns.response_time = real(fields.response_time);
        columns.enrich(fields.metadata);
        columns
    }

    fn of_metric(fields: MetricFields<'_>) -> Self {
        let tags = fields.tags.and_then(object::<TagFields<'_>>);
        let tags = tags.unwrap_or_default();
        let mut columns = Self::default();
        // Guards put these into the tags.
        let method = fields.method.or(tags.method);
        columns.add(TextField::Method, text(method));
        let status = fields.status.or(tags.status);
        columns.status = match whole(status, 1) {
            Column::InBody => text(status).and_then(|text| canonical(&text)),
            status => status,
        };
        columns.enrich(fields.tags);
        columns
    }

    fn enrich(&mut self, bag: Option<&RawValue>) {
        let Some(bag) = bag.filter(|bag| bag.get().starts_with('{')) else {
            return;
        };
        // An object with a key twice is left to the body.
        let Some(found) = object::<Enrichment<'_>>(bag) else {
            for field in ENRICHED {
                self.add(field, Column::InBody);
            }
            (self.score, self.rule_version, self.recent) =
                (Column::InBody, Column::InBody, Column::InBody);
            (self.correlation, self.trace) = (Column::InBody, Column::InBody);
            return;
        };
        let guard = found.guard.is_some();
        let rule = guard || found.rule.is_some();
        let behavior = guard || found.behavior.is_some();
        let service = guard || found.service.is_some();
        let deployment = guard || found.deployment.is_some();
        self.add(TextField::RuleId, Nested::of(found.rule_id, rule).text());
        self.add(
            TextField::ServiceName,
            Nested::of(found.service_name, service).text(),
        );
        self.add(
            TextField::Environment,
            Nested::of(found.environment, deployment).text(),
        );
        self.add(
            TextField::GuardProject,
            Nested::of(found.project_id, guard).text(),
        );
        self.score = Nested::of(found.score, guard).whole();
        self.rule_version = Nested::of(found.rule_version, rule).whole();
        self.recent = Nested::of(found.recent, behavior).whole();
        self.correlation = Nested::of(found.correlation, behavior).text();
        self.trace = text(found.trace);
    }

    fn add(&mut self, field: TextField, text: Column<String>) {
        if text != Column::Absent {
            self.texts.push((field, text));
        }
    }
}

/// The texts of the enrichment.
const ENRICHED: [TextField; 4] = [
    TextField::RuleId,
    TextField::ServiceName,
    TextField::Environment,
    TextField::GuardProject,
];

#[derive(Deserialize)]
struct EventFields<'a> {
    #[serde(borrow)]
    action_taken: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    country: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
    #[serde(borrow)]
    user_agent: Option<&'a RawValue>,
    #[serde(borrow)]
    rule_type: Option<&'a RawValue>,
    #[serde(borrow)]
    decorator_type: Option<&'a RawValue>,
    #[serde(borrow)]
    handler_name: Option<&'a RawValue>,
    #[serde(borrow)]
    pattern_matched: Option<&'a RawValue>,
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    #[serde(borrow)]
    response_time: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MetricFields<'a> {
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct TagFields<'a> {
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

/// The keys that guards add to `metadata` and `tags`. The outer option tells a missing key from a
/// null; the keys without a full name tell that a value may be nested.
#[derive(Deserialize)]
struct Enrichment<'a> {
    #[serde(
        borrow,
        rename = "guard.threat_score",
        default,
        deserialize_with = "present"
    )]
    score: Option<Option<&'a RawValue>>,
    #[serde(
        borrow,
        rename = "guard.rule.id",
        default,
        deserialize_with = "present"
    )]
    rule_id: Option<Option<&'a RawValue>>,
    #[serde(
        borrow,
        rename = "guard.rule.version",
        default,
        deserialize_with = "present"
    )]
    rule_version: Option<Option<&'a RawValue>>,
    #[serde(
        borrow,
        rename = "guard.behavior.correlation_key",
        default,
        deserialize_with = "present"
    )]
    correlation: Option<Option<&'a RawValue>>,
    #[serde(
        borrow,
        rename = "guard.behavior.recent_event_count",
        default,
        deserialize_with = "present"
    )]
    recent: Option<Option<&'a RawValue>>,
    #[serde(
        borrow,
        rename = "guard.project_id",
        default,
        deserialize_with = "present"
    )]
    project_id: Option<Option<&'a RawValue>>,
    #[serde(
        borrow,
        rename = "guard.service.name",
        default,
        deserialize_with = "present"
    )]
    service_name: Option<Option<&'a RawValue>>,
    #[serde(
        borrow,
        rename = "guard.deployment.environment",
        default,
        deserialize_with = "present"
    )]
    environment: Option<Option<&'a RawValue>>,
    #[serde(borrow, rename = "traceparent")]
    trace: Option<&'a RawValue>,
    #[serde(borrow)]
    guard: Option<&'a RawValue>,
    #[serde(borrow, rename = "guard.rule")]
    rule: Option<&'a RawValue>,
    #[serde(borrow, rename = "guard.behavior")]
    behavior: Option<&'a RawValue>,
    #[serde(borrow, rename = "guard.service")]
    service: Option<&'a RawValue>,
    #[serde(borrow, rename = "guard.deployment")]
    deployment: Option<&'a RawValue>,
}

fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<&'de RawValue>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A value, or the possibility that it stands in a nested object.
enum Nested<'a> {
    No(Option<&'a str>),
    Maybe,
}

impl<'a> Nested<'a> {
    fn of(raw: Option<Option<&'a RawValue>>, has_parent: bool) -> Self {
        match raw {
            None if has_parent => Self::Maybe,
            found => Self::No(found.flatten().map(RawValue::get)),
        }
    }

    fn text(&self) -> Column<String> {
        match self {
            Self::Maybe => Column::InBody,
            Self::No(raw) => text_of(*raw),
        }
    }

    fn whole(&self) -> Column<i64> {
        match self {
            Self::Maybe => Column::InBody,
            Self::No(raw) => whole_of(*raw, 0),
        }
    }
}

fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    // Serde would accept an array for a struct, with its items in order.
    let is_object = raw.get().starts_with('{');
    is_object
        .then(|| serde_json::from_str(raw.get()).ok())
        .flatten()
}

fn text(raw: Option<&RawValue>) -> Column<String> {
    text_of(raw.map(RawValue::get))
}

fn text_of(raw: Option<&str>) -> Column<String> {
    match raw {
        None | Some("null") => Column::Absent,
        Some(raw) if raw.starts_with('"') => match serde_json::from_str::<Cow<'_, str>>(raw) {
            Ok(text) => Column::Value(text.into_owned()),
            Err(_) => Column::InBody,
        },
        Some(_) => Column::InBody,
    }
}

fn whole(raw: Option<&RawValue>, least: i64) -> Column<i64> {
    whole_of(raw.map(RawValue::get), least)
}

fn whole_of(raw: Option<&str>, least: i64) -> Column<i64> {
    match raw {
        None | Some("null") => Column::Absent,
        // A float could not tell larger numbers apart.
        Some(raw) => match raw.parse::<i64>() {
            Ok(number) if raw != "-0" && (least..=1 << 53).contains(&number) => {
                Column::Value(number)
            }
            _ => Column::InBody,
        },
    }
}

fn real(raw: Option<&RawValue>) -> Column<f64> {
    match raw.map(RawValue::get) {
        None | Some("null") => Column::Absent,
        Some(raw) => match serde_json::from_str::<f64>(raw) {
            Ok(number) if number >= 0.0 => Column::Value(number),
            _ => Column::InBody,
        },
    }
}

/// A whole number in its usual form, such as `200`.
fn canonical(text: &str) -> Column<i64> {
    match text.parse::<i64>() {
        Ok(number) if (1..=1 << 53).contains(&number) && number.to_string() == text => {
            Column::Value(number)
        }
        _ => Column::InBody,
    }
}
