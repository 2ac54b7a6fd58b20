//! Checks each record separately, so that a bad record does not affect the others.

use std::borrow::Cow;

use guard_wire::{Kind, MetricType};
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::event_time;
use crate::fingerprint::fingerprint;
use crate::store::{Columns, NewRecord};

/// The deepest nesting of a record. Later readers of the record may recurse.
const MAX_DEPTH: usize = 64;
/// The longest `event_type`, in bytes. It is a key in every count by type.
const MAX_TYPE_LEN: usize = 128;
/// The longest `idempotency_key`, in bytes. It is stored in the record, in its column and in an
/// index.
const MAX_KEY_LEN: usize = 256;
/// The longest name field, such as an address or a method, in bytes.
const MAX_NAME_LEN: usize = 256;
/// The longest `endpoint`, in bytes. It is stored in the record and in its column. Web servers
/// accept no longer paths, so every attack is recorded however long its path is.
const MAX_ENDPOINT_LEN: usize = 64 * 1024;

/// Why a record was left out.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Invalid {
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
    #[error("`{field}` is longer than {limit} bytes")]
    TooLong { field: &'static str, limit: usize },
    #[error("`metric_type` is not one of the seven known types")]
    MetricType,
    #[error("`value` is not a number")]
    Value,
}

/// The fields that the server reads. All are optional here and are read one by one, so that an
/// error can name the field.
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
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    country: Option<&'a RawValue>,
    #[serde(borrow)]
    action_taken: Option<&'a RawValue>,
    #[serde(borrow)]
    decorator_type: Option<&'a RawValue>,
    #[serde(borrow)]
    rule_type: Option<&'a RawValue>,
    #[serde(borrow)]
    handler_name: Option<&'a RawValue>,
    #[serde(borrow)]
    endpoint: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

/// Reads and checks one record of `kind`.
pub(crate) fn read(kind: Kind, raw: &RawValue) -> Result<NewRecord, Invalid> {
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
    check_names(&fields)?;
    let optional = |field, raw, limit| {
        let text = optional_string(field, raw)?;
        text.map(|text| within(field, limit, text.into_owned()))
            .transpose()
    };
    let endpoint = optional("endpoint", fields.endpoint, MAX_ENDPOINT_LEN)?;
    let endpoint = match endpoint {
        Some(endpoint) => Some(endpoint),
        None => tagged_endpoint(&fields)?,
    };
    Ok(NewRecord {
        idempotency_key: optional("idempotency_key", fields.idempotency_key, MAX_KEY_LEN)?
            .filter(|key| !key.is_empty()),
        timestamp: fields
            .timestamp
            .and_then(event_time::read)
            .ok_or(Invalid::Timestamp)?,
        type_name,
        ip: optional("ip_address", fields.ip_address, MAX_NAME_LEN)?,
        endpoint,
        value,
        columns: Columns::of(kind, text),
        body: text.to_owned(),
    })
}

fn event_type(fields: &Fields<'_>) -> Result<String, Invalid> {
    let name = string("event_type", fields.event_type)?;
    within("event_type", MAX_TYPE_LEN, name.into_owned())
}

/// Checks the fields that hold a name and have no column. Agents send them as text; a value of
/// another type is kept unchanged.
fn check_names(fields: &Fields<'_>) -> Result<(), Invalid> {
    for (field, raw) in [
        ("method", fields.method),
        ("country", fields.country),
        ("action_taken", fields.action_taken),
        ("decorator_type", fields.decorator_type),
        ("rule_type", fields.rule_type),
        ("handler_name", fields.handler_name),
    ] {
        // JSON text is at least as long as the value, so the value is rarely read here.
        if raw.is_some_and(|raw| raw.get().len() > MAX_NAME_LEN)
            && let Ok(Some(text)) = optional_string(field, raw)
        {
            within(field, MAX_NAME_LEN, text)?;
        }
    }
    Ok(())
}

fn within<T: AsRef<str>>(field: &'static str, limit: usize, text: T) -> Result<T, Invalid> {
    if text.as_ref().len() > limit {
        return Err(Invalid::TooLong { field, limit });
    }
    Ok(text)
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
fn tagged_endpoint(fields: &Fields<'_>) -> Result<Option<String>, Invalid> {
    #[derive(Deserialize)]
    struct Tags {
        endpoint: String,
    }
    let tags = fields.tags.map(|tags| serde_json::from_str(tags.get()));
    let Some(Ok(Tags { endpoint })) = tags else {
        return Ok(None);
    };
    within("tags.endpoint", MAX_ENDPOINT_LEN, endpoint).map(Some)
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
    // Borrowed if nothing is escaped, which is nearly always the case.
    serde_json::from_str::<&str>(raw.get())
        .map(Cow::Borrowed)
        .or_else(|_| serde_json::from_str::<String>(raw.get()).map(Cow::Owned))
        .map(Some)
        .map_err(|_| Invalid::NotAString { field })
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

/// Derives an idempotency key for a record that has none. The key stays the same when the batch is
/// sent again: it is made of the batch id, the record, and the number of equal records before it in
/// the batch.
pub(crate) fn derive_key(batch_id: &str, body: &str, before: usize) -> String {
    format!("batch/{before}/{}", fingerprint(&[batch_id, body]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Result<NewRecord, Invalid> {
        read(
            Kind::Event,
            &RawValue::from_string(json.to_owned()).unwrap(),
        )
    }

    fn metric(json: &str) -> Result<NewRecord, Invalid> {
        read(
            Kind::Metric,
            &RawValue::from_string(json.to_owned()).unwrap(),
        )
    }

    #[test]
    fn an_event_is_kept_whole_and_its_searched_fields_are_extracted() {
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
    fn times_may_have_space_or_t_and_are_utc_without_an_offset() {
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
    fn an_error_names_the_wrong_field_of_an_event() {
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
            Err(Invalid::TooLong {
                field: "event_type",
                limit: MAX_TYPE_LEN
            })
        );
        assert!(matches!(
            with(r#","event_type":"x","event_type":"y""#),
            Err(Invalid::Unreadable(_))
        ));
    }

    #[test]
    fn a_field_may_be_as_long_as_its_limit() {
        let base = r#""timestamp":"2026-11-22T14:28:58Z","event_type":"x""#;
        for (field, limit) in [
            ("idempotency_key", MAX_KEY_LEN),
            ("ip_address", MAX_NAME_LEN),
            ("method", MAX_NAME_LEN),
            ("country", MAX_NAME_LEN),
            ("action_taken", MAX_NAME_LEN),
            ("decorator_type", MAX_NAME_LEN),
            ("rule_type", MAX_NAME_LEN),
            ("handler_name", MAX_NAME_LEN),
            ("endpoint", MAX_ENDPOINT_LEN),
        ] {
            let with = |text: String| event(&format!(r#"{{{base},"{field}":"{text}"}}"#));
            assert!(with("x".repeat(limit)).is_ok(), "{field}");
            // The limit counts the bytes of the value, not of its JSON form.
            assert!(with("\\u0078".repeat(limit)).is_ok(), "{field}");
            let too_long = Err(Invalid::TooLong { field, limit });
            assert_eq!(with("x".repeat(limit + 1)), too_long);
        }
    }

    #[test]
    fn a_name_that_is_not_text_is_kept_unchanged() {
        let long = "x".repeat(MAX_NAME_LEN + 1);
        let json = format!(
            r#"{{"timestamp":"2026-11-22T14:28:58Z","event_type":"x","method":["{long}"]}}"#
        );
        assert_eq!(event(&json).unwrap().body, json);
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
        let long = "/".repeat(MAX_ENDPOINT_LEN + 1);
        let tagged = format!(r#""metric_type":"error_rate","tags":{{"endpoint":"{long}"}}"#);
        assert_eq!(
            with(&tagged),
            Err(Invalid::TooLong {
                field: "tags.endpoint",
                limit: MAX_ENDPOINT_LEN
            })
        );
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
    fn derived_keys_differ_by_batch_record_and_position() {
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
