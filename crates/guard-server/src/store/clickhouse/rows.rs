//! The rows that are inserted.

use std::net::IpAddr;

use clickhouse::Row;
use guard_wire::Kind;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Untyped;
use crate::query::filter::{Field, Subject};
use crate::store::{Batch, Column, Columns, NewRecord, StoreError, TextField};

/// A row of `events`.
#[derive(Debug, Clone, Row, Serialize)]
pub(super) struct EventRow {
    pub(super) project: i64,
    /// Microseconds since the epoch.
    pub(super) timestamp: i64,
    key: u128,
    /// Given when it is written.
    pub(super) arrival: u64,
    received_at: i64,
    install_id: Option<String>,
    event_type: String,
    action_taken: Option<String>,
    method: Option<String>,
    country: Option<String>,
    endpoint: Option<String>,
    ip_address: Option<String>,
    reason: Option<String>,
    user_agent: Option<String>,
    status_code: Option<i64>,
    response_time: Option<f64>,
    rule_type: Option<String>,
    decorator_type: Option<String>,
    handler_name: Option<String>,
    pattern_matched: Option<String>,
    threat_score: Option<i64>,
    rule_id: Option<String>,
    rule_version: Option<i64>,
    service_name: Option<String>,
    environment: Option<String>,
    guard_project: Option<String>,
    recent_event_count: Option<i64>,
    correlation_key: Option<String>,
    traceparent: Option<String>,
    untyped: Vec<(u8, String)>,
    metadata: Vec<(String, String)>,
    pub(super) body: String,
}

/// A row of `metrics`.
#[derive(Debug, Clone, Row, Serialize)]
pub(super) struct MetricRow {
    pub(super) project: i64,
    /// Microseconds since the epoch.
    pub(super) timestamp: i64,
    key: u128,
    /// Given when it is written.
    pub(super) arrival: u64,
    received_at: i64,
    install_id: Option<String>,
    metric_type: String,
    endpoint: Option<String>,
    method: Option<String>,
    status: Option<i64>,
    value: Option<f64>,
    threat_score: Option<i64>,
    rule_id: Option<String>,
    rule_version: Option<i64>,
    service_name: Option<String>,
    environment: Option<String>,
    guard_project: Option<String>,
    recent_event_count: Option<i64>,
    correlation_key: Option<String>,
    traceparent: Option<String>,
    untyped: Vec<(u8, String)>,
    tags: Vec<(String, String)>,
    pub(super) body: String,
}

/// The rows of a batch, in the order of its records.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) events: Vec<EventRow>,
    pub(super) metrics: Vec<MetricRow>,
}

impl Rows {
    /// The rows of a batch.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the system has no random numbers.
    pub(super) fn of(batch: Batch) -> Result<Self, StoreError> {
        let mut seed = [0; 16];
        let filled = SystemRandom::new().fill(&mut seed);
        filled.map_err(|_| StoreError::Unavailable)?;
        // A random key for each record without one.
        let mut random = u128::from_ne_bytes(seed);
        let mut key = |record: &mut NewRecord| match record.idempotency_key.take() {
            Some(key) => key_of(&key),
            None => {
                random = random.wrapping_add(1);
                random
            }
        };
        let received_at = batch.received_at.as_microsecond();
        let (project, install) = (batch.project.0, batch.install_id);
        let events = batch.events.into_iter().map(|mut record| {
            let key = key(&mut record);
            EventRow {
                project,
                key,
                received_at,
                install_id: install.clone(),
                ..EventRow::of(record)
            }
        });
        let events = events.collect();
        let metrics = batch.metrics.into_iter().map(|mut record| {
            let key = key(&mut record);
            MetricRow {
                project,
                key,
                received_at,
                install_id: install.clone(),
                ..MetricRow::of(record)
            }
        });
        Ok(Self {
            events,
            metrics: metrics.collect(),
        })
    }

    /// Roughly the memory that they hold.
    pub(super) fn bytes(&self) -> usize {
        let events = self.events.iter();
        let metrics = self.metrics.iter();
        events
            .map(|row| 2 * row.body.len() + size_of::<EventRow>())
            .chain(metrics.map(|row| 2 * row.body.len() + size_of::<MetricRow>()))
            .sum()
    }
}

impl EventRow {
    fn of(record: NewRecord) -> Self {
        let mut fields = Fields::new(Kind::Event, &record.columns, &record.body);
        let ip_address = record.ip.map(|text| fields.address(text));
        Self {
            project: 0,
            timestamp: record.timestamp.as_microsecond(),
            key: 0,
            arrival: 0,
            received_at: 0,
            install_id: None,
            event_type: record.type_name,
            action_taken: fields.text(TextField::ActionTaken),
            method: fields.text(TextField::Method),
            country: fields.text(TextField::Country),
            endpoint: record.endpoint,
            ip_address,
            reason: fields.text(TextField::Reason),
            user_agent: fields.text(TextField::UserAgent),
            status_code: fields.status(),
            response_time: fields.response_time(),
            rule_type: fields.text(TextField::RuleType),
            decorator_type: fields.text(TextField::DecoratorType),
            handler_name: fields.text(TextField::HandlerName),
            pattern_matched: fields.text(TextField::PatternMatched),
            threat_score: fields.score(),
            rule_id: fields.text(TextField::RuleId),
            rule_version: fields.rule_version(),
            service_name: fields.text(TextField::ServiceName),
            environment: fields.text(TextField::Environment),
            guard_project: fields.text(TextField::GuardProject),
            recent_event_count: fields.recent(),
            correlation_key: fields.correlation(),
            traceparent: fields.trace(),
            metadata: fields.bag(),
            untyped: fields.untyped,
            body: record.body,
        }
    }
}

impl MetricRow {
    fn of(record: NewRecord) -> Self {
        let mut fields = Fields::new(Kind::Metric, &record.columns, &record.body);
        Self {
            project: 0,
            timestamp: record.timestamp.as_microsecond(),
            key: 0,
            arrival: 0,
            received_at: 0,
            install_id: None,
            metric_type: record.type_name,
            endpoint: record.endpoint,
            method: fields.text(TextField::Method),
            status: fields.status(),
            value: record.value,
            threat_score: fields.score(),
            rule_id: fields.text(TextField::RuleId),
            rule_version: fields.rule_version(),
            service_name: fields.text(TextField::ServiceName),
            environment: fields.text(TextField::Environment),
            guard_project: fields.text(TextField::GuardProject),
            recent_event_count: fields.recent(),
            correlation_key: fields.correlation(),
            traceparent: fields.trace(),
            tags: fields.bag(),
            untyped: fields.untyped,
            body: record.body,
        }
    }
}

/// The hash of an idempotency key. Stored, so it never changes.
pub(super) fn key_of(text: &str) -> u128 {
    let mut head = [0; 16];
    head.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    u128::from_be_bytes(head)
}

/// The fields of a record besides its type, time and endpoint.
struct Fields<'a> {
    kind: Kind,
    columns: &'a Columns,
    body: &'a str,
    /// Read only if a column does not hold the value.
    parsed: Option<Map<String, Value>>,
    untyped: Vec<(u8, String)>,
}

impl<'a> Fields<'a> {
    const fn new(kind: Kind, columns: &'a Columns, body: &'a str) -> Self {
        Self {
            kind,
            columns,
            body,
            parsed: None,
            untyped: Vec::new(),
        }
    }

    fn text(&mut self, field: TextField) -> Option<String> {
        match self.columns.text(field) {
            Column::Absent => None,
            Column::Value(text) => Some(text.to_owned()),
            Column::InBody => self.other_text(name_of(field), field as u8),
        }
    }

    fn correlation(&mut self) -> Option<String> {
        match &self.columns.correlation {
            Column::Absent => None,
            Column::Value(text) => Some(text.clone()),
            Column::InBody => {
                let name = Name::Enrichment("guard.behavior.correlation_key");
                self.other_text(name, Untyped::Correlation as u8)
            }
        }
    }

    fn trace(&mut self) -> Option<String> {
        match &self.columns.trace {
            Column::Absent => None,
            Column::Value(text) => Some(text.clone()),
            Column::InBody => {
                self.other_text(Name::Enrichment("traceparent"), Untyped::Trace as u8)
            }
        }
    }

    fn status(&mut self) -> Option<i64> {
        let name = match self.kind {
            Kind::Event => "status_code",
            Kind::Metric => "status",
        };
        self.whole(
            self.columns.status,
            1,
            Name::Field(name),
            Untyped::Status as u8,
        )
    }

    fn score(&mut self) -> Option<i64> {
        let name = Name::Enrichment("guard.threat_score");
        self.whole(self.columns.score, 0, name, Untyped::Score as u8)
    }

    fn rule_version(&mut self) -> Option<i64> {
        let name = Name::Enrichment("guard.rule.version");
        let number = Untyped::RuleVersion as u8;
        self.whole(self.columns.rule_version, 0, name, number)
    }

    fn recent(&mut self) -> Option<i64> {
        let name = Name::Enrichment("guard.behavior.recent_event_count");
        self.whole(self.columns.recent, 0, name, Untyped::Recent as u8)
    }

    fn response_time(&mut self) -> Option<f64> {
        match self.columns.response_time {
            Column::Absent => None,
            Column::Value(seconds) => Some(seconds),
            Column::InBody => {
                let value = self.value(Name::Field("response_time"))?;
                self.untyped
                    .push((Untyped::ResponseTime as u8, value.to_string()));
                None
            }
        }
    }

    /// The canonical form of an address, or other text unchanged.
    fn address(&mut self, text: String) -> String {
        let Ok(address) = text.parse::<IpAddr>() else {
            return text;
        };
        let canonical = address.to_string();
        if canonical != text {
            let json = Value::String(text).to_string();
            self.untyped.push((Untyped::Address as u8, json));
        }
        canonical
    }

    /// A value that is no text goes to `untyped`.
    fn other_text(&mut self, name: Name, number: u8) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text),
            other => {
                self.untyped.push((number, other.to_string()));
                None
            }
        }
    }

    fn whole(&mut self, column: Column<i64>, least: i64, name: Name, number: u8) -> Option<i64> {
        match column {
            Column::Absent => None,
            Column::Value(value) => Some(value),
            Column::InBody => {
                let value = self.value(name)?;
                // It may stand in a nested object.
                let whole = value.as_i64().filter(|n| (least..=1 << 53).contains(n));
                if whole.is_none() {
                    self.untyped.push((number, value.to_string()));
                }
                whole
            }
        }
    }

    fn value(&mut self, name: Name) -> Option<Value> {
        let body = self.body;
        let parsed = self.parsed.get_or_insert_with(|| parsed(body));
        let field = match name {
            Name::Field(name) => Field::Named(name),
            Name::Enrichment(key) => Field::Key {
                object: Field::object(self.kind),
                key: key.to_owned(),
            },
        };
        let subject = Subject {
            body: parsed,
            timestamp: None,
            install_id: None,
        };
        subject.value(&field).cloned()
    }

    /// The keys of `metadata` or `tags`, with their values as JSON.
    fn bag(&self) -> Vec<(String, String)> {
        #[derive(Deserialize)]
        struct Bags<'a> {
            #[serde(borrow)]
            metadata: Option<&'a RawValue>,
            #[serde(borrow)]
            tags: Option<&'a RawValue>,
        }
        let object = match serde_json::from_str::<Bags<'_>>(self.body) {
            Ok(bags) => {
                let raw = match self.kind {
                    Kind::Event => bags.metadata,
                    Kind::Metric => bags.tags,
                };
                raw.and_then(|raw| serde_json::from_str::<Map<String, Value>>(raw.get()).ok())
            }
            // An object that is there twice: the last one counts.
            Err(_) => match parsed(self.body).remove(Field::object(self.kind)) {
                Some(Value::Object(object)) => Some(object),
                _ => None,
            },
        };
        let pairs = object.unwrap_or_default().into_iter();
        pairs.map(|(key, value)| (key, value.to_string())).collect()
    }
}

fn parsed(body: &str) -> Map<String, Value> {
    serde_json::from_str(body).unwrap_or_default()
}

/// Where a field stands.
#[derive(Clone, Copy)]
enum Name {
    /// In the record itself.
    Field(&'static str),
    /// In its `metadata` or `tags`.
    Enrichment(&'static str),
}

const fn name_of(field: TextField) -> Name {
    match field {
        TextField::EventType => Name::Field("event_type"),
        TextField::MetricType => Name::Field("metric_type"),
        TextField::InstallId => Name::Field("install_id"),
        TextField::Address => Name::Field("ip_address"),
        TextField::ActionTaken => Name::Field("action_taken"),
        TextField::Method => Name::Field("method"),
        TextField::Country => Name::Field("country"),
        TextField::Endpoint => Name::Field("endpoint"),
        TextField::Reason => Name::Field("reason"),
        TextField::UserAgent => Name::Field("user_agent"),
        TextField::RuleType => Name::Field("rule_type"),
        TextField::DecoratorType => Name::Field("decorator_type"),
        TextField::HandlerName => Name::Field("handler_name"),
        TextField::PatternMatched => Name::Field("pattern_matched"),
        TextField::RuleId => Name::Enrichment("guard.rule.id"),
        TextField::ServiceName => Name::Enrichment("guard.service.name"),
        TextField::Environment => Name::Enrichment("guard.deployment.environment"),
        TextField::GuardProject => Name::Enrichment("guard.project_id"),
    }
}
