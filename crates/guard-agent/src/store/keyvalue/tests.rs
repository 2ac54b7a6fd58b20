//! Tests the store on a key-value store in memory, with a clock that only moves when
//! a test moves it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use guard_wire::redact::Redactor;

use super::*;
use crate::sync::lock;

/// The value of a key, and when it expires.
type Entry = (String, Option<Instant>);

/// A key-value store that several processes share.
#[derive(Clone)]
struct Shelf {
    entries: Arc<Mutex<BTreeMap<(&'static str, String), Entry>>>,
    now: Arc<Mutex<Instant>>,
    /// Number of further calls that succeed.
    calls_left: Arc<Mutex<usize>>,
}

impl Shelf {
    fn new() -> Self {
        Self {
            entries: Arc::default(),
            now: Arc::new(Mutex::new(Instant::now())),
            calls_left: Arc::new(Mutex::new(usize::MAX)),
        }
    }

    fn now(&self) -> Instant {
        *lock(&self.now)
    }

    fn pass(&self, time: Duration) {
        *lock(&self.now) += time;
        let now = self.now();
        lock(&self.entries).retain(|_, (_, end)| end.is_none_or(|end| now < end));
    }

    fn fail_after(&self, calls: usize) {
        *lock(&self.calls_left) = calls;
    }

    fn calls_left(&self) -> usize {
        *lock(&self.calls_left)
    }

    fn work(&self) {
        self.fail_after(usize::MAX);
    }

    fn call(&self) -> Result<(), StoreError> {
        let mut left = lock(&self.calls_left);
        *left = left
            .checked_sub(1)
            .ok_or_else(|| StoreError::Failed("gone".to_owned()))?;
        Ok(())
    }

    fn put(&self, namespace: &'static str, name: &str, value: &str) {
        let entry = (value.to_owned(), None);
        lock(&self.entries).insert((namespace, name.to_owned()), entry);
    }

    /// The names in a namespace that start with `word`.
    fn named(&self, namespace: &str, word: &str) -> Vec<String> {
        let entries = lock(&self.entries);
        let names = entries.keys().filter(|(of, _)| *of == namespace);
        names
            .map(|(_, name)| name.clone())
            .filter(|name| name.starts_with(word))
            .collect()
    }

    /// A new process.
    fn store(&self) -> KeyValueStore<Shelf> {
        let mut store = self.closed_store();
        store.tick(self.now()).unwrap();
        store
    }

    fn closed_store(&self) -> KeyValueStore<Shelf> {
        let options = KeyValueOptions {
            max_bytes: 10_000,
            encoder: Encoder::new(Redactor::new(["authorization"]), 1024, 10_000),
            clock: Arc::new(Clock(self.clone(), Instant::now())),
        };
        KeyValueStore::new(self.clone(), options)
    }
}

struct Clock(Shelf, Instant);

impl crate::clock::Clock for Clock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000) + self.0.now().duration_since(self.1)
    }

    fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl KeyValue for Shelf {
    fn get(&mut self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError> {
        self.call()?;
        let entries = lock(&self.entries);
        let get = |key: &Key| entries.get(&(Key::namespace(key.kind), key.name.clone()));
        Ok(keys
            .iter()
            .map(|key| get(key).map(|(value, _)| value.clone()))
            .collect())
    }

    fn set(
        &mut self,
        entries: Vec<(Key, String)>,
        life: Option<Duration>,
    ) -> Result<(), StoreError> {
        self.call()?;
        let end = life.map(|life| self.now() + life);
        for (key, value) in entries {
            let key = (Key::namespace(key.kind), key.name);
            lock(&self.entries).insert(key, (value, end));
        }
        Ok(())
    }

    fn delete(&mut self, keys: &[Key]) -> Result<Vec<bool>, StoreError> {
        self.call()?;
        let mut entries = lock(&self.entries);
        let mut delete = |key: &Key| entries.remove(&(Key::namespace(key.kind), key.name.clone()));
        Ok(keys.iter().map(|key| delete(key).is_some()).collect())
    }

    fn names(&mut self, kind: Kind) -> Result<Vec<String>, StoreError> {
        self.call()?;
        Ok(self.named(Key::namespace(kind), ""))
    }
}

const EVENTS: &str = "agent_events";
const METRICS: &str = "agent_metrics";

fn append(store: &mut impl Store, records: &[(Kind, &str)]) -> Vec<u64> {
    let records: Vec<(Kind, &[u8])> = records
        .iter()
        .map(|(kind, record)| (*kind, record.as_bytes()))
        .collect();
    store.append(&records).unwrap()
}

fn append_events(store: &mut impl Store, records: &[&str]) -> Vec<u64> {
    let records: Vec<_> = records
        .iter()
        .map(|record| (Kind::Event, *record))
        .collect();
    append(store, &records)
}

/// Loads all records on offer, in the store's order.
fn load(store: &mut impl Store) -> Vec<String> {
    texts(&store.load(10_000).unwrap())
}

fn texts(records: &[Stored]) -> Vec<String> {
    let text = |record: &Stored| String::from_utf8(record.bytes.clone()).unwrap();
    records.iter().map(text).collect()
}

#[test]
fn records_of_a_kind_saved_together_share_one_key() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    let records = [(Kind::Event, "1"), (Kind::Metric, "2"), (Kind::Event, "3")];
    let tokens = append(&mut store, &records);
    assert_eq!(tokens.len(), 3);
    let values: Vec<String> = lock(&shelf.entries)
        .iter()
        .filter(|((_, name), _)| name.starts_with("group"))
        .map(|(_, (value, _))| value.clone())
        .collect();
    assert_eq!(values, ["[1,3]", "[2]"]);
}

#[test]
fn a_key_is_deleted_with_the_last_of_its_records() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    let tokens = append_events(&mut store, &["1", "2", "3"]);
    store.remove(&tokens[..2]).unwrap();
    assert_eq!(shelf.named(EVENTS, "group").len(), 1);
    assert_eq!(store.usage().records, 1);
    store.remove(&tokens[2..]).unwrap();
    assert_eq!(shelf.named(EVENTS, "group"), [""; 0]);
    assert_eq!(store.usage(), Usage::default());
}

#[test]
fn a_removal_that_failed_can_be_repeated_with_more() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    let tokens = append_events(&mut store, &["1", "2"]);
    let more = append_events(&mut store, &["3", "4"]);
    shelf.fail_after(0);
    store.remove(&tokens).unwrap_err();
    shelf.work();
    store.remove(&[&tokens[..], &more[..1]].concat()).unwrap();
    assert_eq!(store.usage().records, 1);
    assert_eq!(shelf.named(EVENTS, "group").len(), 1);
}

#[test]
fn keys_of_a_failed_attempt_to_save_are_overwritten() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    for _ in 0..3 {
        shelf.fail_after(0);
        store
            .append(&[(Kind::Event, b"1"), (Kind::Metric, b"2")])
            .unwrap_err();
    }
    shelf.work();
    append(&mut store, &[(Kind::Event, "1"), (Kind::Metric, "2")]);
    let mut names = shelf.named(EVENTS, "group");
    names.append(&mut shelf.named(METRICS, "group"));
    assert!(
        names[0].ends_with("_1") && names[1].ends_with("_2"),
        "{names:?}"
    );
}

#[test]
fn evicted_records_are_loaded_newest_first() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    let mut tokens = append_events(&mut store, &["1", "2"]);
    shelf.pass(Duration::from_secs(1));
    tokens.append(&mut append_events(&mut store, &["3", "4", "5"]));
    store.release(&tokens[..4]);
    assert!(store.usage().backlog);
    let loaded = store.load(10_000).unwrap();
    assert_eq!(texts(&loaded), ["4", "3", "2", "1"]);
    assert_eq!(loaded[0].token, tokens[3]);
    assert!(!store.usage().backlog);
}

#[test]
fn loading_is_limited_by_the_room() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    let tokens = append_events(&mut store, &["10", "20", "30", "40"]);
    store.release(&tokens);
    assert_eq!(texts(&store.load(4).unwrap()), ["40", "30"]);
    assert_eq!(texts(&store.load(0).unwrap()), ["20"]);
    assert_eq!(texts(&store.load(4).unwrap()), ["10"]);
}

#[test]
fn a_new_process_takes_over_records_of_dead_processes() {
    let shelf = Shelf::new();
    append(
        &mut shelf.store(),
        &[(Kind::Event, "1"), (Kind::Metric, "2")],
    );
    shelf.pass(LEASE);
    let mut heir = shelf.store();
    let loaded = heir.load(10_000).unwrap();
    assert_eq!(loaded.len(), 2);
    let tokens: Vec<u64> = loaded.iter().map(|record| record.token).collect();
    heir.remove(&tokens).unwrap();
    assert!(
        lock(&shelf.entries)
            .keys()
            .all(|(_, name)| name.starts_with("lease") || name == "roster")
    );
}

#[test]
fn records_of_a_process_that_ended_cleanly_are_taken_over_at_once() {
    let shelf = Shelf::new();
    let mut store = Box::new(shelf.store());
    append_events(store.as_mut(), &["1"]);
    store.close().unwrap();
    assert_eq!(load(&mut shelf.store()), ["1"]);
}

#[test]
fn a_process_that_leaves_nothing_does_not_need_the_store_to_close() {
    let shelf = Shelf::new();
    let mut store = Box::new(shelf.store());
    let tokens = append_events(store.as_mut(), &["1"]);
    store.remove(&tokens).unwrap();
    shelf.fail_after(0);
    store.close().unwrap();
}

#[test]
fn records_of_live_processes_are_not_taken_over() {
    let shelf = Shelf::new();
    let mut first = shelf.store();
    append_events(&mut first, &["1"]);
    for _ in 0..10 {
        shelf.pass(RENEWAL);
        first.tick(shelf.now()).unwrap();
        assert!(!shelf.store().usage().backlog);
    }
}

/// Lets time pass for live processes until one of them has found records. Returns how
/// long that took, at most a minute.
fn live(shelf: &Shelf, living: &mut [KeyValueStore<Shelf>]) -> Duration {
    let mut lived = Duration::ZERO;
    while lived < Duration::from_secs(60) && !living.iter().any(|each| each.usage().backlog) {
        shelf.pass(RENEWAL);
        lived += RENEWAL;
        for each in living.iter_mut() {
            each.tick(shelf.now()).unwrap();
        }
    }
    lived
}

#[test]
fn a_process_started_right_after_a_death_takes_over_when_the_lease_expires() {
    let shelf = Shelf::new();
    append_events(&mut shelf.store(), &["1"]);
    let mut heir = shelf.store();
    assert!(!heir.usage().backlog);
    live(&shelf, std::slice::from_mut(&mut heir));
    assert_eq!(load(&mut heir), ["1"]);
}

#[test]
fn a_live_process_takes_over_records_of_a_dead_one() {
    let shelf = Shelf::new();
    let mut living = [shelf.store(), shelf.store(), shelf.store()];
    append_events(&mut shelf.store(), &["1"]);
    let looks: u32 = living.iter().map(|each| each.looks).sum();
    let lived = live(&shelf, &mut living);
    assert!(lived <= LEASE + RENEWAL + GRACE, "{lived:?}");
    assert_eq!(living.iter_mut().flat_map(load).count(), 1);
    let looks_of_all: u32 = living.iter().map(|each| each.looks).sum();
    assert_eq!(looks_of_all, looks + 1, "only one lists all keys for it");
    assert_eq!(live(&shelf, &mut living), Duration::from_secs(60));
}

#[test]
fn after_an_outage_live_processes_have_time_to_renew_their_leases() {
    let shelf = Shelf::new();
    let mut living = [shelf.store(), shelf.store()];
    append_events(&mut living[0], &["1"]);
    append_events(&mut living[1], &["2"]);
    shelf.fail_after(0);
    for _ in 0..20 {
        shelf.pass(RENEWAL);
        for each in &mut living {
            each.tick(shelf.now()).unwrap_err();
        }
    }
    shelf.work();
    assert_eq!(live(&shelf, &mut living), Duration::from_secs(60));
}

#[test]
fn a_process_lost_from_the_membership_list_is_watched_again() {
    let shelf = Shelf::new();
    let mut living = [shelf.store()];
    let mut doomed = shelf.store();
    append_events(&mut doomed, &["1"]);
    shelf.put(EVENTS, "roster", "");
    shelf.pass(RENEWAL);
    doomed.tick(shelf.now()).unwrap();
    drop(doomed);
    live(&shelf, &mut living);
    assert_eq!(load(&mut living[0]), ["1"]);
}

#[test]
fn live_processes_never_list_all_keys_and_make_few_calls() {
    let shelf = Shelf::new();
    let mut living: Vec<_> = (0..30).map(|_| shelf.store()).collect();
    shelf.fail_after(usize::MAX);
    live(&shelf, &mut living);
    // Each renews its lease, reads the membership list and checks one other process.
    assert_eq!(usize::MAX - shelf.calls_left(), 20 * 30 * 3);
    assert!(living.iter().all(|each| each.looks == 1));
}

#[test]
fn processes_that_start_at_once_never_load_the_same_record() {
    let shelf = Shelf::new();
    append_events(&mut shelf.store(), &["1", "2"]);
    shelf.put(EVENTS, "event_5_ab", &public_event("a"));
    shelf.pass(LEASE);
    let mut heirs = [shelf.store(), shelf.store(), shelf.store()];
    let mut loaded: Vec<String> = heirs.iter_mut().flat_map(load).collect();
    loaded.sort();
    assert_eq!(loaded.len(), 3, "{loaded:?}");
    assert_eq!(loaded[..2], ["1", "2"]);
    let groups = shelf.named(EVENTS, "group").len();
    assert_eq!(groups, 2, "copies that lost the race are deleted");
}

#[test]
fn a_process_that_dies_during_a_takeover_loses_nothing() {
    let shelf = Shelf::new();
    append_events(&mut shelf.store(), &["1"]);
    shelf.pass(LEASE);
    for calls in 0..3 {
        let mut heir = shelf.store();
        shelf.fail_after(calls);
        heir.load(1).unwrap_err();
        shelf.work();
        drop(heir);
        shelf.pass(LEASE);
    }
    let loaded = load(&mut shelf.store());
    assert!(
        !loaded.is_empty() && loaded.iter().all(|record| record == "1"),
        "{loaded:?}"
    );
}

fn public_event(key: &str) -> String {
    format!(
        r#"{{"idempotency_key":"{key}","timestamp":"2026-11-24 00:17:47.267256+00:00","event_type":"ip_banned","country":null,"metadata":{{"Authorization":"s"}}}}"#
    )
}

#[test]
fn records_of_other_versions_of_the_agent_are_rewritten() {
    let shelf = Shelf::new();
    shelf.put(
        EVENTS,
        "event_1795479467280674101_0b8cb8a5",
        &public_event("k"),
    );
    let mut store = shelf.store();
    assert_eq!(
        load(&mut store),
        [
            r#"{"idempotency_key":"k","timestamp":"2026-11-24T00:17:47.267256Z","event_type":"ip_banned","metadata":{"Authorization":"[REDACTED]"}}"#
        ]
    );
    assert_eq!(shelf.named(EVENTS, "event"), [""; 0]);
}

#[test]
fn a_record_without_an_idempotency_key_gets_the_same_one_in_every_process() {
    let metric = r#"{"timestamp":"2026-11-24 00:17:47+00:00","metric_type":"response_time","value":1.0,"tags":{}}"#;
    let found = || {
        let shelf = Shelf::new();
        shelf.put(METRICS, "metric_1795479467281188472_57910c59", metric);
        load(&mut shelf.store())
    };
    assert_eq!(found(), found());
    assert!(found()[0].contains(r#""idempotency_key":"metric_1795479467281188472_57910c59""#));
}

#[test]
fn many_single_records_become_one_group_in_order() {
    let shelf = Shelf::new();
    for n in 10..20 {
        shelf.put(
            EVENTS,
            &format!("event_{n}_ab"),
            &public_event(&n.to_string()),
        );
    }
    let mut store = shelf.store();
    let loaded = load(&mut store);
    assert!(loaded[0].contains(r#""19""#) && loaded[9].contains(r#""10""#));
    assert_eq!(shelf.named(EVENTS, "group").len(), 1);
}

#[test]
fn an_unreadable_single_record_is_quarantined() {
    let shelf = Shelf::new();
    shelf.put(EVENTS, "event_1_ab", "not JSON");
    shelf.put(
        EVENTS,
        "event_2_ab",
        r#"{"timestamp":"2026-11-24 00:17:47+00:00"}"#,
    );
    let mut store = shelf.store();
    assert_eq!(load(&mut store), [""; 0]);
    assert_eq!(store.usage().quarantined, 2);
    assert_eq!(shelf.named(EVENTS, "quarantine").len(), 2);
    assert_eq!(shelf.named(EVENTS, "event"), [""; 0]);
    assert!(!store.usage().backlog);
}

#[test]
fn foreign_keys_are_left_alone() {
    let shelf = Shelf::new();
    shelf.put(EVENTS, "something", "else");
    shelf.put(EVENTS, "group_1_ab_1", "no group");
    let mut store = shelf.store();
    assert_eq!(load(&mut store), [""; 0]);
    assert_eq!(shelf.named(EVENTS, "something").len(), 1);
    assert_eq!(shelf.named(EVENTS, "group").len(), 1);
}

#[test]
fn a_refused_record_is_quarantined_with_its_reason() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    let tokens = append_events(&mut store, &["{\"a\":1}", "{\"b\":2}"]);
    store
        .quarantine(tokens[1], Kind::Event, b"{\"b\":2}", "rejected")
        .unwrap();
    let name = shelf.named(EVENTS, "quarantine").remove(0);
    let (value, _) = lock(&shelf.entries)[&(EVENTS, name)].clone();
    assert_eq!(value, r#"{"reason":"rejected","record":"{\"b\":2}"}"#);
    assert_eq!((store.usage().quarantined, store.usage().records), (1, 1));
}

#[test]
fn the_quarantine_is_bounded() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    store.quarantined = MAX_QUARANTINED;
    let tokens = append_events(&mut store, &["1"]);
    store
        .quarantine(tokens[0], Kind::Event, b"1", "rejected")
        .unwrap();
    assert_eq!(shelf.named(EVENTS, "quarantine"), [""; 0]);
    assert_eq!(store.usage().records, 0);
}

#[test]
fn a_full_store_returns_an_error_and_discards_the_oldest_metrics_first() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    let large = format!("\"{}\"", "x".repeat(4000));
    let mut tokens = append_events(&mut store, &[&large]);
    tokens.append(&mut append(&mut store, &[(Kind::Metric, &large)]));
    let full = store
        .append(&[(Kind::Event, large.as_bytes())])
        .unwrap_err();
    assert!(matches!(full, StoreError::Full { limit: 10_000, .. }));
    assert_eq!(store.discard_oldest(1).unwrap(), [0, 0], "all is in memory");
    store.release(&tokens);
    assert_eq!(store.discard_oldest(1).unwrap(), [0, 1]);
    append_events(&mut store, &[&large]);
    assert_eq!(load(&mut store).len(), 1);
}

#[test]
fn an_unreachable_store_starts_once_it_is_reachable() {
    let shelf = Shelf::new();
    append_events(&mut shelf.store(), &["1"]);
    shelf.pass(LEASE);
    let mut heir = shelf.closed_store();
    for calls in [0, 1, 2] {
        shelf.fail_after(calls);
        heir.tick(shelf.now()).unwrap_err();
    }
    shelf.work();
    heir.tick(shelf.now()).unwrap();
    assert_eq!(load(&mut heir), ["1"]);
}

#[test]
fn records_lost_by_redis_are_reported_if_they_were_not_in_memory() {
    let shelf = Shelf::new();
    let mut store = shelf.store();
    let tokens = append(
        &mut store,
        &[(Kind::Event, "1"), (Kind::Event, "2"), (Kind::Metric, "3")],
    );
    store.release(&tokens[..1]);
    lock(&shelf.entries).clear();
    assert_eq!(load(&mut store), [""; 0]);
    assert_eq!(store.usage().damaged, [1, 0]);
    assert!(!store.usage().backlog);
    store.remove(&tokens[1..]).unwrap();
    assert_eq!(store.usage().records, 0);
}

#[test]
fn after_a_redis_flush_records_in_memory_are_saved_again_and_the_rest_is_counted() {
    let shelf = Shelf::new();
    let mut stores = [shelf.store(), shelf.store()];
    for store in &mut stores {
        let tokens = append_events(store, &["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
        append(store, &[(Kind::Metric, "{}")]);
        store.release(&tokens[..1]);
    }
    lock(&shelf.entries).clear();
    for store in &mut stores {
        // The other process may have created a membership list again, too.
        shelf.pass(RENEWAL);
        store.tick(shelf.now()).unwrap();
        assert!(store.warning().unwrap().contains("deleted 2 key(s)"));
        let mut forgotten = store.forgotten();
        assert_eq!((forgotten.len(), store.usage().records), (3, 0));
        assert_eq!(store.usage().damaged, [1, 0]);
        // This record leaves memory before the queue learns of its loss.
        forgotten.sort_unstable();
        store.release(&forgotten[..1]);
        assert_eq!(store.usage().damaged, [2, 0]);
        assert_eq!(store.forgotten(), [0; 0]);
        append_events(store, &["{\"n\":2}", "{\"n\":3}"]);
        shelf.pass(RENEWAL);
        store.tick(shelf.now()).unwrap();
        assert_eq!((store.warning(), store.usage().records), (None, 2));
    }
}
