//! Parts of the agent used separately: a client without a queue, a buffer without a worker,
//! and an agent whose records are held by a buffer of the program.

use std::time::Duration;

use guard_agent::compat::{Buffer, DirectClient};
use guard_agent::stats::LossReason;
use guard_agent::{Kind, SecurityEvent};

use crate::support::backend::{Answer, Backend};
use crate::support::clock::ManualClock;
use crate::support::{PATIENCE, builder, ledger, send};

fn encoded(client: &DirectClient, count: usize) -> Vec<Vec<u8>> {
    let events = (0..count).map(|number| {
        let event = SecurityEvent::new("ip_banned").reason(format!("#{number}"));
        client.encode(Kind::Event, event.fields())
    });
    events.map(|event| event.expect("encoded")).collect()
}

fn reasons(records: &[Vec<u8>]) -> Vec<String> {
    let json = |record: &Vec<u8>| serde_json::from_slice::<serde_json::Value>(record);
    let reason = |record| {
        json(record).expect("JSON")["reason"]
            .as_str()
            .map(str::to_owned)
    };
    records.iter().filter_map(reason).collect()
}

#[test]
fn a_direct_client_splits_large_batches_and_delivers_them_in_one_call() {
    let backend = Backend::start(|_, request| match request.reasons().len() {
        5.. => Answer::status(413),
        _ => Answer::ok(),
    });
    let client = DirectClient::new(builder(&backend.url())).expect("valid");
    let records = encoded(&client, 16);
    let delivered = client.deliver(Kind::Event, &records, PATIENCE);
    assert!(delivered.expect("a runtime"));
    let requests = backend.requests();
    let taken = requests
        .iter()
        .filter(|request| request.reasons().len() < 5);
    assert_eq!(taken.count(), 4);
}

#[test]
fn a_direct_client_gives_up_after_one_round_and_keeps_nothing() {
    let backend = Backend::start(|index, _| match index {
        0 | 1 => Answer::status(500),
        _ => Answer::ok(),
    });
    let builder = builder(&backend.url())
        .retry_attempts(1)
        .backoff_factor(0.001);
    let client = DirectClient::new(builder).expect("valid");
    let records = encoded(&client, 1);
    assert!(
        !client
            .deliver(Kind::Event, &records, PATIENCE)
            .expect("a runtime")
    );
    assert_eq!(backend.requests().len(), 2);
    assert!(
        client
            .deliver(Kind::Event, &[], PATIENCE)
            .expect("a runtime")
    );
    assert_eq!(backend.requests().len(), 2);
    assert!(
        client
            .deliver(Kind::Event, &records, PATIENCE)
            .expect("a runtime")
    );
    assert!(client.stats().ledger.report().is_balanced());
}

#[test]
fn a_direct_client_gives_up_when_its_time_is_over() {
    let backend = Backend::start(|_, _| Answer::with(429, "Retry-After", 300));
    let client = DirectClient::new(builder(&backend.url())).expect("valid");
    let records = encoded(&client, 1);
    let limit = Duration::from_millis(50);
    assert!(
        !client
            .deliver(Kind::Event, &records, limit)
            .expect("a runtime")
    );
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn a_direct_client_that_is_closed_connects_again() {
    let backend = Backend::start(|_, _| Answer::ok());
    let client = DirectClient::new(builder(&backend.url())).expect("valid");
    assert!(!client.stats().running);
    for _ in 0..2 {
        let records = encoded(&client, 1);
        assert!(
            client
                .deliver(Kind::Event, &records, PATIENCE)
                .expect("a runtime")
        );
        assert!(client.stats().running);
        client.close();
        assert!(!client.stats().running);
    }
    assert_eq!(backend.requests().len(), 2);
}

#[test]
fn a_buffer_returns_its_records_oldest_first() {
    let buffer = Buffer::new(builder("http://127.0.0.1:9").max_buffered(2_usize)).expect("valid");
    for number in 0..3 {
        let event = SecurityEvent::new("ip_banned").reason(format!("#{number}"));
        buffer
            .record(Kind::Event, event.fields())
            .expect("room is made");
    }
    assert_eq!(reasons(&buffer.withdraw(Kind::Event)), ["#1", "#2"]);
    assert!(buffer.withdraw(Kind::Event).is_empty());
    assert!(buffer.stats().ledger.report().is_balanced());
}

#[test]
fn withdrawn_records_are_not_sent_and_do_not_count_as_failures() {
    let backend = Backend::start(|_, _| Answer::ok());
    let clock = ManualClock::new();
    let agent = builder(&backend.url()).clock(clock).build().expect("valid");
    send(&agent, 0, 3);
    assert_eq!(reasons(&agent.withdraw(Kind::Event)), ["#0", "#1", "#2"]);
    send(&agent, 3, 1);
    assert!(agent.flush(PATIENCE));
    assert_eq!(backend.requests()[0].reasons(), ["#3"]);
    assert_eq!(ledger(&agent).dropped["withdrawn"], 3);
    let stats = agent.stats();
    let account = stats.ledger.account(Kind::Event);
    assert_eq!(
        (account.failed(), account.dropped(LossReason::Withdrawn)),
        (0, 3)
    );
}

#[test]
fn records_in_an_external_buffer_are_counted_like_the_queue() {
    let agent = builder("http://127.0.0.1:9").build().expect("valid");
    let event = SecurityEvent::new("ip_banned");
    for _ in 0..3 {
        let encoded = agent.encode_external(Kind::Event, event.fields());
        encoded.expect("encoded");
    }
    assert_eq!(ledger(&agent).queued, 3);
    agent.external_delivered(Kind::Event, 2);
    agent.external_lost(Kind::Event, "it raised");
    let report = ledger(&agent);
    assert_eq!((report.queued, report.delivered), (0, 2));
    assert_eq!(report.dropped["buffer_failed"], 1);
    assert!(!agent.is_running());
}
