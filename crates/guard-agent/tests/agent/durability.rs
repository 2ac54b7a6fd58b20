//! The agent with a store: which records are saved, loaded again, and evicted from memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use guard_agent::stats::LossReason;
use guard_agent::{Agent, AgentBuilder, OverflowPolicy, SecurityEvent};
use guard_wire::Kind;

use crate::support::backend::{Answer, Backend};
use crate::support::clock::ManualClock;
use crate::support::shelf::Shelf;
use crate::support::{PATIENCE, builder, eventually, ledger, send};

/// A backend that answers 500 until the flag is set.
fn flapping() -> (Backend, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let backend = Backend::start(move |_, _| {
        if is_up.load(Ordering::Relaxed) {
            Answer::ok()
        } else {
            Answer::status(500)
        }
    });
    (backend, up)
}

fn durable(url: &str, shelf: &Shelf) -> AgentBuilder {
    builder(url).store(shelf.opener())
}

/// The reasons of the events with these numbers.
fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("#{number}")).collect()
}

/// The reasons of all received events, in order.
fn received(backend: &Backend) -> Vec<String> {
    let requests = backend.requests();
    let mut all: Vec<String> = requests.iter().flat_map(|each| each.reasons()).collect();
    all.sort_by_key(|reason| reason[1..].parse::<usize>().expect("a number"));
    all
}

#[test]
fn a_reconfiguration_does_not_wait_for_a_store_that_hangs() {
    let (go, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let backend = Backend::start(|_, _| Answer::ok());
    let shelf = Shelf::default();
    let (hangs, is_hanging) = mpsc::channel();
    shelf.state().meanwhile = Some(Box::new(move || {
        hangs.send(()).expect("awaited");
        wait.recv().expect("told to go on");
    }));
    let caller = thread::current().id();
    let configured = || {
        let tell = tell.clone();
        durable(&backend.url(), &shelf).on_report(move |report| {
            let by_caller = thread::current().id() == caller;
            let _ = tell.send((by_caller, report.message.clone()));
        })
    };
    let agent = configured().build().expect("valid");
    send(&agent, 0, 10);
    is_hanging.recv_timeout(PATIENCE).expect("a write");
    agent.reconfigure(configured()).expect("valid");
    send(&agent, 10, 10);
    let by_caller = loop {
        let (by_caller, message): (bool, String) = told.recv_timeout(PATIENCE).expect("a report");
        if message.contains("the spool does not answer") {
            break by_caller;
        }
    };
    assert!(!by_caller, "the caller waited until the store was given up");

    let report = ledger(&agent);
    assert_eq!((report.accepted, report.dropped.len()), (20, 0));
    go.send(()).expect("the store waits");
}

#[test]
fn undelivered_records_are_saved_without_a_request() {
    let shelf = Shelf::default();
    let agent = durable("http://127.0.0.1:1", &shelf)
        .build()
        .expect("valid");
    send(&agent, 0, 50);
    eventually("saved", || shelf.state().written == 50);
    assert!(shelf.state().groups < 50);
    assert_eq!(shelf.reasons(), numbers(0..50));
    assert_eq!(ledger(&agent).queued, 50);
}

#[test]
fn records_that_come_while_a_store_waits_by_parking_are_saved() {
    let shelf = Shelf::default();
    let agent = durable("http://127.0.0.1:1", &shelf)
        .build()
        .expect("valid");
    let sender = agent.clone();
    shelf.state().meanwhile = Some(Box::new(move || {
        send(&sender, 1, 1);
        // As a channel does while a thread waits on it.
        thread::park_timeout(Duration::ZERO);
    }));
    send(&agent, 0, 1);
    eventually("both saved", || shelf.state().written == 2);
}

#[test]
fn delivered_records_are_removed_from_the_store() {
    let shelf = Shelf::default();
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = durable(&backend.url(), &shelf).build().expect("valid");
    send(&agent, 0, 50);
    eventually("saved", || !shelf.state().records.is_empty());
    assert!(agent.flush(PATIENCE));
    eventually("forgotten", || shelf.state().records.is_empty());
    assert_eq!(ledger(&agent).delivered, 50);
}

#[test]
fn a_stop_saves_and_syncs_the_rest_and_counts_it_as_spooled() {
    let shelf = Shelf::default();
    let agent = durable("http://127.0.0.1:1", &shelf)
        .build()
        .expect("valid");
    send(&agent, 0, 500);
    assert!(agent.stop());
    let report = ledger(&agent);
    assert_eq!((report.queued, report.spooled), (0, 500));
    assert_eq!(
        (shelf.reasons(), shelf.state().synced),
        (numbers(0..500), 1)
    );
    agent.close();
    assert_eq!(ledger(&agent).spooled, 500);
}

#[test]
fn the_next_process_delivers_the_records_of_the_last_one() {
    let shelf = Shelf::default();
    let last = durable("http://127.0.0.1:1", &shelf)
        .build()
        .expect("valid");
    send(&last, 0, 500);
    drop(last);
    let backend = Backend::start(|_, _| Answer::ok());
    let next = durable(&backend.url(), &shelf).build().expect("valid");
    next.start();
    eventually("delivered", || ledger(&next).delivered == 500);
    assert_eq!(next.stats().ledger.account(Kind::Event).recovered, 500);
    assert_eq!(received(&backend), numbers(0..500));
    eventually("forgotten", || shelf.state().records.is_empty());
}

#[test]
fn a_stopped_agent_continues_with_its_records() {
    let shelf = Shelf::default();
    let (backend, up) = flapping();
    let agent = durable(&backend.url(), &shelf).build().expect("valid");
    send(&agent, 0, 50);
    assert!(agent.stop());
    up.store(true, Ordering::Relaxed);
    agent.start();
    eventually("delivered", || ledger(&agent).delivered == 50);
    let report = ledger(&agent);
    assert_eq!((report.accepted, report.spooled), (50, 0));
}

#[test]
fn a_stopped_agent_that_had_failed_retries_its_records() {
    let shelf = Shelf::default();
    let (backend, up) = flapping();
    let agent = durable(&backend.url(), &shelf).build().expect("valid");
    send(&agent, 0, 50);
    agent.flush(Duration::from_millis(1));
    eventually("failed", || agent.stats().requests.requests_failed > 0);
    assert!(agent.stop());
    assert_eq!(ledger(&agent).spooled, 50);
    up.store(true, Ordering::Relaxed);
    agent.start();
    eventually("delivered", || ledger(&agent).delivered == 50);
}

#[test]
fn full_memory_evicts_saved_records_and_loads_them_later() {
    let shelf = Shelf::default();
    let (backend, up) = flapping();
    let clock = ManualClock::new();
    let agent = durable(&backend.url(), &shelf)
        .clock(clock.clone())
        .max_buffered(100_usize)
        .build()
        .expect("valid");
    for first in (0..1000).step_by(50) {
        send(&agent, first, 50);
        eventually("saved", || shelf.state().written == first + 50);
    }
    let report = ledger(&agent);
    assert_eq!((report.queued, report.spooled), (100, 900));
    up.store(true, Ordering::Relaxed);
    eventually("delivered", || {
        clock.advance(Duration::from_secs(1));
        agent.flush(Duration::from_millis(1));
        ledger(&agent).delivered == 1000
    });
    assert_eq!(ledger(&agent).dropped.len(), 0);
    let mut all = received(&backend);
    all.dedup();
    assert_eq!(all, numbers(0..1000));
}

#[test]
fn a_failing_store_is_reported_once_and_used_again_when_it_works() {
    let shelf = Shelf::default();
    shelf.state().broken = true;
    let clock = ManualClock::new();
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let agent = durable("http://127.0.0.1:1", &shelf)
        .clock(clock.clone())
        .on_report(move |report| {
            if report.stage == "spool" {
                sink.lock().expect("whole").push(report.message.clone());
            }
        })
        .build()
        .expect("valid");
    send(&agent, 0, 50);
    let durability = || agent.stats().durability.expect("a store");
    eventually("noticed", || durability().degraded);
    for failures in 2..5 {
        clock.advance(guard_agent::limits::RETRY_AFTER);
        send(&agent, failures * 50, 1);
        eventually("tried again", || durability().failures >= failures as u64);
    }
    assert_eq!(heard.lock().expect("whole").len(), 1);
    assert_eq!(ledger(&agent).queued, 53);
    shelf.state().broken = false;
    clock.advance(Duration::from_secs(5));
    eventually("saved", || shelf.state().records.len() == 53);
    eventually("mended", || !durability().degraded);
}

#[test]
fn under_drop_a_full_store_discards_and_counts_its_oldest_records() {
    let shelf = Shelf::default();
    shelf.state().limit = Some(20_000);
    let agent = durable("http://127.0.0.1:1", &shelf)
        .max_buffered(20_usize)
        .clock(ManualClock::new())
        .build()
        .expect("valid");
    for first in (0..1000).step_by(10) {
        send(&agent, first, 10);
        eventually("saved", || shelf.state().written == first + 10);
    }
    let report = ledger(&agent);
    let kept = shelf.reasons();
    assert_eq!(report.dropped["spool_full"], 1000 - kept.len() as u64);
    assert_eq!(report.queued + report.spooled, kept.len() as u64);
    assert_eq!(kept, numbers(1000 - kept.len()..1000));
}

#[test]
fn under_raise_a_full_store_fills_memory_and_then_causes_an_error() {
    let shelf = Shelf::default();
    shelf.state().limit = Some(0);
    let agent = durable("http://127.0.0.1:1", &shelf)
        .buffer_size(30)
        .overflow_policy(OverflowPolicy::Raise)
        .clock(ManualClock::new())
        .build()
        .expect("valid");
    let event = SecurityEvent::new("x");
    let refused = (0..1000).find_map(|_| agent.send_event(&event).err());
    assert_eq!(refused.expect("full").limit, 30);
    assert_eq!(ledger(&agent).dropped.len(), 0);
}

#[test]
fn under_block_waiting_callers_continue_when_records_are_saved() {
    let shelf = Shelf::default();
    let agent = durable("http://127.0.0.1:1", &shelf)
        .buffer_size(5)
        .overflow_policy(OverflowPolicy::Block)
        .clock(ManualClock::new())
        .build()
        .expect("valid");
    send(&agent, 0, 100);
    eventually("saved", || shelf.state().records.len() == 100);
    let report = ledger(&agent);
    assert_eq!((report.accepted, report.dropped.len()), (100, 0));
}

#[test]
fn under_block_callers_waiting_for_a_full_store_are_released_when_the_agent_stops() {
    let shelf = Shelf::default();
    shelf.state().limit = Some(0);
    let agent = durable("http://127.0.0.1:1", &shelf)
        .buffer_size(5)
        .overflow_policy(OverflowPolicy::Block)
        .clock(ManualClock::new())
        .build()
        .expect("valid");
    send(&agent, 0, 5);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| agent.send_event(&SecurityEvent::new("x")));
        eventually("released", || {
            agent.stop();
            waiting.is_finished()
        });
        // It is accepted if it was checked while the five were in flight.
        let is_taken = waiting.join().expect("ends").is_ok();
        assert_eq!(ledger(&agent).accepted, 5 + u64::from(is_taken));
    });
}

#[test]
fn a_refused_record_is_quarantined_with_its_reason() {
    let shelf = Shelf::default();
    let backend = Backend::start(|_, request| {
        if request.reasons().contains(&"#7".to_owned()) {
            Answer::status(400)
        } else {
            Answer::ok()
        }
    });
    let agent = durable(&backend.url(), &shelf).build().expect("valid");
    send(&agent, 0, 20);
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).dropped[LossReason::Rejected.as_str()], 1);
    eventually("set aside", || shelf.state().quarantined.len() == 1);
    let (bytes, reason) = shelf.state().quarantined[0].clone();
    assert!(String::from_utf8(bytes).expect("text").contains("#7"));
    assert_eq!(reason, "rejected");
    eventually("forgotten", || shelf.state().records.is_empty());
}

#[test]
fn records_queued_before_there_was_a_store_are_saved_too() {
    let shelf = Shelf::default();
    let agent: Agent = builder("http://127.0.0.1:1")
        .clock(ManualClock::new())
        .build()
        .expect("valid");
    send(&agent, 0, 50);
    let with_store = durable("http://127.0.0.1:1", &shelf).clock(ManualClock::new());
    agent.reconfigure(with_store).expect("valid");
    eventually("saved", || shelf.state().records.len() == 50);
    assert_eq!(ledger(&agent).accepted, 50);
}
