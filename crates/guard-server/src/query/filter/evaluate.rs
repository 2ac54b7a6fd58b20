//! Whether a record matches a filter.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::parse::read_bound;
use super::{Bound, Field, FieldType, Filter, Node, Order, Test};

/// A record, as filters see it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The record as it was sent.
    pub body: &'a Map<String, Value>,
    /// When it happened, if the record says so in a form that can be read.
    pub timestamp: Option<Timestamp>,
    /// The install that sent it, if it was named.
    pub install_id: Option<&'a str>,
}

impl Filter {
    /// Whether the record matches.
    ///
    /// A list matches if one of its elements does. A field that is missing or null matches
    /// nothing, so that `-field:value` matches it.
    pub fn matches(&self, record: Subject<'_>) -> bool {
        holds(&self.root, record)
    }

    /// Whether the record with this JSON matches. Text that is not a JSON object matches nothing.
    pub fn matches_json(&self, json: &str) -> bool {
        let Ok(body) = serde_json::from_str::<Map<String, Value>>(json) else {
            return false;
        };
        let timestamp = body.get("timestamp").and_then(Value::as_str);
        self.matches(Subject {
            body: &body,
            timestamp: timestamp.and_then(guard_wire::timestamp::parse),
            install_id: None,
        })
    }
}

fn holds(node: &Node, record: Subject<'_>) -> bool {
    match node {
        Node::All(nodes) => nodes.iter().all(|node| holds(node, record)),
        Node::Any(nodes) => nodes.iter().any(|node| holds(node, record)),
        Node::Not(node) => !holds(node, record),
        Node::Field(field, test) => record.passes(field, test),
        Node::Word(pattern) => Field::SEARCHED.iter().any(|name| {
            let text = record.body.get(*name).and_then(Value::as_str);
            text.is_some_and(|text| pattern.is_within(text))
        }),
    }
}

impl<'a> Subject<'a> {
    fn passes(self, field: &Field, test: &Test) -> bool {
        match field {
            Field::Named("timestamp") => self.timestamp.is_some_and(|at| is_time(at, test)),
            Field::Named("install_id") => self
                .install_id
                .is_some_and(|id| is_text(id, FieldType::Text, test)),
            _ => self
                .value(field)
                .is_some_and(|value| is_value(value, field.field_type(), test)),
        }
    }

    /// The value of a field other than `timestamp` and `install_id`.
    pub(crate) fn value(self, field: &Field) -> Option<&'a Value> {
        match field {
            Field::Named(name) => known(self.body.get(*name))
                // fastapi-guard puts these into the tags of a metric.
                .or_else(|| known(self.body.get("tags")?.get(*name))),
            Field::Key { object, key } => known(lookup(self.body.get(*object)?, key)),
        }
    }
}

fn known(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

/// The value under `key`. Its dots may be part of a name or lead into an object: the longest
/// name that exists wins.
fn lookup<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    let object = object.as_object()?;
    if let Some(value) = object.get(key) {
        return Some(value);
    }
    let dots = key.rmatch_indices('.').map(|(at, _)| at);
    dots.into_iter()
        .find_map(|at| lookup(object.get(&key[..at])?, &key[at + 1..]))
}

fn is_value(value: &Value, kind: FieldType, test: &Test) -> bool {
    match value {
        Value::Null => false,
        _ if *test == Test::Present => true,
        Value::Array(values) => values.iter().any(|value| is_value(value, kind, test)),
        Value::Object(_) => false,
        Value::Bool(value) => is_text(if *value { "true" } else { "false" }, kind, test),
        Value::String(text) => is_text(text, kind, test),
        Value::Number(number) => match (test, number.as_f64()) {
            (Test::Equals(wanted), Some(number)) => wanted.parse() == Ok(number),
            (Test::Compare(..) | Test::Between(..), Some(number)) => {
                is_bound(Bound::Number(number), test)
            }
            _ => is_text(&number.to_string(), kind, test),
        },
    }
}

/// Whether text passes a test of a field of this type.
pub(crate) fn is_text(text: &str, kind: FieldType, test: &Test) -> bool {
    match test {
        Test::Present => true,
        Test::Equals(wanted) => {
            wanted == text
                || match kind {
                    FieldType::Address => is_same_address(wanted, text),
                    FieldType::Number | FieldType::Time => {
                        let bound = read_bound(kind, text);
                        bound.is_some() && bound == read_bound(kind, wanted)
                    }
                    FieldType::Text | FieldType::Any => false,
                }
        }
        Test::Matches(pattern) => pattern.matches(text),
        Test::Within(network) => text
            .parse::<IpAddr>()
            .is_ok_and(|address| network.contains(&address)),
        Test::Compare(..) | Test::Between(..) => {
            read_bound(kind, text).is_some_and(|value| is_bound(value, test))
        }
    }
}

fn is_time(time: Timestamp, test: &Test) -> bool {
    match test {
        Test::Compare(..) | Test::Between(..) => is_bound(Bound::Time(time), test),
        _ => is_text(&time.to_string(), FieldType::Time, test),
    }
}

fn is_bound(value: Bound, test: &Test) -> bool {
    match test {
        Test::Compare(Order::Below, bound) => value < *bound,
        Test::Compare(Order::AtMost, bound) => value <= *bound,
        Test::Compare(Order::Above, bound) => value > *bound,
        Test::Compare(Order::AtLeast, bound) => value >= *bound,
        Test::Between(from, to) => *from <= value && value <= *to,
        _ => false,
    }
}

fn is_same_address(a: &str, b: &str) -> bool {
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use guard_wire::Kind;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(kind: Kind, body: &Value, cases: &[(&str, bool)]) {
        let record = Subject {
            body: body.as_object().unwrap(),
            timestamp: "2026-01-31T12:00:00Z".parse().ok(),
            install_id: Some("install-1"),
        };
        for (text, is_match) in cases {
            let filter = Filter::parse(kind, text).unwrap();
            assert_eq!(filter.matches(record), *is_match, "{text}");
        }
    }

    #[test]
    fn events_match_by_every_kind_of_term() {
        let event = json!({
            "event_type": "ip_banned", "ip_address": "10.1.2.3", "country": null,
            "reason": "5 failed logins", "endpoint": "/api/items", "status_code": 403,
            "response_time": 0.25, "user_agent": "SQLMap/1.7",
            "metadata": {
                "guard.rule.id": "block-1", "guard": {"rule": {"id": "nested"}, "deep": 7},
                "tags": ["red", "blue"], "score": 70, "as_text": "70", "flag": true,
            },
        });
        check(
            Kind::Event,
            &event,
            &[
                ("", true),
                ("event_type:ip_banned", true),
                ("event_type:IP_BANNED", false),
                ("endpoint:/api/*", true),
                ("ip_address:10.0.0.0/8", true),
                ("ip_address:10.2.0.0/16", false),
                ("ip_address:10.1.2.3", true),
                ("status_code:>=400", true),
                ("status_code:403.0", true),
                ("status_code:4*", true),
                ("status_code:404..499", false),
                ("response_time:0.1..2", true),
                ("country:*", false),
                ("-country:*", true),
                ("-country:DE", true),
                ("sqlmap", true),
                ("FAILED", true),
                ("ip_banned", false),
                ("metadata.guard.rule.id:block-1", true),
                ("metadata.guard.rule.id:nested", false),
                ("metadata.guard.deep:7", true),
                ("metadata.tags:blue", true),
                ("metadata.tags:green", false),
                ("metadata.score:>=70", true),
                ("metadata.as_text:60..80", true),
                ("metadata.flag:true", true),
                ("metadata.none:*", false),
                ("metadata.guard:*", true),
                ("timestamp:>=2026-01-31T12:00:00Z", true),
                ("timestamp:2026-01-31T12:00:00+00:00", true),
                ("timestamp:<2026-01-31T12:00:00Z", false),
                ("event_type:x OR (sqlmap -country:DE)", true),
                ("install_id:install-*", true),
                ("install_id:install-2", false),
            ],
        );
    }

    #[test]
    fn metrics_match_by_their_tags_too() {
        let metric = json!({
            "metric_type": "response_time", "value": 0.5,
            "tags": {"endpoint": "/a", "method": "GET", "status": "500", "region": "eu"},
        });
        check(
            Kind::Metric,
            &metric,
            &[
                ("metric_type:response_time value:>0.4", true),
                ("endpoint:/a method:GET status:>=500", true),
                ("status:500", true),
                ("tags.region:eu", true),
                ("tags.status:500", true),
            ],
        );
    }
}
