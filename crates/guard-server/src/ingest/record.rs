//! One record: checked by itself, so that a bad one is left out alone.

use std::borrow::Cow;

use guard_wire::{Kind, MetricType, timestamp};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::fingerprint::fingerprint;
use crate::store::Record;

/// How deep a record may nest; what reads it later may recurse.
const MAX_DEPTH: usize = 64;
/// Bytes of an `event_type`, which is a key in every count by type.
const MAX_TYPE_LEN: usize = 128;

/// Why a record is left out.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Invalid {
    #[error("the record is not a JSON object")]
    NotAnObject,
    #[error("the record nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("the record cannot be read: {0}")]
    Unreadable(String),
    #[error("`timestamp` is missing or not RFC 3339, such as 2026-11-22T14:28:58Z")]
    Timestamp,
    #[error("`{field}` is missing; give a string")]
    Missing { field: &'static str },
    #[error("`{field}` is not a string")]
    NotAString { field: &'static str },
    #[error("`event_type` is longer than {MAX_TYPE_LEN} bytes")]
    LongType,
    #[error("`metric_type` is not one of the seven known types")]
    MetricType,
    #[error("`value` is not a number")]
    Value,
}

/// The fields the server looks at. All are optional here and read one by one,
/// so that what is wrong can be named.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    idempotency_key: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    metric_type: Option<&'a RawValue>,
    #[serde(borrow)]
    ip_address: Option<&'a RawValue>,
    #[serde(borrow)]
    endpoint: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

/// Reads one record of `kind`.
pub(super) fn read(kind: Kind, raw: &RawValue) -> Result<Record, Invalid> {
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(Invalid::NotAnObject);
    }
    if depth(text) > MAX_DEPTH {
        return Err(Invalid::TooDeep);
    }
    let fields: Fields<'_> =
        serde_json::from_str(text).map_err(|error| Invalid::Unreadable(error.to_string()))?;
    let (type_name, value) = match kind {
        Kind::Event => (event_type(&fields)?, None),
        Kind::Metric => metric(&fields)?,
    };
    let optional = |field, raw| optional_string(field, raw).map(|text| text.map(Cow::into_owned));
    Ok(Record {
        idempotency_key: optional("idempotency_key", fields.idempotency_key)?
            .filter(|key| !key.is_empty()),
        timestamp: fields
            .timestamp
            .and_then(read_timestamp)
            .ok_or(Invalid::Timestamp)?,
        type_name,
        ip: optional("ip_address", fields.ip_address)?,
        endpoint: optional("endpoint", fields.endpoint)?.or_else(|| tagged_endpoint(&fields)),
        value,
        body: text.to_owned(),
    })
}

fn event_type(fields: &Fields<'_>) -> Result<String, Invalid> {
    let name = string("event_type", fields.event_type)?;
    if name.len() > MAX_TYPE_LEN {
        return Err(Invalid::LongType);
    }
    Ok(name.into_owned())
}

fn metric(fields: &Fields<'_>) -> Result<(String, Option<f64>), Invalid> {
    let name = string("metric_type", fields.metric_type)?;
    let known = MetricType::parse(&name).ok_or(Invalid::MetricType)?;
    let value = fields
        .value
        .map(|raw| serde_json::from_str::<f64>(raw.get()))
        .transpose()
        .map_err(|_| Invalid::Value)?;
    Ok((known.as_str().to_owned(), value))
}

/// Guards put the endpoint of a metric into its tags.
fn tagged_endpoint(fields: &Fields<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Tags {
        endpoint: String,
    }
    let tags: Tags = serde_json::from_str(fields.tags?.get()).ok()?;
    Some(tags.endpoint)
}

fn string<'a>(field: &'static str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, Invalid> {
    optional_string(field, raw)?
        .filter(|text| !text.is_empty())
        .ok_or(Invalid::Missing { field })
}

fn optional_string<'a>(
    field: &'static str,
    raw: Option<&'a RawValue>,
) -> Result<Option<Cow<'a, str>>, Invalid> {
    let Some(raw) = raw else { return Ok(None) };
    // Borrowed where nothing is escaped, which is nearly always.
    serde_json::from_str::<&str>(raw.get())
        .map(Cow::Borrowed)
        .or_else(|_| serde_json::from_str::<String>(raw.get()).map(Cow::Owned))
        .map(Some)
        .map_err(|_| Invalid::NotAString { field })
}

fn read_timestamp(raw: &RawValue) -> Option<Timestamp> {
    if let Ok(seconds) = serde_json::from_str::<f64>(raw.get()) {
        return timestamp::from_unix_seconds(seconds);
    }
    timestamp::parse(&serde_json::from_str::<String>(raw.get()).ok()?)
}

/// The deepest nesting in valid JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Gives a record without an idempotency key one that it gets again when its
/// batch is sent again: made of the batch, the record, and how many like it
/// came before it in the batch.
pub(super) fn derive_key(batch_id: &str, body: &str, before: usize) -> String {
    format!("batch/{before}/{}", fingerprint(&[batch_id, body]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Result<Record, Invalid> {
        read(
            Kind::Event,
            &RawValue::from_string(json.to_owned()).unwrap(),
        )
    }

    fn metric(json: &str) -> Result<Record, Invalid> {
        read(
            Kind::Metric,
            &RawValue::from_string(json.to_owned()).unwrap(),
        )
    }

    #[test]
    fn an_event_is_kept_whole_with_its_searched_fields_beside() {
        let json = r#"{"timestamp":"2026-11-22 14:28:58.961533+00:00","event_type":"ip_banned",
            "ip_address":"192.0.2.7","endpoint":"/a\"b","idempotency_key":"k","extra":[1,{"a":null}]}"#;
        let record = event(json).unwrap();
        assert_eq!(record.body, json);
        assert_eq!(record.type_name, "ip_banned");
        assert_eq!(record.ip.as_deref(), Some("192.0.2.7"));
        assert_eq!(record.endpoint.as_deref(), Some("/a\"b"));
        assert_eq!(record.idempotency_key.as_deref(), Some("k"));
        assert_eq!(record.timestamp.to_string(), "2026-11-22T14:28:58.961533Z");
    }

    #[test]
    fn times_are_read_with_space_or_t_and_without_offset_as_utc() {
        let at = |time: &str| {
            event(&format!(r#"{{"timestamp":{time},"event_type":"x"}}"#)).map(|it| it.timestamp)
        };
        let expected = at("\"2026-11-22T14:28:58Z\"").unwrap();
        for same in [
            "\"2026-11-22 14:28:58+00:00\"",
            "\"2026-11-22T14:28:58\"",
            "\"2026-11-22 15:28:58+01:00\"",
            "1795357738.0",
        ] {
            assert_eq!(at(same), Ok(expected), "{same}");
        }
        for bad in ["\"yesterday\"", "null", "\"\"", "{}", "1e300"] {
            assert_eq!(at(bad), Err(Invalid::Timestamp), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_event_is_named() {
        let with = |rest: &str| event(&format!(r#"{{"timestamp":"2026-11-22T14:28:58Z"{rest}}}"#));
        assert_eq!(event("[1]"), Err(Invalid::NotAnObject));
        assert_eq!(
            with(""),
            Err(Invalid::Missing {
                field: "event_type"
            })
        );
        assert_eq!(
            with(r#","event_type":5"#),
            Err(Invalid::NotAString {
                field: "event_type"
            })
        );
        assert_eq!(
            with(r#","event_type":"x","ip_address":{}"#),
            Err(Invalid::NotAString {
                field: "ip_address"
            })
        );
        let long = "x".repeat(MAX_TYPE_LEN + 1);
        assert_eq!(
            with(&format!(r#","event_type":"{long}""#)),
            Err(Invalid::LongType)
        );
        assert!(matches!(
            with(r#","event_type":"x","event_type":"y""#),
            Err(Invalid::Unreadable(_))
        ));
    }

    #[test]
    fn a_record_may_nest_up_to_the_limit() {
        let nested = |levels: usize| {
            let (open, close) = ("[".repeat(levels), "]".repeat(levels));
            event(&format!(
                r#"{{"timestamp":"2026-11-22T14:28:58Z","event_type":"x","metadata":{open}"]"{close}}}"#
            ))
        };
        assert!(nested(MAX_DEPTH - 1).is_ok());
        assert_eq!(nested(MAX_DEPTH), Err(Invalid::TooDeep));
        assert_eq!(nested(100_000), Err(Invalid::TooDeep));
    }

    #[test]
    fn a_metric_has_a_known_type_and_a_number_or_null() {
        let with =
            |rest: &str| metric(&format!(r#"{{"timestamp":"2026-11-22T14:28:58Z",{rest}}}"#));
        let record = with(r#""metric_type":"response_time","value":0.25,"tags":{"endpoint":"/x"}"#);
        let record = record.unwrap();
        assert_eq!(record.value, Some(0.25));
        assert_eq!(record.endpoint.as_deref(), Some("/x"));
        let none = with(r#""metric_type":"error_rate","value":null"#).unwrap();
        assert_eq!(none.value, None);
        assert_eq!(
            with(r#""metric_type":"mood","value":1"#),
            Err(Invalid::MetricType)
        );
        for bad in ["true", "\"1\"", "1e999", "[]"] {
            assert_eq!(
                with(&format!(r#""metric_type":"error_rate","value":{bad}"#)),
                Err(Invalid::Value),
                "{bad}"
            );
        }
    }

    #[test]
    fn derived_keys_differ_by_batch_record_and_place() {
        let keys = [
            derive_key("b1", "{}", 0),
            derive_key("b1", "{}", 1),
            derive_key("b1", "{ }", 0),
            derive_key("b2", "{}", 0),
        ];
        assert_eq!(keys[0], derive_key("b1", "{}", 0));
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key));
        }
    }
}
