use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::privacy::truncate;
use crate::value::Value;

const MAX_RECORD: usize = 65_536;

fn encoder(max_text: usize) -> Encoder {
    let redactor = Redactor::new(["authorization", "cookie", "x-api-key"]);
    Encoder::new(redactor, max_text, MAX_RECORD)
}

fn encode(kind: Kind, record: &serde_json::Value) -> Result<serde_json::Value, EncodeError> {
    let Value::Map(fields) = Value::from(record) else {
        panic!("records are objects");
    };
    let mut out = Vec::new();
    encoder(1024).encode(kind, &fields[..], &mut out)?;
    Ok(serde_json::from_slice(&out).expect("encoded records are JSON"))
}

fn event(mut extra: serde_json::Value) -> serde_json::Value {
    extra["timestamp"] = json!("2026-11-22T14:28:58Z");
    extra["event_type"] = json!("ip_banned");
    extra
}

#[test]
fn an_event_keeps_what_it_was_given_and_leaves_nulls_out() {
    let sent = event(json!({
        "idempotency_key": "k-1", "ip_address": "", "country": null, "status_code": 403,
        "response_time": 0.25, "metadata": {"n": 1}, "unknown": [true],
    }));
    let mut expected = sent.clone();
    expected.as_object_mut().unwrap().remove("country");
    assert_eq!(encode(Kind::Event, &sent).unwrap(), expected);
}

#[test]
fn a_record_without_an_idempotency_key_gets_one_of_its_own() {
    let metric =
        json!({"timestamp": "2026-11-22T14:28:58Z", "metric_type": "error_rate", "value": 1});
    let first = encode(Kind::Metric, &metric).unwrap();
    let second = encode(Kind::Metric, &metric).unwrap();
    assert!(uuid::Uuid::parse_str(first["idempotency_key"].as_str().unwrap()).is_ok());
    assert_ne!(first["idempotency_key"], second["idempotency_key"]);
}

#[test]
fn a_long_idempotency_key_stays_the_same_over_resends() {
    let sent = event(json!({"idempotency_key": "k".repeat(500)}));
    let first = encode(Kind::Event, &sent).unwrap();
    assert_eq!(first, encode(Kind::Event, &sent).unwrap());
    assert_eq!(first["idempotency_key"].as_str().unwrap().len(), 64);
}

#[test]
fn timestamps_leave_with_a_t_and_an_offset() {
    for (given, written) in [
        (
            json!("2026-11-22 14:28:58.5+00:00"),
            "2026-11-22T14:28:58.5Z",
        ),
        (json!("2026-11-22T14:28:58"), "2026-11-22T14:28:58Z"),
        (
            json!("2026-11-22T14:28:58.961533+02:00"),
            "2026-11-22T12:28:58.961533Z",
        ),
        (json!("2026-11-22T14:28:58-05:00"), "2026-11-22T19:28:58Z"),
        (json!(1_795_357_738), "2026-11-22T14:28:58Z"),
    ] {
        let mut sent = event(json!({}));
        sent["timestamp"] = given;
        assert_eq!(encode(Kind::Event, &sent).unwrap()["timestamp"], written);
    }
}

#[test]
fn what_cannot_be_sent_says_which_field_and_what_to_do() {
    let cases = [
        (Kind::Event, json!({"event_type": "x"}), "`timestamp`"),
        (
            Kind::Event,
            json!({"timestamp": "2026-11-22T14:28:58Z"}),
            "`event_type`",
        ),
        (
            Kind::Event,
            json!({"timestamp": "noon", "event_type": "x"}),
            "RFC 3339",
        ),
        (
            Kind::Event,
            json!({"timestamp": 1e300, "event_type": "x"}),
            "RFC 3339",
        ),
        (
            Kind::Event,
            json!({"timestamp": 1, "event_type": ""}),
            "`event_type`",
        ),
        (
            Kind::Metric,
            json!({"timestamp": 1, "value": 1, "event_type": "x"}),
            "`metric_type`",
        ),
        (
            Kind::Metric,
            json!({"timestamp": 1, "metric_type": "mood", "value": 1}),
            "request_count",
        ),
        (
            Kind::Metric,
            json!({"timestamp": 1, "metric_type": "error_rate"}),
            "`value`",
        ),
        (
            Kind::Metric,
            json!({"timestamp": 1, "metric_type": "error_rate", "value": "1"}),
            "give an int or a float",
        ),
        (
            Kind::Event,
            event(json!({"metadata": vec!["x".repeat(1000); 100]})),
            "65536 bytes",
        ),
    ];
    for (kind, record, words) in cases {
        let message = encode(kind, &record).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn text_is_cut_after_redaction_in_metadata_and_in_free_fields() {
    let body = json!({"cookie": "s3cret", "padding": "p".repeat(2000)}).to_string();
    let long = "é".repeat(600);
    let sent = event(json!({"reason": long, "metadata": {"body": body, "list": [long]}}));
    let got = encode(Kind::Event, &sent).unwrap();
    let cut = format!("{}...[TRUNCATED]", "é".repeat(512));
    assert_eq!(got["reason"], cut);
    assert_eq!(got["metadata"]["list"][0], cut);
    let body = got["metadata"]["body"].as_str().unwrap();
    assert!(body.starts_with(r#"{"cookie": "[REDACTED]", "padding": "ppp"#));
    assert!(body.ends_with("p...[TRUNCATED]"));
}

#[test]
fn sensitive_fields_are_redacted_beside_the_metadata_too() {
    let sent = event(json!({
        "Authorization": "s3cret", "headers": {"Set-Cookie": "s3cret"},
        "metadata": {"asgi": [["cookie", "s3cret"], ["host", "h"]]},
    }));
    let got = encode(Kind::Event, &sent).unwrap().to_string();
    assert!(!got.contains("s3cret"), "{got}");
    assert!(got.contains(r#"["host","h"]"#));
}

#[test]
fn addresses_say_less_when_wanted() {
    let fields = [
        ("timestamp".into(), Value::Int(1)),
        ("event_type".into(), Value::from("x")),
        ("ip_address".into(), Value::from("192.0.2.77")),
    ];
    let mut out = Vec::new();
    let encoder = encoder(1024).anonymize(Anonymize::Truncate);
    encoder.encode(Kind::Event, &fields[..], &mut out).unwrap();
    let got: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(got["ip_address"], "192.0.2.0");
}

#[test]
fn nan_and_infinity_leave_as_null() {
    let fields = [
        ("timestamp".into(), Value::Int(1)),
        ("metric_type".into(), Value::from("error_rate")),
        ("value".into(), Value::Float(f64::NAN)),
        (
            "tags".into(),
            Value::List(vec![Value::Float(f64::NEG_INFINITY)]),
        ),
    ];
    let mut out = Vec::new();
    encoder(1024)
        .encode(Kind::Metric, &fields[..], &mut out)
        .unwrap();
    let got: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (&got["value"], &got["tags"]),
        (&json!(null), &json!([null]))
    );
}

/// Any JSON, with sensitive names, and secrets under them, strewn in.
fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,40}".prop_map(|text| json!(text)),
        "[\\[{\"':, a-z\\\\]{0,40}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(14, 64, 4, |inner| {
        let name = prop_oneof![
            4 => "\\PC{0,12}",
            1 => " {0,2}(?i:authorization|cookie|x-api-key|set-cookie) {0,2}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::vec((name, inner), 0..4).prop_map(|entries| {
                let redactor = Redactor::new(["authorization", "cookie", "x-api-key"]);
                let map = entries.into_iter().map(|(name, value)| {
                    let value = if redactor.is_sensitive(&name) {
                        json!("s3cret")
                    } else {
                        value
                    };
                    (name, value)
                });
                serde_json::Value::Object(map.collect())
            }),
        ]
    })
}

/// The fields of an event, and metadata that is passed entry by entry.
#[derive(Clone, Copy)]
struct Entries<'v> {
    fields: &'v [(Cow<'v, str>, Value<'v>)],
    metadata: &'v [(Cow<'v, str>, Value<'v>)],
    /// Whether all entries can be passed.
    is_whole: bool,
}

impl Fields for Entries<'_> {
    fn write(self, sink: &mut impl Sink) {
        self.fields.write(sink);
        assert!(sink.open(Known::Metadata));
        let mut entries = self.metadata.iter();
        let is_taken = entries.all(|(name, value)| sink.entry(name, &value.view()));
        sink.close(is_taken && self.is_whole);
        if !is_taken && self.is_whole {
            sink.known(Known::Metadata, &View::<Value<'_>>::Map(self.metadata));
        }
    }
}

/// An event whose type is an object, which is first passed entry by entry.
#[derive(Clone, Copy)]
struct OddType;

impl Fields for OddType {
    fn write(self, sink: &mut impl Sink) {
        let entries = [("n".into(), Value::Int(1))];
        sink.field("timestamp", &Value::from("2026-11-22T14:28:58Z").view());
        assert!(
            !sink.open(Known::EventType),
            "what has rules is handed over whole"
        );
        sink.field("event_type", &Value::Map(entries.into()).view());
    }
}

#[test]
fn a_type_that_is_an_object_is_a_type() {
    let mut out = Vec::new();
    encoder(1024)
        .encode(Kind::Event, OddType, &mut out)
        .unwrap();
    let got: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(got["event_type"], json!({"n": 1}));
}

proptest! {
    #[test]
    fn an_object_is_written_entry_by_entry_as_it_is_whole_or_not_at_all(
        metadata in arbitrary_json().prop_filter("an object", serde_json::Value::is_object),
        is_whole in any::<bool>(),
        max_text in 0_usize..200,
    ) {
        let mut record = event(json!({"idempotency_key": "k"}));
        let Value::Map(fields) = Value::from(&record) else { unreachable!() };
        let Value::Map(entries) = Value::from(&metadata) else { unreachable!() };
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let handed = Entries { fields: &fields, metadata: &entries, is_whole };
        encoder(max_text).encode(Kind::Event, handed, &mut one).unwrap();
        if is_whole {
            record["metadata"] = metadata.clone();
        }
        let Value::Map(fields) = Value::from(&record) else { unreachable!() };
        encoder(max_text).encode(Kind::Event, &fields[..], &mut other).unwrap();
        prop_assert_eq!(String::from_utf8(one).unwrap(), String::from_utf8(other).unwrap());
    }

    #[test]
    fn whatever_goes_in_json_comes_out_without_secrets(
        metadata in arbitrary_json(),
        extra in arbitrary_json(),
        as_text in any::<bool>(),
        spread in any::<bool>(),
        max_text in 0_usize..200,
        is_event in any::<bool>(),
    ) {
        let metadata = if as_text { json!(metadata.to_string()) } else { metadata };
        let mut record = json!({
            "timestamp": "2026-11-22T14:28:58Z", "event_type": "x", "metric_type": "error_rate",
            "value": 1, "metadata": metadata, "reason": extra.to_string(),
        });
        if let (true, serde_json::Value::Object(map)) = (spread, extra) {
            for (name, value) in map {
                if record.get(&name).is_none() {
                    record[name] = value;
                }
            }
        }
        let Value::Map(fields) = Value::from(&record) else { unreachable!() };
        let kind = if is_event { Kind::Event } else { Kind::Metric };
        let mut out = Vec::new();
        if encoder(max_text).encode(kind, &fields[..], &mut out).is_ok() {
            let text = String::from_utf8(out).unwrap();
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object());
            prop_assert!(!text.contains("s3cret"), "{}", text);
            prop_assert!(text.len() <= MAX_RECORD);
        }
    }

    #[test]
    fn cut_text_ends_in_the_mark_and_starts_as_it_did(text in "\\PC{0,60}", limit in 0_usize..80) {
        let cut = truncate::truncate(&text, limit);
        if text.len() <= limit {
            prop_assert_eq!(cut, text.as_str());
        } else {
            let head = cut.strip_suffix(truncate::MARK).unwrap();
            prop_assert!(head.len() <= limit && limit - head.len() < 4);
            prop_assert!(text.starts_with(head));
        }
    }
}
