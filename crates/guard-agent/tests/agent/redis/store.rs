//! The promises of a store, tested on a real Redis.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use guard_agent::Kind;
use guard_agent::store::{
    REDIS_RECORD_OVERHEAD, RedisOptions, RedisStore, Store, StoreError, Stored,
};

use super::server::Server;
use crate::support::eventually;

pub(crate) const RECORDS: &str = "guard_agent:{shop}:records";
pub(crate) const SIZE: &str = "guard_agent:{shop}:size";

pub(crate) fn options(server: &Server) -> RedisOptions {
    RedisOptions::new(&server.url()).unwrap().project("shop")
}

pub(crate) fn open(server: &Server) -> RedisStore {
    RedisStore::open(options(server)).unwrap()
}

pub(crate) fn append(store: &mut RedisStore, kind: Kind, records: &[&str]) -> Vec<u64> {
    let records: Vec<_> = records.iter().map(|json| (kind, json.as_bytes())).collect();
    store.append(&records).unwrap()
}

pub(crate) fn load(store: &mut RedisStore) -> Vec<Stored> {
    store.load(usize::MAX).unwrap()
}

pub(crate) fn texts(records: &[Stored]) -> Vec<String> {
    let texts = records
        .iter()
        .map(|record| String::from_utf8(record.bytes.clone()));
    texts.map(Result::unwrap).collect()
}

/// Checks Redis now, and again when processes without a sign of life count as dead.
fn take_over(store: &mut RedisStore) {
    let start = Instant::now();
    for wait in [0, 3600] {
        let now = start + Duration::from_secs(wait);
        while store.tick(now).unwrap() <= Some(now) {}
    }
}

/// Deletes all leases, as if they had expired.
pub(crate) fn let_leases_lapse(server: &Server) {
    for lease in server.ask::<Vec<String>>("KEYS *:lease:*") {
        server.ask::<()>(&format!("DEL {lease}"));
    }
}

#[test]
fn records_of_a_dead_process_are_taken_over_newest_first() {
    let server = Server::start(&[]);
    let mut dead = open(&server);
    append(&mut dead, Kind::Event, &["{\"n\":1}", "{\"n\":2}"]);
    append(&mut dead, Kind::Metric, &["{\"n\":3}"]);
    drop(dead);
    let_leases_lapse(&server);
    let mut heir = open(&server);
    take_over(&mut heir);
    assert_eq!((heir.usage().records, heir.usage().bytes), (3, 21));
    let found = load(&mut heir);
    assert_eq!(texts(&found), ["{\"n\":3}", "{\"n\":2}", "{\"n\":1}"]);
    assert_eq!(found[0].kind, Kind::Metric);
    assert!(!heir.usage().backlog);
    let consumers: Vec<redis::Value> = server.ask(&format!("XINFO CONSUMERS {RECORDS} agents"));
    assert_eq!(consumers.len(), 1, "the dead one is removed");
}

#[test]
fn no_records_are_taken_from_a_live_process() {
    let server = Server::start(&[]);
    let (mut one, mut other) = (open(&server), open(&server));
    append(&mut one, Kind::Event, &["{}"]);
    take_over(&mut other);
    assert_eq!(other.usage().records, 0);
}

#[test]
fn after_an_outage_live_processes_have_time_to_renew_their_leases() {
    let server = Server::start(&[]);
    let (mut one, mut other) = (open(&server), open(&server));
    append(&mut one, Kind::Event, &["{}"]);
    let_leases_lapse(&server);
    let now = Instant::now();
    other.tick(now).unwrap();
    one.tick(now).unwrap();
    other.tick(now + Duration::from_secs(3600)).unwrap();
    assert_eq!(other.usage().records, 0);
}

#[test]
fn two_processes_never_take_the_same_record() {
    let server = Server::start(&[]);
    let mut dead = open(&server);
    let records: Vec<String> = (0..3000).map(|n| format!("{{\"n\":{n}}}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    append(&mut dead, Kind::Event, &records);
    drop(dead);
    let_leases_lapse(&server);
    let heirs: Vec<RedisStore> = (0..4).map(|_| open(&server)).collect();
    let taken = heirs.into_iter().map(|mut heir| {
        thread::spawn(move || {
            take_over(&mut heir);
            texts(&load(&mut heir))
        })
    });
    let taken: Vec<_> = taken.collect();
    let taken: Vec<String> = taken
        .into_iter()
        .flat_map(|heir| heir.join().unwrap())
        .collect();
    assert_eq!(taken.len(), 3000);
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 3000);
}

#[test]
fn delivered_records_are_removed_completely() {
    let server = Server::start(&[]);
    let mut store = open(&server);
    let tokens = append(&mut store, Kind::Event, &["{}", "{\"n\":1}", "{}"]);
    assert_eq!(
        server.ask::<u64>(&format!("GET {SIZE}")),
        11 + 3 * REDIS_RECORD_OVERHEAD
    );
    store.remove(&tokens[..2]).unwrap();
    assert_eq!(
        server.ask::<u64>(&format!("GET {SIZE}")),
        2 + REDIS_RECORD_OVERHEAD
    );
    store.remove(&tokens).unwrap();
    assert_eq!(server.ask::<u64>(&format!("XLEN {RECORDS}")), 0);
    assert_eq!(server.ask::<u64>(&format!("EXISTS {SIZE}")), 0);
    assert_eq!(store.usage().records, 0);
}

#[test]
fn released_records_are_loaded_within_the_given_room() {
    let server = Server::start(&[]);
    let mut store = open(&server);
    let tokens = append(
        &mut store,
        Kind::Event,
        &["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"],
    );
    store.release(&tokens);
    assert!(store.usage().backlog);
    let first = store.load(15).unwrap();
    assert_eq!(texts(&first), ["{\"n\":3}", "{\"n\":2}"]);
    assert_eq!(texts(&store.load(1).unwrap()), ["{\"n\":1}"]);
}

#[test]
fn a_process_that_ends_leaves_its_records_to_others_at_once() {
    let server = Server::start(&[]);
    let (mut ending, idle, mut heir) = (open(&server), open(&server), open(&server));
    append(&mut ending, Kind::Event, &["{}"]);
    Box::new(ending).close().unwrap();
    Box::new(idle).close().unwrap();
    heir.tick(Instant::now()).unwrap();
    assert_eq!(load(&mut heir).len(), 1);
    let leases: Vec<String> = server.ask("KEYS *:lease:*");
    assert_eq!(leases.len(), 1, "only the heir's is left");
}

#[test]
fn a_process_that_continues_learns_which_records_others_took() {
    let server = Server::start(&[]);
    let (mut slow, mut heir) = (open(&server), open(&server));
    let tokens = append(&mut slow, Kind::Event, &["{\"n\":1}", "{\"n\":2}"]);
    slow.release(&tokens[..1]);
    let_leases_lapse(&server);
    take_over(&mut heir);
    slow.tick(Instant::now()).unwrap();
    assert_eq!(slow.usage().taken, [1, 0]);
    assert_eq!((slow.forgotten().len(), slow.usage().damaged), (0, [0, 0]));
}

#[test]
fn a_full_store_discards_its_oldest_metrics_first() {
    let server = Server::start(&[]);
    let room = 3 * (REDIS_RECORD_OVERHEAD + 2);
    let mut store = RedisStore::open(options(&server).max_bytes(room)).unwrap();
    let tokens = append(&mut store, Kind::Event, &["{}"]);
    store.release(&tokens);
    let tokens = append(&mut store, Kind::Metric, &["{}", "{}"]);
    store.release(&tokens);
    let more: [(Kind, &[u8]); 1] = [(Kind::Event, b"{}")];
    let full = StoreError::Full {
        used: room,
        limit: room,
    };
    assert_eq!(store.append(&more), Err(full));
    assert_eq!(store.discard_oldest(2).unwrap(), [0, 1]);
    assert_eq!(store.append(&more).unwrap().len(), 1);
    assert_eq!(server.ask::<u64>(&format!("XLEN {RECORDS}")), 3);
}

#[test]
fn refused_records_are_quarantined_with_their_reason() {
    let server = Server::start(&[]);
    let mut store = open(&server);
    let tokens = append(&mut store, Kind::Event, &["{\"n\":1}"]);
    store
        .quarantine(tokens[0], Kind::Event, b"{\"n\":1}", "rejected")
        .unwrap();
    let usage = store.usage();
    assert_eq!((usage.records, usage.quarantined), (0, 1));
    let kept: Vec<(String, Vec<String>)> = server.ask("XRANGE guard_agent:{shop}:quarantine - +");
    assert_eq!(kept[0].1, ["event", "{\"n\":1}", "reason", "rejected"]);
    assert_eq!(server.ask::<u64>(&format!("XLEN {RECORDS}")), 0);
}

#[test]
fn quarantined_records_can_be_requeued_for_live_processes() {
    let server = Server::start(&[]);
    let mut store = open(&server);
    let records: Vec<String> = (0..600).map(|n| format!("{{\"n\":{n}}}")).collect();
    let texts: Vec<&str> = records.iter().map(String::as_str).collect();
    let tokens = append(&mut store, Kind::Metric, &texts);
    for (token, json) in tokens.iter().zip(&records) {
        let json = json.as_bytes();
        store
            .quarantine(*token, Kind::Metric, json, "rejected")
            .unwrap();
    }
    server.ask::<String>("XADD guard_agent:{shop}:quarantine * of somebody_else");
    assert_eq!(RedisStore::requeue_quarantined(options(&server)), Ok(600));
    assert_eq!(server.ask::<u64>("XLEN guard_agent:{shop}:quarantine"), 1);
    store.tick(Instant::now()).unwrap();
    let found: HashSet<Vec<u8>> = load(&mut store)
        .into_iter()
        .map(|each| each.bytes)
        .collect();
    assert_eq!(found, records.into_iter().map(String::into_bytes).collect());
}

#[test]
fn without_room_quarantined_records_stay_in_quarantine() {
    let server = Server::start(&[]);
    let mut store = open(&server);
    let tokens = append(&mut store, Kind::Event, &["{}"]);
    store
        .quarantine(tokens[0], Kind::Event, b"{}", "rejected")
        .unwrap();
    let full = RedisStore::requeue_quarantined(options(&server).max_bytes(1));
    assert!(matches!(full, Err(StoreError::Full { limit: 1, .. })));
    assert_eq!(server.ask::<u64>("XLEN guard_agent:{shop}:quarantine"), 1);
}

#[test]
fn a_killed_redis_has_all_records_after_its_restart() {
    let mut server = Server::start(&[]);
    let mut store = open(&server);
    let tokens = append(&mut store, Kind::Event, &["{\"n\":1}", "{\"n\":2}"]);
    server.kill();
    let more: [(Kind, &[u8]); 1] = [(Kind::Event, b"{\"n\":3}")];
    let error = store.append(&more).unwrap_err().to_string();
    assert!(error.contains("cannot be reached"), "{error}");
    server.restart();
    store.append(&more).unwrap();
    assert_eq!((store.forgotten(), store.usage().damaged), (vec![], [0, 0]));
    store.release(&tokens);
    assert_eq!(texts(&load(&mut store)), ["{\"n\":2}", "{\"n\":1}"]);
}

#[test]
fn records_lost_by_redis_are_reported() {
    let mut server = Server::start(&["--appendonly", "no"]);
    let mut store = open(&server);
    let tokens = append(&mut store, Kind::Event, &["{}", "{}"]);
    store.release(&tokens[1..]);
    server.kill();
    server.restart();
    eventually("it is connected again", || {
        store.tick(Instant::now()).is_ok()
    });
    assert_eq!(store.forgotten(), tokens[..1]);
    let usage = store.usage();
    assert_eq!((usage.records, usage.damaged), (0, [1, 0]));
    assert!(store.forgotten().is_empty(), "it is told once");
    append(&mut store, Kind::Event, &["{}"]);
}

#[test]
fn records_saved_without_confirmation_are_not_stored_twice() {
    let server = Server::start(&[]);
    let mut store = open(&server);
    append(&mut store, Kind::Event, &["{\"n\":1}"]);
    // A frozen Redis receives the command, and runs it when the caller is gone.
    server.freeze();
    let record: [(Kind, &[u8]); 1] = [(Kind::Event, b"{\"n\":2}")];
    let error = store.append(&record).unwrap_err().to_string();
    assert!(error.contains("does not answer within 1s"), "{error}");
    server.wake();
    eventually("Redis did it", || {
        server.ask::<u64>(&format!("XLEN {RECORDS}")) == 2
    });
    store.append(&record).unwrap();
    assert_eq!(server.ask::<u64>(&format!("XLEN {RECORDS}")), 2);
    assert_eq!(
        server.ask::<u64>(&format!("GET {SIZE}")),
        14 + 2 * REDIS_RECORD_OVERHEAD
    );
}

#[test]
fn without_memory_redis_still_removes_renews_and_hands_over() {
    let server = Server::start(&[]);
    let (mut store, mut heir) = (open(&server), open(&server));
    let tokens = append(&mut store, Kind::Event, &["{}", "{}", "{}"]);
    server.ask::<()>("CONFIG SET maxmemory 1");
    let error = store
        .append(&[(Kind::Event, b"{}")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("out of memory: raise its maxmemory"),
        "{error}"
    );
    store.remove(&tokens[..1]).unwrap();
    store
        .quarantine(tokens[1], Kind::Event, b"{}", "rejected")
        .unwrap();
    let_leases_lapse(&server);
    store.tick(Instant::now()).unwrap();
    Box::new(store).close().unwrap();
    heir.tick(Instant::now()).unwrap();
    assert_eq!(load(&mut heir).len(), 1);
}

#[test]
fn an_eviction_policy_in_redis_causes_one_warning() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let mut store = open(&server);
    let warning = store.warning().unwrap();
    assert!(
        warning.contains("set maxmemory-policy noeviction"),
        "{warning}"
    );
    assert_eq!(store.warning(), None);
}

#[test]
fn a_wrong_password_is_reported_without_showing_it() {
    let server = Server::start(&["--requirepass", "open-sesame"]);
    let with = |password: &str| server.url().replace("//", &format!("//:{password}@"));
    let open = |url: &str| RedisStore::open(RedisOptions::new(url).unwrap());
    for url in [with("hush-hush"), server.url()] {
        let error = open(&url).err().unwrap().to_string();
        assert!(
            error.contains("refuses the user or the password"),
            "{error}"
        );
        assert!(!error.contains("hush"), "{error}");
    }
    assert!(open(&with("open-sesame")).is_ok());
}

#[test]
fn a_redis_is_inspected() {
    let server = Server::start(&["--maxmemory", "100mb"]);
    let mut store = open(&server);
    append(&mut store, Kind::Event, &["{}"]);
    let (health, warning) = RedisStore::inspect(options(&server)).unwrap();
    assert_eq!(warning, None);
    assert_eq!(
        (health.records, health.bytes),
        (1, 2 + REDIS_RECORD_OVERHEAD)
    );
    assert_eq!(health.max_memory, 100 * 1024 * 1024);
    assert!(health.appends && health.used_memory > 0);
}
