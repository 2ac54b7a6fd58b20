use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::privacy::redact::Redactor;
use crate::record::admission::MAX_KEY;
use crate::record::encode::Encoder;
use crate::value::Value;

const MAX_RECORD: usize = 16_384;

fn encoder(max_text: usize) -> Encoder {
    Encoder::new(
        Redactor::new(["authorization", "cookie"]),
        max_text,
        MAX_RECORD,
    )
}

type Entry = (Cow<'static, str>, Value<'static>);

/// Hands its metadata over entry by entry.
#[derive(Clone, Copy)]
struct Record<'v> {
    fields: &'v [Entry],
    metadata: &'v [Entry],
    is_whole: bool,
}

impl Fields for Record<'_> {
    fn write(self, sink: &mut impl Sink) {
        self.fields.write(sink);
        if sink.open(Known::Metadata) {
            for (name, value) in self.metadata {
                sink.entry(name, &value.view());
            }
            sink.close(self.is_whole);
        }
    }
}

fn copied(kind: Kind, record: &serde_json::Value) -> bool {
    let Value::Map(fields) = Value::from(record) else {
        panic!("records are objects");
    };
    let copy = encoder(100).copy(kind, &fields[..], &mut Vec::new());
    copy.is_some()
}

#[test]
fn what_may_not_be_encoded_is_not_copied() {
    let event = json!({"timestamp": "2026-11-22T14:28:58Z", "event_type": "x"});
    assert!(copied(Kind::Event, &event));
    for (field, doubtful) in [
        ("timestamp", json!(null)),
        ("timestamp", json!("yesterday")),
        ("event_type", json!("")),
        ("event_type", json!(["x"])),
        ("idempotency_key", json!("k".repeat(MAX_KEY + 1))),
        ("idempotency_key", json!(1)),
        ("reason", json!("too long to be sent whole".repeat(10))),
        ("metadata", json!([[[[[[[[[[[[0]]]]]]]]]]]])),
        ("metadata", json!({"large": vec!["too large"; 1000]})),
    ] {
        let mut event = event.clone();
        event[field] = doubtful;
        assert!(!copied(Kind::Event, &event), "{event}");
    }
    let metric = json!({"timestamp": "2026-11-22T14:28:58Z", "metric_type": "error_rate",
        "value": 1.5});
    assert!(copied(Kind::Metric, &metric));
    for (field, doubtful) in [("metric_type", json!("heat")), ("value", json!("1"))] {
        let mut metric = metric.clone();
        metric[field] = doubtful;
        assert!(!copied(Kind::Metric, &metric), "{metric}");
    }
}

#[test]
fn a_tape_that_is_cut_is_read_as_far_as_it_goes() {
    let event = crate::SecurityEvent::new("x")
        .metadata("n", json!([1, {"a": null}]))
        .reason("r");
    let (mut snapshot, mut whole) = (Vec::new(), Vec::new());
    let encoder = encoder(100);
    encoder
        .copy(Kind::Event, event.fields(), &mut snapshot)
        .unwrap();
    encoder
        .encode(Kind::Event, RecordSnapshot::new(&snapshot), &mut whole)
        .unwrap();
    let all: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    let read = |bytes: &[u8]| {
        let mut read = Vec::new();
        let outcome = encoder.encode(Kind::Event, RecordSnapshot::new(bytes), &mut read);
        outcome.map(|()| serde_json::from_slice::<serde_json::Value>(&read).unwrap())
    };
    for end in 0..=snapshot.len() {
        if let Ok(fields) = read(&snapshot[..end]) {
            for (name, value) in fields.as_object().unwrap() {
                assert!(name == "idempotency_key" || all[name] == *value, "{fields}");
            }
        }
        for tail in [
            &[0xff; 40][..],
            &[0x7f; 40],
            &[OTHER, 1, 0, b'n', LIST, 0xff],
        ] {
            // Whatever it is, it is JSON.
            let _ = read(&[&snapshot[..end], tail].concat());
        }
    }
}

#[test]
fn what_grows_most_by_being_encoded_is_not_too_large() {
    let encoder = Encoder::new(Redactor::new(["a"]), MAX_RECORD, MAX_RECORD);
    let object = |member: &str, len: usize| {
        let members = member.repeat(len / member.len());
        format!("{{{members}\"z\":0}}")
    };
    let members = |member: &str| object(member, 800);
    let nested = serde_json::to_string(&object("\"a\":0,", 600)).unwrap();
    for text in [
        "\u{1}".repeat(800),
        members("\"a\":0,"),
        members("\"a\":0,\"b\":1e15,"),
        members("\"b\":[\"a\",0],"),
        nested,
    ] {
        let event = crate::SecurityEvent::new("x").reason(text);
        let (mut snapshot, mut json) = (Vec::new(), Vec::new());
        let copied = encoder.copy(Kind::Event, event.fields(), &mut snapshot);
        assert!(
            copied.is_some_and(|size| size > MAX_RECORD / 20),
            "{copied:?}"
        );
        let outcome = encoder.encode(Kind::Event, RecordSnapshot::new(&snapshot), &mut json);
        assert_eq!(outcome, Ok(()));
    }
}

fn value() -> impl Strategy<Value = Value<'static>> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::UInt),
        any::<f64>().prop_map(Value::Float),
        (-1_000_000_000_i64..4_000_000_000, 0..1_000_000_000)
            .prop_map(|(seconds, nanos)| Value::Time(Timestamp::new(seconds, nanos).unwrap())),
        any::<u128>().prop_map(|number| Value::Uuid(Uuid::from_u128(number))),
        (1_u16..=9999, 1_u8..=12, 1_u8..=31, 0_u32..1_000_000).prop_map(
            |(year, month, day, micros)| Value::Moment(Moment {
                year,
                month,
                day,
                hour: 14,
                minute: 28,
                second: 58,
                micros,
            })
        ),
        "\\PC{0,20}".prop_map(|text| Value::Str(text.into())),
        Just(Value::from("{\"cookie\": \"s3cret\"}")),
    ];
    scalar.prop_recursive(4, 40, 6, |inner| {
        let name = prop_oneof!["[a-z]{1,6}", Just("Cookie".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((name.prop_map(Cow::Owned), inner), 0..6).prop_map(Value::Map),
        ]
    })
}

fn fields() -> impl Strategy<Value = Vec<Entry>> {
    let names: Vec<&str> = Known::ALL.iter().map(|field| field.name()).collect();
    let odd = (prop::sample::select(names), value());
    let extra = ("[a-z]{1,8}", value());
    (
        prop::collection::vec(odd, 0..3),
        prop::collection::vec(extra, 0..4),
    )
        .prop_map(|(odd, extra)| {
            let sound = [
                ("idempotency_key", Value::from("k-1")),
                ("timestamp", Value::from("2026-11-22T14:28:58Z")),
                ("event_type", Value::from("ip_banned")),
                ("metric_type", Value::from("error_rate")),
                ("value", Value::Float(0.5)),
            ];
            let is_odd = |name: &str| odd.iter().any(|(known, _)| *known == name);
            let sound = sound.into_iter().filter(|(name, _)| !is_odd(name));
            let own = sound.map(|(name, value)| (Cow::Borrowed(name), value));
            let extra = extra.into_iter().map(|(name, value)| (name.into(), value));
            let odd = odd
                .iter()
                .map(|(name, value)| (Cow::Borrowed(*name), value.clone()));
            own.chain(odd).chain(extra).collect()
        })
}

proptest! {
    #[test]
    fn what_was_copied_is_encoded_as_the_record_itself(
        fields in fields(),
        metadata in prop::collection::vec(("[a-z]{1,6}".prop_map(Cow::Owned), value()), 0..4),
        is_whole in any::<bool>(),
        is_event in any::<bool>(),
        max_text in 0_usize..60,
    ) {
        let kind = if is_event { Kind::Event } else { Kind::Metric };
        let encoder = encoder(max_text);
        let record = Record { fields: &fields, metadata: &metadata, is_whole };
        let (mut snapshot, mut later, mut at_once) = (Vec::new(), Vec::new(), Vec::new());
        if encoder.copy(kind, record, &mut snapshot).is_some() {
            prop_assert_eq!(encoder.encode(kind, RecordSnapshot::new(&snapshot), &mut later), Ok(()));
            prop_assert_eq!(encoder.encode(kind, record, &mut at_once), Ok(()));
            if later != at_once {
                // A key that is made for the record is another one each time.
                let without_key = |json: &[u8]| {
                    let mut json: serde_json::Value = serde_json::from_slice(json).unwrap();
                    (json["idempotency_key"].take(), json)
                };
                let (one, other) = (without_key(&later), without_key(&at_once));
                prop_assert_ne!(one.0, other.0);
                prop_assert_eq!(one.1, other.1);
            }
        }
    }
}
