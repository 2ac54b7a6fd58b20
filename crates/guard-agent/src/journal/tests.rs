use std::time::{Duration, Instant};

use guard_wire::Kind;

use super::*;
use crate::Agent;
use crate::queue::Incoming;
use crate::store::{Stored, Usage};
use crate::sync::lock;

/// A store that counts the calls it receives.
#[derive(Default, Clone)]
struct Counted(Arc<std::sync::Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    appended: Vec<usize>,
    removed: usize,
    fails: bool,
    /// Number of further records that fit, if bounded.
    room: Option<usize>,
    /// Records that may be discarded.
    released: usize,
    /// Runs during the next append.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

impl Store for Counted {
    fn append(&mut self, records: &[(Kind, &[u8])]) -> Result<Vec<u64>, StoreError> {
        let mut counts = lock(&self.0);
        if counts.fails {
            return Err(StoreError::Failed("told to".to_owned()));
        }
        if let Some(meanwhile) = counts.meanwhile.take() {
            meanwhile();
        }
        if let Some(room) = &mut counts.room {
            let Some(left) = room.checked_sub(records.len()) else {
                return Err(StoreError::Full { used: 1, limit: 1 });
            };
            *room = left;
        }
        counts.appended.push(records.len());
        Ok((0..records.len() as u64).collect())
    }

    fn remove(&mut self, tokens: &[u64]) -> Result<(), StoreError> {
        lock(&self.0).removed += tokens.len();
        Ok(())
    }

    fn release(&mut self, tokens: &[u64]) {
        lock(&self.0).released += tokens.len();
    }

    fn quarantine(
        &mut self,
        _token: u64,
        _kind: Kind,
        _bytes: &[u8],
        _reason: &str,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn load(&mut self, _max_bytes: usize) -> Result<Vec<Stored>, StoreError> {
        Ok(Vec::new())
    }

    fn discard_oldest(&mut self, _bytes: u64) -> Result<[u64; 2], StoreError> {
        let mut counts = lock(&self.0);
        let let_go = std::mem::take(&mut counts.released);
        counts.room = counts.room.map(|room| room + let_go);
        Ok([let_go as u64, 0])
    }

    fn tick(&mut self, now: Instant) -> Result<Option<Instant>, StoreError> {
        Ok(Some(now + Duration::from_millis(200)))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// A journal that is attached to its queue.
fn journal() -> (Journal, Counted) {
    let config = Agent::builder("the-api-key-of-the-test")
        .endpoint("http://127.0.0.1:1")
        .validate()
        .expect("valid");
    let shared = Arc::new(Shared::new(config, "install".to_owned()));
    shared.queue.enable_persistence();
    let counted = Counted::default();
    let opened = counted.clone();
    let open: OpenStore = Arc::new(move || Ok(Box::new(opened.clone())));
    (Journal::new(shared, open, None), counted)
}

fn push(journal: &Journal, count: usize, len: usize) {
    for _ in 0..count {
        let bytes = vec![b'x'; len];
        let record = Incoming::Json(&bytes);
        journal.shared.queue.push(Kind::Event, record, Instant::now);
    }
}

#[test]
fn gathered_records_are_written_in_one_group() {
    let (mut journal, counted) = journal();
    push(&journal, 50, 100);
    journal.step(Instant::now());
    assert_eq!(lock(&counted.0).appended, [50]);
}

#[test]
fn large_groups_are_written_in_parts() {
    let (mut journal, counted) = journal();
    push(&journal, 5, GROUP / 2);
    journal.step(Instant::now());
    assert_eq!(lock(&counted.0).appended, [2, 2, 1]);
}

#[test]
fn records_delivered_before_the_write_are_never_written() {
    let (mut journal, counted) = journal();
    push(&journal, 100, 10);
    let queue = Arc::clone(&journal.shared.queue);
    let (kind, batch) = queue.take(Instant::now(), 10_000).expect("due");
    queue.deliver(kind, &batch);
    journal.step(Instant::now());
    let counts = lock(&counted.0);
    assert_eq!((counts.appended.len(), counts.removed), (0, 0));
}

#[test]
fn records_delivered_during_the_write_are_removed_in_the_same_step() {
    let (mut journal, counted) = journal();
    push(&journal, 100, 10);
    let queue = Arc::clone(&journal.shared.queue);
    lock(&counted.0).meanwhile = Some(Box::new(move || {
        let (kind, batch) = queue.take(Instant::now(), 10_000).expect("due");
        queue.deliver(kind, &batch);
    }));
    journal.step(Instant::now());
    let counts = lock(&counted.0);
    assert_eq!(
        (counts.appended.as_slice(), counts.removed),
        (&[100][..], 100)
    );
}

#[test]
fn a_full_store_discards_records_that_left_memory_during_the_write() {
    let (mut journal, counted) = journal();
    lock(&counted.0).room = Some(10);
    push(&journal, 10, 10);
    journal.step(Instant::now());
    push(&journal, 5, 10);
    let queue = Arc::clone(&journal.shared.queue);
    lock(&counted.0).meanwhile = Some(Box::new(move || queue.evict_all()));
    journal.step(Instant::now());
    assert_eq!(lock(&counted.0).appended, [10, 5]);
    assert!(!journal.shared.durability.stats().degraded);
    let ledger = journal.shared.queue.ledger().report();
    assert_eq!((ledger.queued, ledger.dropped["spool_full"]), (5, 10));
}

#[test]
fn a_step_returns_when_to_check_again() {
    let (mut journal, _) = journal();
    let now = Instant::now();
    assert_eq!(journal.step(now), Some(now + Duration::from_millis(200)));
}

#[test]
fn a_failed_store_is_retried_later_and_then_gets_everything() {
    let (mut journal, counted) = journal();
    lock(&counted.0).fails = true;
    push(&journal, 10, 10);
    let now = Instant::now();
    let again = now + RETRY_AFTER;
    assert_eq!(journal.step(now), Some(again));
    lock(&counted.0).fails = false;
    push(&journal, 10, 10);
    assert_eq!(journal.step(now), Some(again));
    assert!(lock(&counted.0).appended.is_empty());
    journal.step(again);
    assert_eq!(lock(&counted.0).appended, [20]);
    assert!(!journal.shared.durability.stats().degraded);
}
