use std::time::Instant;

use guard_wire::SecurityEvent;
use serde_json::Value;

use super::*;
use crate::queue::{Incoming, Pushed};
use crate::{Agent, AgentBuilder, intake};

fn shared(builder: AgentBuilder) -> Shared {
    let config = builder.endpoint("http://127.0.0.1:1").validate();
    Shared::new(config.expect("valid"), "install".to_owned())
}

fn builder() -> AgentBuilder {
    Agent::builder("the-api-key-of-the-test")
}

fn send(shared: &Shared, reason: &str) {
    let event = SecurityEvent::new("x").reason(reason.to_owned());
    intake::take(shared, Kind::Event, event.fields()).expect("room");
}

fn reasons(records: &[impl AsRef<[u8]>]) -> Vec<String> {
    let reason = |record: &[u8]| {
        let event: Value = serde_json::from_slice(record).expect("JSON");
        event["reason"].as_str().unwrap_or_default().to_owned()
    };
    records
        .iter()
        .map(|record| reason(record.as_ref()))
        .collect()
}

#[test]
fn taken_records_are_encoded_in_order_of_arrival() {
    let shared = shared(builder());
    for reason in ["1", "\"2\"", "3"] {
        send(&shared, reason);
    }
    shared.queue.start_flush();
    let (kind, batch) = next_batch(&shared).expect("due");
    assert_eq!(
        (kind, reasons(&batch)),
        (Kind::Event, vec!["1".into(), "\"2\"".into(), "3".into()])
    );
    assert!(next_batch(&shared).is_none());
}

#[test]
fn a_batch_longer_than_estimated_is_sent_in_parts() {
    let shared = shared(builder().max_batch_bytes(16_384));
    // As JSON, each takes six times its length.
    let reason = "\u{1}".repeat(200);
    for _ in 0..40 {
        send(&shared, &reason);
    }
    shared.queue.start_flush();
    let mut taken = 0;
    while let Some((kind, batch)) = next_batch(&shared) {
        let bytes: usize = batch.iter().map(|record| record.as_ref().len() + 1).sum();
        assert!(bytes <= shared.batch_room(), "{bytes}");
        taken += batch.len();
        shared.queue.deliver(kind, &batch);
    }
    assert_eq!(taken, 40);
    let fill = shared.queue.fill();
    assert_eq!((fill.items, fill.bytes), (0, 0));
}

#[test]
fn an_invalid_copy_is_counted_and_the_others_are_sent() {
    let shared = shared(builder());
    send(&shared, "sound");
    let snapshot = Incoming::Snapshot {
        bytes: b"\x00\x03\x00k-1",
        size: 10,
    };
    let pushed = shared.queue.push(Kind::Event, snapshot, Instant::now);
    assert_eq!(pushed, Pushed::Queued);
    shared.queue.start_flush();
    let (_, batch) = next_batch(&shared).expect("due");
    assert_eq!(reasons(&batch), ["sound"]);
    let ledger = shared.queue.ledger();
    assert_eq!(ledger.account(Kind::Event).dropped(LossReason::Invalid), 1);
    assert!(ledger.report().is_balanced());
}

#[test]
fn withdrawn_records_are_encoded() {
    let shared = shared(builder());
    send(&shared, "1");
    assert_eq!(reasons(&withdraw(&shared, Kind::Event)), ["1"]);
    assert_eq!(shared.queue.fill().items, 0);
}

#[test]
fn a_record_is_encoded_under_the_configuration_in_force_when_it_is_sent() {
    let before = shared(builder());
    send(&before, "{\"pin\": \"1234\"}");
    let config = builder()
        .endpoint("http://127.0.0.1:1")
        .sensitive_headers(vec!["pin".to_owned()]);
    let after = before.reconfigured(config.validate().expect("valid"), "install".to_owned());
    after.queue.start_flush();
    let (_, batch) = next_batch(&after).expect("due");
    assert_eq!(reasons(&batch), ["{\"pin\": \"[REDACTED]\"}"]);
}

#[test]
fn with_a_store_waiting_records_are_encoded_and_copies_are_refused() {
    let shared = shared(builder());
    send(&shared, "before");
    enable_persistence(&shared);
    let snapshot = Incoming::Snapshot {
        bytes: b"",
        size: 10,
    };
    let pushed = shared.queue.push(Kind::Event, snapshot, Instant::now);
    assert_eq!(pushed, Pushed::NotEncoded);
    send(&shared, "after");
    assert_eq!(shared.queue.unsaved(), 2);
}
