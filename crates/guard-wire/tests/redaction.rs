//! Secrets in every form that a header takes between the socket and the log. The table
//! `redaction.json` is also that of the Python tests.

use guard_wire::encode::Encoder;
use guard_wire::redact::{MARK, Redactor};
use guard_wire::snapshot::RecordSnapshot;
use guard_wire::{Kind, Value};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

const SECRET: &str = "s3cret";

/// Fields of free text.
const FIELDS: [&str; 7] = [
    "reason",
    "pattern_matched",
    "user_agent",
    "endpoint",
    "method",
    "handler_name",
    "tenant",
];

fn table() -> Json {
    serde_json::from_str(include_str!("redaction.json")).expect("the table is JSON")
}

fn rows(name: &str) -> Vec<Json> {
    table()[name].as_array().expect("a list of rows").clone()
}

fn text<'a>(row: &'a Json, name: &str) -> &'a str {
    row[name].as_str().expect("a text")
}

fn redactor() -> Redactor {
    let names = table()["sensitive_headers"].clone();
    let names: Vec<String> = serde_json::from_value(names).expect("names");
    Redactor::new(names)
}

fn redacted(value: &Json) -> Json {
    let json = redactor().to_json(&Value::from(value));
    serde_json::from_str(&json).expect("redacted values are JSON")
}

/// The event with these fields as it is sent: encoded at once, and from a copy.
fn sent(fields: &Json) -> Json {
    let mut event = json!({"timestamp": "2026-11-22T14:28:58Z", "event_type": "x"});
    for (name, value) in fields.as_object().expect("an object") {
        event[name] = value.clone();
    }
    event["idempotency_key"] = json!("k");
    let Value::Map(fields) = Value::from(&event) else {
        unreachable!("it is an object");
    };
    let encoder = Encoder::new(redactor(), 1024, 262_144);
    let (mut at_once, mut copy, mut later) = (Vec::new(), Vec::new(), Vec::new());
    let encoded = encoder.encode(Kind::Event, &fields[..], &mut at_once);
    encoded.expect("it can be sent");
    let copied = encoder.copy(Kind::Event, &fields[..], &mut copy);
    copied.expect("it can be copied");
    let encoded = encoder.encode(Kind::Event, RecordSnapshot::new(&copy), &mut later);
    encoded.expect("its copy can be sent");
    assert_eq!(at_once, later);
    serde_json::from_slice(&later).expect("events are JSON")
}

#[test]
fn secrets_in_text_are_hidden_in_every_field() {
    for row in rows("texts") {
        let (name, raw, expected) = (&row["name"], &row["text"], &row["expected"]);
        assert!(!expected.to_string().contains(SECRET));
        for field in FIELDS {
            assert_eq!(sent(&json!({field: raw}))[field], *expected, "{name}");
        }
        let metadata = json!({"metadata": {"deep": [{"note": raw}], "note": raw}});
        let hidden = json!({"deep": [{"note": expected}], "note": expected});
        assert_eq!(sent(&metadata)["metadata"], hidden, "{name}");
        assert_eq!(redacted(raw), *expected, "{name}");
    }
}

#[test]
fn secrets_in_objects_are_hidden_wherever_the_object_stands() {
    for row in rows("values") {
        let (name, value, expected) = (&row["name"], &row["value"], &row["expected"]);
        assert!(!expected.to_string().contains(SECRET));
        assert_eq!(redacted(value), *expected, "{name}");
        assert_eq!(
            sent(&json!({"metadata": value}))["metadata"],
            *expected,
            "{name}"
        );
        assert_eq!(sent(&json!({"extra": value}))["extra"], *expected, "{name}");
        let in_text = sent(&json!({"reason": value.to_string()}))["reason"].clone();
        let in_text: Json = serde_json::from_str(in_text.as_str().expect("a text")).expect("JSON");
        assert_eq!(in_text, *expected, "{name}");
    }
}

#[test]
fn text_without_secrets_stays() {
    for raw in rows("texts_that_stay") {
        assert_eq!(
            sent(&json!({"reason": raw, "metadata": {"note": [raw]}}))["reason"],
            raw
        );
        assert_eq!(redacted(&raw), raw);
    }
}

#[test]
fn objects_without_secrets_stay() {
    for raw in rows("values_that_stay") {
        assert_eq!(sent(&json!({"metadata": raw}))["metadata"], raw);
        assert_eq!(redacted(&raw), raw);
    }
}

#[test]
fn names_that_are_configured_have_the_same_forms() {
    let redactor = Redactor::new(["X-Tenant_Token", " Pin ", "-"]);
    for name in [
        "x-tenant-token",
        "HTTP_X_TENANT_TOKEN",
        "xTenantToken",
        "pin",
        "b'pin'",
    ] {
        assert!(redactor.is_sensitive(name), "{name}");
    }
    for name in ["tenant-token", "pins", "spin", "cookies", "", "-"] {
        assert!(!redactor.is_sensitive(name), "{name}");
    }
}

#[test]
fn what_is_cut_off_does_not_come_back_when_a_secret_is_hidden() {
    let raw = format!("Cookie: {}\r\nmore: {SECRET}", "x".repeat(2000));
    let reason = sent_long(&raw);
    assert_eq!(reason, format!("Cookie: {MARK}...[TRUNCATED]"));
}

#[test]
fn a_text_of_ten_megabytes_is_read_no_further_than_it_is_kept() {
    let raw = "cookie:\"".repeat(1_250_000);
    assert_eq!(sent_long(&raw), format!("cookie:{MARK}...[TRUNCATED]"));
}

/// The reason of an event that is too long to be copied.
fn sent_long(reason: &str) -> String {
    let fields = [
        ("timestamp".into(), Value::Int(1)),
        ("event_type".into(), Value::from("x")),
        ("reason".into(), Value::from(reason)),
    ];
    let mut out = Vec::new();
    let encoder = Encoder::new(redactor(), 1024, 262_144);
    let encoded = encoder.encode(Kind::Event, &fields[..], &mut out);
    encoded.expect("it can be sent");
    let event: Json = serde_json::from_slice(&out).expect("events are JSON");
    text(&event, "reason").to_owned()
}

#[test]
fn text_made_to_take_long_takes_no_longer_per_byte() {
    // Each of these takes minutes if a part of it is read again for each of the others.
    for part in [
        "cookie:'",
        "name:'",
        "'cookie' ,",
        "=\"",
        "a:          ",
        "-",
        "cookie::",
        "\\",
    ] {
        let long = part.repeat(1_000_000 / part.len());
        assert!(!redacted(&json!(format!("x{long}"))).is_null());
    }
}

fn prose() -> impl Strategy<Value = String> {
    "[a-z ,.:=(){}\\[\\]<>'\"\\\\/|&?;-]{0,30}"
}

proptest! {
    #[test]
    fn a_secret_is_hidden_whatever_stands_around_it(
        row in select(rows("texts")), before in prose(), after in prose(),
    ) {
        let raw = format!("{before} {}\n{after}", text(&row, "text"));
        let hidden = redacted(&json!(raw));
        prop_assert!(!hidden.to_string().contains(SECRET), "{} -> {}", raw, hidden);
    }

    #[test]
    fn text_that_was_redacted_is_not_redacted_again(
        row in select(rows("texts")), before in prose(), after in prose(),
    ) {
        let once = redacted(&json!(format!("{before} {}\n{after}", text(&row, "text"))));
        prop_assert_eq!(redacted(&once), once);
    }
}
