//! Keys in a real Redis that other programs change while agents use them.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use guard_agent::Kind;
use guard_agent::store::{REDIS_RECORD_OVERHEAD, RedisStore, Store, Stored};

use super::server::Server;
use super::store::{RECORDS, SIZE, append, let_leases_lapse, load, open, options, texts};

/// A server that is never restarted, so it need not write to disk.
fn start() -> Server {
    Server::start(&["--appendonly", "no"])
}

/// Lets a minute pass for these processes. Each checks Redis as often as it wants.
fn let_a_minute_pass(stores: &mut [&mut RedisStore]) {
    let_minute_pass(0, stores);
}

/// Lets the minute with this number pass.
fn let_minute_pass(minute: u64, stores: &mut [&mut RedisStore]) {
    let start = Instant::now() + Duration::from_secs(60 * minute);
    for seconds in 0..60 {
        let now = start + Duration::from_secs(seconds);
        for store in &mut *stores {
            // After an error, the journal tries again one second later.
            while store.tick(now).is_ok_and(|next| next <= Some(now)) {}
        }
    }
}

/// The actual bytes of all records.
fn bytes(server: &Server) -> u64 {
    let entries: Vec<(String, HashMap<String, String>)> =
        server.ask(&format!("XRANGE {RECORDS} - +"));
    let fields = entries.iter().flat_map(|(_, fields)| fields);
    let known = fields.filter(|(kind, _)| Kind::ALL.iter().any(|it| it.as_str() == *kind));
    known
        .map(|(_, json)| json.len() as u64 + REDIS_RECORD_OVERHEAD)
        .sum()
}

/// The stored size that agents use.
fn size(server: &Server) -> Option<u64> {
    server.ask(&format!("GET {SIZE}"))
}

/// The names of the group's consumers.
fn consumers(server: &Server) -> Vec<String> {
    let consumers: Vec<HashMap<String, redis::Value>> =
        server.ask(&format!("XINFO CONSUMERS {RECORDS} agents"));
    let names = consumers.into_iter().filter_map(|mut it| it.remove("name"));
    names
        .map(|name| redis::from_redis_value(name).unwrap())
        .collect()
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{{\"n\":{n}}}")).collect()
}

fn append_numbered(store: &mut RedisStore, range: std::ops::Range<usize>) -> Vec<u64> {
    let records = numbered(range);
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    append(store, Kind::Event, &records)
}

/// Leaves records of a dead process.
fn leave(server: &Server, range: std::ops::Range<usize>) {
    append_numbered(&mut open(server), range);
    let_leases_lapse(server);
}

fn found(records: &[Stored]) -> BTreeSet<String> {
    texts(records).into_iter().collect()
}

fn all(range: std::ops::Range<usize>) -> BTreeSet<String> {
    numbered(range).into_iter().collect()
}

#[test]
fn records_of_dead_processes_are_found_after_the_group_was_destroyed() {
    let server = start();
    leave(&server, 0..100);
    let mut heir = open(&server);
    server.ask::<u64>(&format!("XGROUP DESTROY {RECORDS} agents"));
    let error = heir.tick(Instant::now()).unwrap_err().to_string();
    assert!(
        error.contains("has lost the agents' consumer group"),
        "{error}"
    );
    let_a_minute_pass(&mut [&mut heir]);
    let warning = heir.warning().unwrap();
    assert!(warning.contains("100 record(s)"), "{warning}");
    assert_eq!(found(&load(&mut heir)), all(0..100));
    assert_eq!(size(&server), Some(bytes(&server)));
}

#[test]
fn records_of_dead_processes_are_found_after_their_consumer_was_deleted() {
    let server = start();
    leave(&server, 0..100);
    let name = consumers(&server).remove(0);
    server.ask::<u64>(&format!("XGROUP DELCONSUMER {RECORDS} agents {name}"));
    let mut heirs = (open(&server), open(&server));
    let_a_minute_pass(&mut [&mut heirs.0, &mut heirs.1]);
    let (one, other) = (load(&mut heirs.0), load(&mut heirs.1));
    assert_eq!(one.len() + other.len(), 100, "none is taken twice");
    assert_eq!(&found(&one) | &found(&other), all(0..100));
    let warning = heirs.0.warning().or_else(|| heirs.1.warning()).unwrap();
    assert!(
        warning.contains("somebody removed their consumer or the group"),
        "{warning}"
    );
    assert_eq!(size(&server), Some(bytes(&server)));
}

#[test]
fn live_processes_keep_their_records_if_group_or_consumers_are_deleted() {
    for destroy in [true, false] {
        let server = start();
        let (mut one, mut other) = (open(&server), open(&server));
        let tokens = append_numbered(&mut one, 0..10);
        append_numbered(&mut other, 10..20);
        for name in consumers(&server) {
            server.ask::<u64>(&format!("XGROUP DELCONSUMER {RECORDS} agents {name}"));
        }
        if destroy {
            server.ask::<u64>(&format!("XGROUP DESTROY {RECORDS} agents"));
        }
        let_a_minute_pass(&mut [&mut one, &mut other]);
        for store in [&mut one, &mut other] {
            assert_eq!(store.usage().records, 10);
            assert_eq!((store.forgotten(), store.warning()), (vec![], None));
        }
        // They are pending again, so other processes get them when this one dies.
        one.remove(&tokens[..5]).unwrap();
        drop(one);
        let_leases_lapse(&server);
        let_minute_pass(1, &mut [&mut other]);
        assert_eq!(found(&load(&mut other)), all(5..10));
        assert_eq!(size(&server), Some(bytes(&server)));
    }
}

#[test]
fn a_full_stream_that_is_purged_is_empty_at_once() {
    for command in [
        "XTRIM guard_agent:{shop}:records MAXLEN 0",
        "DEL guard_agent:{shop}:records",
    ] {
        let server = start();
        let room = 10 * (REDIS_RECORD_OVERHEAD + 7);
        let mut store = RedisStore::open(options(&server).max_bytes(room)).unwrap();
        let tokens = append_numbered(&mut store, 0..10);
        store.release(&tokens[..4]);
        server.ask::<()>(command);
        let_a_minute_pass(&mut [&mut store]);
        // Without a new record.
        assert_eq!(size(&server), None);
        assert_eq!(store.forgotten(), tokens[4..]);
        assert_eq!((store.usage().records, store.usage().damaged), (0, [4, 0]));
        append_numbered(&mut store, 0..10);
        assert_eq!(size(&server), Some(bytes(&server)));
    }
}

#[test]
fn a_stream_that_was_just_purged_accepts_records() {
    let server = start();
    let room = REDIS_RECORD_OVERHEAD + 7;
    let mut store = RedisStore::open(options(&server).max_bytes(room)).unwrap();
    append_numbered(&mut store, 0..1);
    server.ask::<()>(&format!("XTRIM {RECORDS} MAXLEN 0"));
    append_numbered(&mut store, 1..2);
    assert_eq!(size(&server), Some(bytes(&server)));
}

#[test]
fn after_some_records_were_removed_the_size_is_correct_and_each_is_counted() {
    let server = start();
    let (mut one, mut other) = (open(&server), open(&server));
    let ones = append_numbered(&mut one, 0..50);
    one.release(&ones[..10]);
    let others = append_numbered(&mut other, 50..100);
    server.ask::<()>(&format!("XTRIM {RECORDS} MAXLEN 30"));
    let_a_minute_pass(&mut [&mut one, &mut other]);
    assert_eq!(size(&server), Some(bytes(&server)));
    assert_eq!(
        (one.forgotten(), one.usage().damaged),
        (ones[10..].to_vec(), [10, 0])
    );
    assert_eq!(
        (other.forgotten(), other.usage().records),
        (others[..20].to_vec(), 30)
    );
    let warning = other.warning().unwrap();
    assert!(
        warning.contains("somebody removed 20 record(s)"),
        "{warning}"
    );
}

#[test]
fn a_record_that_leaves_memory_before_its_loss_is_known_is_counted() {
    let server = start();
    let mut store = open(&server);
    let tokens = append_numbered(&mut store, 0..3);
    server.ask::<()>("FLUSHDB");
    let_a_minute_pass(&mut [&mut store]);
    assert_eq!(store.forgotten(), tokens);
    store.release(&tokens[..1]);
    assert_eq!(store.usage().damaged, [1, 0]);
}

#[test]
fn after_a_database_flush_records_are_saved_again() {
    let server = start();
    let (mut one, mut other) = (open(&server), open(&server));
    append_numbered(&mut one, 0..10);
    append_numbered(&mut other, 10..20);
    server.ask::<()>("FLUSHDB");
    let_a_minute_pass(&mut [&mut one, &mut other]);
    assert_eq!((one.forgotten().len(), other.forgotten().len()), (10, 10));
    append_numbered(&mut one, 0..10);
    drop(one);
    let_leases_lapse(&server);
    let_minute_pass(1, &mut [&mut other]);
    assert_eq!(found(&load(&mut other)), all(0..10));
    assert_eq!(size(&server), Some(bytes(&server)));
}

#[test]
fn a_stream_that_is_renamed_and_comes_back_is_delivered() {
    let server = start();
    leave(&server, 0..10);
    let mut store = open(&server);
    let tokens = append_numbered(&mut store, 10..30);
    store.release(&tokens[..10]);
    server.ask::<()>(&format!("RENAME {RECORDS} elsewhere"));
    let_a_minute_pass(&mut [&mut store]);
    assert_eq!(
        (store.forgotten().len(), store.usage().damaged),
        (10, [10, 0])
    );
    append_numbered(&mut store, 20..30);
    server.ask::<()>(&format!("RENAME elsewhere {RECORDS}"));
    let_minute_pass(1, &mut [&mut store]);
    assert_eq!(store.forgotten().len(), 10, "what replaced it is gone");
    assert_eq!(found(&load(&mut store)), all(0..30));
    assert_eq!(size(&server), Some(bytes(&server)));
}

#[test]
fn the_position_of_the_group_in_the_stream_does_not_matter() {
    for id in ["0", "$", "99999999999999-0"] {
        let server = start();
        leave(&server, 0..10);
        let mut heir = open(&server);
        append_numbered(&mut heir, 10..15);
        server.ask::<()>(&format!("XGROUP SETID {RECORDS} agents {id}"));
        let_a_minute_pass(&mut [&mut heir]);
        append_numbered(&mut heir, 15..20);
        assert_eq!(found(&load(&mut heir)), all(0..10));
        assert_eq!(heir.usage().records, 20);
    }
}

#[test]
fn an_invalid_size_is_counted_again() {
    for command in [
        format!("DEL {SIZE}"),
        format!("SET {SIZE} much"),
        format!("SET {SIZE} -5"),
        format!("EVAL return{{redis.call('DEL',KEYS[1]),redis.call('RPUSH',KEYS[1],1)}} 1 {SIZE}"),
    ] {
        let server = start();
        let mut store = open(&server);
        let tokens = append_numbered(&mut store, 0..10);
        server.ask::<redis::Value>(&command);
        append_numbered(&mut store, 10..20);
        store.remove(&tokens[..5]).unwrap();
        let_a_minute_pass(&mut [&mut store]);
        assert_eq!(size(&server), Some(bytes(&server)), "{command}");
        assert_eq!(bytes(&server), 15 * (REDIS_RECORD_OVERHEAD + 8) - 5);
    }
}

#[test]
fn changes_during_the_count_are_counted_once() {
    let server = start();
    let (mut store, mut other) = (open(&server), open(&server));
    let tokens = append_numbered(&mut store, 0..6000);
    server.ask::<u64>(&format!("DEL {SIZE}"));
    let now = Instant::now();
    assert_eq!(store.tick(now).unwrap(), Some(now), "there is more");
    // Another process does not count at the same time.
    other.tick(now).unwrap();
    store.remove(&tokens[..100]).unwrap();
    store.remove(&tokens[5900..]).unwrap();
    store
        .quarantine(tokens[100], Kind::Event, b"{\"n\":100}", "refused")
        .unwrap();
    append_numbered(&mut other, 0..50);
    while store.tick(now).unwrap() <= Some(now) {}
    assert_eq!(size(&server), Some(bytes(&server)));
    assert_eq!(server.ask::<u64>("EXISTS guard_agent:{shop}:count"), 0);
}

#[test]
fn invalid_leases_are_recreated_and_protect_no_process() {
    let server = start();
    leave(&server, 0..10);
    let mut store = open(&server);
    append_numbered(&mut store, 10..20);
    for name in consumers(&server) {
        let lease = format!("guard_agent:{{shop}}:lease:{name}");
        server.ask::<()>(&format!("DEL {lease}"));
        server.ask::<u64>(&format!("RPUSH {lease} 1"));
    }
    let_a_minute_pass(&mut [&mut store]);
    assert_eq!(found(&load(&mut store)), all(0..10));
    let leases: Vec<String> = server.ask("KEYS *:lease:*");
    assert_eq!(leases.len(), 1);
    assert_eq!(server.ask::<String>(&format!("GET {}", leases[0])), "alive");
}

#[test]
fn foreign_entries_stay_in_the_stream_and_are_not_records() {
    let server = start();
    let mut store = open(&server);
    append_numbered(&mut store, 0..5);
    server.ask::<String>(&format!("XADD {RECORDS} * of somebody"));
    // An entry that looks like a record is delivered like one.
    server.ask::<String>(&format!("XADD {RECORDS} * metric {{}}"));
    let_a_minute_pass(&mut [&mut store]);
    assert_eq!(texts(&load(&mut store)), ["{}"]);
    let_minute_pass(1, &mut [&mut store]);
    assert_eq!(server.ask::<u64>(&format!("XLEN {RECORDS}")), 7);
    assert_eq!(size(&server), Some(bytes(&server)));
    assert_eq!(store.usage().records, 6);
}

#[test]
fn records_that_were_claimed_without_an_answer_are_kept() {
    let server = start();
    let mut heir = open(&server);
    append_numbered(&mut heir, 0..1);
    let name = consumers(&server).remove(0);
    leave(&server, 1..11);
    let entries: Vec<(String, HashMap<String, String>)> =
        server.ask(&format!("XRANGE {RECORDS} - +"));
    for (id, _) in &entries[1..] {
        server.ask::<redis::Value>(&format!("XCLAIM {RECORDS} agents {name} 0 {id}"));
    }
    let_a_minute_pass(&mut [&mut heir]);
    assert_eq!(found(&load(&mut heir)), all(1..11));
}
