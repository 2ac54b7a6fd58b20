//! What a spool does when nothing or exactly one thing goes wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use guard_spool::sim::{Faults, SimClock, SimFs};
use guard_spool::{
    ACK_SYNC_INTERVAL, ADOPTION_INTERVAL, AppendError, Clock, FileSystem, Kind, Options, RETRY,
    Spool, Token, inspect,
};

const ROOT: &str = "/spool";
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Clone)]
struct World {
    fs: SimFs,
    clock: SimClock,
}

impl World {
    fn new() -> Self {
        Self {
            fs: SimFs::new(7),
            clock: SimClock::default(),
        }
    }

    fn try_open(&self) -> Result<Spool, guard_spool::OpenError> {
        self.clock.advance(Duration::from_millis(1));
        let options = Options {
            max_bytes: 4_000,
            segment_bytes: 1_000,
            max_record: 200,
            quarantine_bytes: 64 << 10,
            sync_interval: INTERVAL,
        };
        let (fs, clock) = (Arc::new(self.fs.clone()), Arc::new(self.clock.clone()));
        Spool::open_with(Path::new(ROOT), options, fs, clock)
    }

    /// A spool after its first tick, so that it has adopted what dead processes left.
    fn open(&self) -> Spool {
        let mut spool = self.try_open().unwrap();
        spool.tick().unwrap();
        spool
    }

    fn logs(&self) -> Vec<PathBuf> {
        let mut files = self.fs.files(Path::new(ROOT));
        files.retain(|path| path.extension().is_some_and(|e| e == "log"));
        files
    }
}

/// Appends one event for each text.
fn append(spool: &mut Spool, texts: &[&str]) -> Vec<Token> {
    let records: Vec<_> = texts.iter().map(|t| (Kind::Event, t.as_bytes())).collect();
    spool.append(&records).unwrap()
}

/// A record of this kind, 100 bytes long.
fn long(kind: Kind, number: usize) -> (Kind, String) {
    (kind, format!("{number:>100}"))
}

fn append_long(spool: &mut Spool, records: &[(Kind, String)]) -> Vec<Token> {
    let records: Vec<_> = records.iter().map(|(k, b)| (*k, b.as_bytes())).collect();
    spool.append(&records).unwrap()
}

/// Everything that `load` returns, in order.
fn texts(spool: &mut Spool) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let loaded = spool.load(150).unwrap();
        if loaded.is_empty() {
            return texts;
        }
        let strings = loaded
            .into_iter()
            .map(|r| String::from_utf8(r.bytes).unwrap());
        texts.extend(strings.map(|text| text.trim().to_owned()));
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn a_power_cut_loses_at_most_what_the_interval_allows() {
    for seed in 0..50 {
        let world = World {
            fs: SimFs::new(seed),
            ..World::new()
        };
        let mut spool = world.open();
        append(&mut spool, &["old"]);
        spool.tick().unwrap();
        world.clock.advance(INTERVAL);
        spool.tick().unwrap();
        append(&mut spool, &["young"]);
        drop(spool);
        world.fs.crash();
        let found = texts(&mut world.open());
        assert!(found == ["old"] || found == ["old", "young"], "{found:?}");
    }
}

#[test]
fn nothing_is_synced_before_the_interval_is_over() {
    let world = World::new();
    let mut spool = world.open();
    append(&mut spool, &["one"]);
    assert_eq!(spool.next_due(), world.clock.now() + INTERVAL);
    let before = world.fs.operations();
    world.clock.advance(INTERVAL - Duration::from_millis(1));
    spool.tick().unwrap();
    assert_eq!(world.fs.operations(), before);
    world.clock.advance(Duration::from_millis(1));
    spool.tick().unwrap();
    assert!(world.fs.operations() > before);
}

/// Makes another thread append `text` during the operation after the next `n`. Returns the result.
fn append_beside(world: &World, spool: &Spool, n: u64, text: &'static str) -> Beside {
    let (appender, beside) = (spool.appender(), Beside::default());
    let told = beside.clone();
    world.fs.meanwhile(n, move || {
        let appended = appender.append(&[(Kind::Event, text.as_bytes())]);
        *told.lock().unwrap() = Some(appended);
    });
    beside
}

type Beside = Arc<Mutex<Option<Option<Vec<Token>>>>>;

/// The tokens of what the other thread appended.
fn tokens(beside: &Beside) -> Vec<Token> {
    let appended = beside.lock().unwrap().take();
    appended.expect("the spool waited").expect("room")
}

#[test]
fn another_thread_appends_while_the_spool_waits_for_any_operation() {
    let mut n = 0;
    loop {
        let world = World::new();
        let mut dead = world.open();
        append(&mut dead, &["dead"]);
        drop(dead);
        let mut spool = world.try_open().unwrap();
        let beside = append_beside(&world, &spool, n, "beside");
        let records: Vec<_> = (0..4).map(|n| long(Kind::Event, n)).collect();
        let mine = append_long(&mut spool, &records);
        spool.tick().unwrap();
        spool.acknowledge(&mine).unwrap();
        world.clock.advance(ACK_SYNC_INTERVAL);
        spool.tick().unwrap();
        drop(texts(&mut spool));
        if beside.lock().unwrap().is_none() {
            break;
        }
        tokens(&beside);
        spool.sync().unwrap();
        drop(spool);
        world.fs.crash_losing_all();
        let mut found = texts(&mut world.open());
        found.sort_unstable();
        assert_eq!(found, ["beside", "dead"], "during operation {n}");
        n += 1;
    }
    assert!(n > 20, "{n} operations");
}

#[test]
fn a_sync_covers_what_was_appended_before_it_and_no_more() {
    let world = World::new();
    let mut spool = world.open();
    append(&mut spool, &["one"]);
    world.clock.advance(INTERVAL);
    let beside = append_beside(&world, &spool, 0, "two");
    spool.tick().unwrap();
    assert_eq!(tokens(&beside).len(), 1);
    assert_eq!(spool.next_due(), world.clock.now() + INTERVAL);
    drop(spool);
    world.fs.crash_losing_all();
    assert_eq!(texts(&mut world.open())[0], "one");
}

#[test]
fn a_sync_that_fails_during_appends_loses_nothing() {
    for seed in 0..50 {
        let world = World {
            fs: SimFs::new(seed),
            ..World::new()
        };
        let mut spool = world.open();
        append(&mut spool, &["one"]);
        world.clock.advance(INTERVAL);
        let fs = world.fs.clone();
        let appender = spool.appender();
        world.fs.meanwhile(0, move || {
            appender.append(&[(Kind::Event, b"two")]).expect("room");
            fs.fail_after(0, false);
        });
        assert!(spool.tick().is_err());
        let appender = spool.appender();
        assert_eq!(appender.append(&[(Kind::Event, b"three")]), None);
        append(&mut spool, &["three"]);
        spool.sync().unwrap();
        drop(spool);
        world.fs.crash_losing_all();
        let mut found = texts(&mut world.open());
        found.sort_unstable();
        assert_eq!(found, ["one", "three", "two"]);
    }
}

#[test]
fn records_appended_during_a_sync_are_kept_until_the_next_one_succeeds() {
    for seed in 0..50 {
        let world = World {
            fs: SimFs::new(seed),
            ..World::new()
        };
        let mut spool = world.open();
        append(&mut spool, &["one"]);
        world.clock.advance(INTERVAL);
        append_beside(&world, &spool, 0, "two");
        spool.tick().unwrap();
        world.clock.advance(INTERVAL);
        world.fs.fail_after(0, false);
        assert!(spool.tick().is_err());
        world.fs.evict();
        world.clock.advance(RETRY);
        spool.tick().unwrap();
        drop(spool);
        world.fs.crash_losing_all();
        assert_eq!(texts(&mut world.open()), ["one", "two"]);
    }
}

#[test]
fn an_appender_rotates_to_the_next_segment() {
    let world = World::new();
    let mut spool = world.open();
    let appender = spool.appender();
    let body = "x".repeat(200);
    let append = |times: usize| {
        (0..times).all(|_| appender.append(&[(Kind::Event, body.as_bytes())]).is_some())
    };
    // Four records fit into a segment. The next one is created when it is half full.
    assert!(append(3));
    spool.tick().unwrap();
    assert!(append(5));
    assert!(!append(1), "nobody has looked after the spool");
    spool.tick().unwrap();
    assert!(append(1));
    assert_eq!(spool.usage().records, 9);
}

#[test]
fn an_appender_refuses_an_append_that_needs_more_than_a_write() {
    let world = World::new();
    let mut spool = world.open();
    let appender = spool.appender();
    let large = [b'x'; 201];
    assert_eq!(appender.append(&[(Kind::Event, &large)]), None);
    let body = [b'x'; 200];
    while appender.append(&[(Kind::Event, &body)]).is_some() {
        spool.tick().unwrap();
    }
    let refused = spool.append(&[(Kind::Event, &body)]);
    assert!(
        matches!(refused, Err(AppendError::Full { .. })),
        "{refused:?}"
    );
    assert!(texts(&mut spool).is_empty(), "the owner holds them");
    drop(spool);
    assert_eq!(appender.append(&[(Kind::Event, b"late")]), None);
}

#[test]
fn an_append_is_one_write() {
    let world = World::new();
    let mut spool = world.open();
    append(&mut spool, &["first, with its segment"]);
    let before = world.fs.operations();
    append(&mut spool, &["one", "two", "three"]);
    assert_eq!(world.fs.operations(), before + 1);
}

#[test]
fn a_segment_is_rewritten_after_a_failed_sync() {
    for seed in 0..50 {
        let world = World {
            fs: SimFs::new(seed),
            ..World::new()
        };
        let mut spool = world.open();
        let tokens = append(&mut spool, &["one", "two"]);
        world.fs.set_faults(Faults {
            syncs: true,
            ..Faults::default()
        });
        world.clock.advance(INTERVAL);
        let refused = spool.tick().unwrap_err();
        assert_eq!(refused.action, "sync");
        world.fs.heal();
        spool.tick().unwrap(); // rests
        world.clock.advance(RETRY);
        spool.tick().unwrap();
        spool.acknowledge(&tokens[..1]).unwrap();
        drop(spool);
        world.fs.crash();
        let found = texts(&mut world.open());
        // The acknowledgement was not synced yet.
        assert!(found == ["two"] || found == ["one", "two"], "{found:?}");
    }
}

#[test]
fn a_full_disk_refuses_an_append_and_takes_it_when_there_is_room() {
    let world = World::new();
    let mut spool = world.open();
    append(&mut spool, &["one"]);
    let capacity = Some(world.fs.used() + 30);
    world.fs.set_faults(Faults {
        capacity,
        ..Faults::default()
    });
    for _ in 0..3 {
        let refused = spool.append(&[(Kind::Event, b"a record that does not fit")]);
        assert!(matches!(refused, Err(AppendError::Io(_))), "{refused:?}");
    }
    world.fs.heal();
    append(&mut spool, &["two"]);
    drop(spool);
    assert_eq!(texts(&mut world.open()), ["one", "two"]);
}

#[test]
fn a_read_only_disk_is_an_error_until_it_is_writable_again() {
    let world = World::new();
    let mut spool = world.open();
    let tokens = append(&mut spool, &["one", "two"]);
    world.fs.set_faults(Faults {
        read_only: true,
        ..Faults::default()
    });
    assert!(spool.append(&[(Kind::Event, b"three")]).is_err());
    assert!(spool.acknowledge(&tokens[..1]).is_err());
    assert!(world.try_open().is_err());
    world.fs.heal();
    append(&mut spool, &["three"]);
    spool.sync().unwrap();
    drop(spool);
    world.fs.crash();
    let mut found = texts(&mut world.open());
    found.sort_unstable();
    assert_eq!(found, ["three", "two"]);
}

#[test]
fn acknowledgements_survive_a_kill_at_once_and_a_power_cut_once_synced() {
    let world = World::new();
    let mut spool = world.open();
    let tokens = append(&mut spool, &["one", "two", "three"]);
    spool.acknowledge(&tokens[1..2]).unwrap();
    drop(spool);
    let mut next = world.open();
    assert_eq!(texts(&mut next), ["one", "three"]);
    next.sync().unwrap();
    let loaded = append(&mut next, &["four"]);
    next.acknowledge(&loaded).unwrap();
    world.clock.advance(ACK_SYNC_INTERVAL);
    next.tick().unwrap();
    drop(next);
    world.fs.crash();
    assert_eq!(texts(&mut world.open()), ["one", "three"]);
}

#[test]
fn the_newest_segment_comes_first() {
    let world = World::new();
    let mut dead = world.open();
    let records: Vec<_> = (0..10).map(|n| long(Kind::Event, n)).collect();
    append_long(&mut dead, &records);
    drop(dead);
    let mut spool = world.open();
    let tokens = append(&mut spool, &["live"]);
    spool.release(&tokens);
    let mut expected = vec!["live".to_owned()];
    expected.extend(numbers(7..10));
    expected.extend(numbers(0..7));
    assert_eq!(texts(&mut spool), expected);
}

#[test]
fn order_within_a_process_survives_clock_steps_of_ten_years() {
    let world = World::new();
    let decade = Duration::from_secs(10 * 365 * 86_400);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let mut spool = world.open();
    for (number, wall) in [start, start + decade, start - decade, start]
        .into_iter()
        .enumerate()
    {
        world.clock.set_wall(wall);
        let records: Vec<_> = (0..7).map(|_| long(Kind::Event, number)).collect();
        let tokens = append_long(&mut spool, &records);
        spool.release(&tokens);
    }
    let mut found = texts(&mut spool);
    found.dedup();
    assert_eq!(found, ["3", "2", "1", "0"]);
}

#[test]
fn metrics_go_before_events_and_the_oldest_first() {
    let world = World::new();
    let mut spool = world.open();
    let kinds = [Kind::Event, Kind::Event, Kind::Metric];
    let records: Vec<_> = (0..21).map(|n| long(kinds[n % 3], n)).collect();
    let tokens = append_long(&mut spool, &records);
    spool.release(&tokens);
    let first = spool.discard_oldest(1).unwrap();
    // The metrics of the first of three segments with seven records each.
    assert_eq!((first.records.events, first.records.metrics), (0, 2));
    let second = spool.discard_oldest(600).unwrap();
    assert_eq!((second.records.events, second.records.metrics), (0, 5));
    let third = spool.discard_oldest(1).unwrap();
    assert_eq!((third.records.events, third.records.metrics), (5, 0));
    let mut left = texts(&mut spool);
    left.sort_by_key(|text| text.parse::<usize>().unwrap());
    let expected: Vec<_> = (7..21)
        .filter(|n| n % 3 != 2)
        .map(|n| n.to_string())
        .collect();
    assert_eq!(left, expected);
}

#[test]
fn a_segment_that_goes_or_stays_as_a_whole_is_not_read() {
    let world = World::new();
    let mut spool = world.open();
    let records: Vec<_> = (0..14).map(|n| long(Kind::Event, n)).collect();
    // Two segments, of which the older one is held.
    let tokens = append_long(&mut spool, &records);
    spool.release(&tokens[7..]);
    let before = world.fs.read_bytes();
    let discarded = spool.discard_oldest(1).unwrap();
    assert_eq!(discarded.records.events, 7);
    assert_eq!(world.fs.read_bytes(), before);
}

#[test]
fn a_full_spool_compacts_before_it_refuses_an_append() {
    let world = World::new();
    let mut spool = world.open();
    let records: Vec<_> = (0..28).map(|n| long(Kind::Event, n)).collect();
    let tokens = append_long(&mut spool, &records);
    let more = [(Kind::Event, [b'x'; 200].as_slice()); 3];
    let refused = spool.append(&more);
    assert!(
        matches!(refused, Err(AppendError::Full { .. })),
        "{refused:?}"
    );
    // Six of the seven records in the first segment, which therefore stays.
    spool.acknowledge(&tokens[1..7]).unwrap();
    let more = spool.append(&more).unwrap();
    spool.acknowledge(&more).unwrap();
    spool.release(&tokens);
    let mut found = texts(&mut spool);
    found.sort_by_key(|text| text.parse::<usize>().unwrap());
    let mut expected = numbers(0..1);
    expected.extend(numbers(7..28));
    assert_eq!(found, expected);
}

#[test]
fn a_directory_whose_process_dies_later_is_adopted_too() {
    let world = World::new();
    let mut dying = world.open();
    let mut living = world.open();
    append(&mut dying, &["one"]);
    drop(dying);
    assert!(texts(&mut living).is_empty());
    world.clock.advance(ADOPTION_INTERVAL);
    living.tick().unwrap();
    assert_eq!(texts(&mut living), ["one"]);
}

#[test]
fn opening_reads_no_records() {
    let world = World::new();
    let mut dead = world.open();
    let records: Vec<_> = (0..21).map(|n| long(Kind::Event, n)).collect();
    append_long(&mut dead, &records);
    dead.close().unwrap();
    let before = world.fs.read_bytes();
    let spool = world.open();
    // Both ends of each of three segments.
    assert_eq!(world.fs.read_bytes() - before, 3 * (24 + 21));
    assert_eq!(spool.usage().records, 21);
    assert!(spool.usage().has_waiting());
}

#[test]
fn the_child_of_a_fork_releases_inherited_locks() {
    let world = World::new();
    let mut parent = world.open();
    append(&mut parent, &["one"]);
    // To the system, parent and child share one lock. It stays locked when the child closes its
    // copy, and is released when the parent ends.
    let lease = parent.lease();
    drop(parent);
    assert!(texts(&mut world.open()).is_empty());
    lease.abandon();
    assert_eq!(texts(&mut world.open()), ["one"]);
}

#[test]
fn a_segment_that_cannot_be_read_does_not_hold_up_the_others() {
    let world = World::new();
    let mut spool = world.open();
    let records: Vec<_> = (0..14).map(|n| long(Kind::Event, n)).collect();
    let tokens = append_long(&mut spool, &records);
    spool.release(&tokens);
    world.fs.fail_after(0, false);
    let mut found = texts(&mut spool);
    assert_eq!(found, numbers(0..7));
    world.clock.advance(RETRY);
    found.extend(texts(&mut spool));
    found.sort_by_key(|text| text.parse::<usize>().unwrap());
    assert_eq!(found, numbers(0..14));
}

#[test]
fn a_released_record_that_is_damaged_is_counted_by_kind() {
    let world = World::new();
    let mut spool = world.open();
    let records = [
        long(Kind::Event, 0),
        long(Kind::Metric, 1),
        long(Kind::Event, 2),
    ];
    let tokens = append_long(&mut spool, &records);
    spool.release(&tokens);
    world
        .fs
        .damage(&world.logs()[0], |bytes| bytes[24 + 121 + 60] ^= 1)
        .unwrap();
    assert_eq!(texts(&mut spool), ["0", "2"]);
    assert_eq!(spool.usage().damaged.metrics, 1);
    assert_eq!(spool.usage().records, 2);
}

#[test]
fn a_rejected_record_is_quarantined_with_its_reason_and_can_be_requeued() {
    let world = World::new();
    let mut spool = world.open();
    let tokens = append(&mut spool, &["good", "poison"]);
    let reason = "r".repeat(2_000);
    spool
        .quarantine(tokens[1], Kind::Event, b"poison", &reason)
        .unwrap();
    assert_eq!((spool.usage().records, spool.usage().quarantined), (1, 1));
    drop(spool);
    world.fs.crash();
    let aside = inspect::quarantined(&world.fs, Path::new(ROOT)).unwrap();
    assert_eq!(aside.len(), 1);
    assert_eq!((aside[0].kind, aside[0].bytes), (Some(Kind::Event), 6));
    assert_eq!(aside[0].reason, "r".repeat(1_024));
    let mut next = world.open();
    assert_eq!(next.requeue_quarantined().unwrap(), 1);
    assert_eq!(next.usage().quarantined, 0);
    assert!(texts(&mut next).contains(&"poison".to_owned()));
}

#[test]
fn a_full_quarantine_removes_its_oldest_files() {
    let world = World::new();
    let mut spool = world.open();
    // Eight entries of two blocks fit.
    for number in 0..10 {
        world.clock.advance(Duration::from_millis(1));
        let text = number.to_string();
        let tokens = append(&mut spool, &[&text]);
        spool
            .quarantine(tokens[0], Kind::Event, text.as_bytes(), "")
            .unwrap();
    }
    assert_eq!(spool.usage().quarantined, 8);
    spool.requeue_quarantined().unwrap();
    assert_eq!(texts(&mut spool), numbers(2..10));
}

#[test]
fn a_segment_of_another_version_is_ignored() {
    let world = World::new();
    let mut dead = world.open();
    append(&mut dead, &["one"]);
    drop(dead);
    let log = world.logs().remove(0);
    let name = log.file_stem().unwrap().to_str().unwrap();
    let salt = u32::from_str_radix(name.split_once('-').unwrap().1, 16).unwrap();
    let version_2 = |bytes: &mut Vec<u8>| {
        bytes[8] = 2;
        let crc = crc32c::crc32c_append(salt, &bytes[..20]).to_le_bytes();
        bytes[20..24].copy_from_slice(&crc);
    };
    world.fs.damage(&log, version_2).unwrap();
    let before = world.fs.read(&log, 0, 1_000).unwrap();
    let mut spool = world.open();
    assert!(texts(&mut spool).is_empty());
    spool.close().unwrap();
    assert_eq!(world.fs.read(&log, 0, 1_000).unwrap(), before);
}

#[test]
fn inspection_reports_all_files_and_changes_nothing() {
    let world = World::new();
    let mut dead = world.open();
    let records: Vec<_> = (0..8).map(|n| long(Kind::Metric, n)).collect();
    let tokens = append_long(&mut dead, &records);
    dead.acknowledge(&tokens[..2]).unwrap();
    drop(dead);
    let mut living = world.open();
    drop(texts(&mut living));
    let orphan = world.clone();
    let mut other = orphan.open();
    append(&mut other, &["orphan"]);
    drop(other);
    let files = world.fs.files(Path::new(ROOT));
    let reports = inspect::directories(&world.fs, Path::new(ROOT)).unwrap();
    let owners: Vec<_> = reports.iter().map(|report| report.owner).collect();
    use inspect::Owner::{Gone, Running};
    assert_eq!(owners, [Running, Running, Gone]);
    let first = &reports[0].segments[0];
    assert_eq!(
        (first.records.metrics, first.acknowledged, first.sealed),
        (5, 2, true)
    );
    assert_eq!(world.fs.files(Path::new(ROOT)), files);
}

/// A sequence that uses every operation. Returns the successful appends by number, and whether
/// each is acknowledged.
fn life(spool: &mut Spool, clock: &SimClock) -> BTreeMap<String, bool> {
    let mut known = BTreeMap::new();
    let mut tokens = BTreeMap::new();
    for number in 0..20 {
        let (kind, text) = long(Kind::Event, number);
        if let Ok(appended) = spool.append(&[(kind, text.as_bytes())]) {
            known.insert(number.to_string(), false);
            tokens.insert(number, appended[0]);
        }
    }
    clock.advance(INTERVAL);
    let _ = spool.tick();
    for number in 3..9 {
        if let Some(token) = tokens.get(&number) {
            let _ = spool.acknowledge(&[*token]);
            known.insert(number.to_string(), true);
        }
    }
    if let Some(token) = tokens.get(&10) {
        let (kind, text) = long(Kind::Event, 10);
        let _ = spool.quarantine(*token, kind, text.as_bytes(), "poison");
    }
    let _ = spool.requeue_quarantined();
    if let Some(token) = tokens.get(&11) {
        let (kind, text) = long(Kind::Event, 11);
        let _ = spool.quarantine(*token, kind, text.as_bytes(), "poison");
    }
    clock.advance(ACK_SYNC_INTERVAL);
    let _ = spool.tick();
    known
}

#[test]
fn no_single_failed_operation_loses_a_record() {
    for last in [false, true] {
        let mut n = 0;
        loop {
            let world = World::new();
            drop(world.try_open().unwrap()); // leaves a directory to adopt
            let mut spool = world.try_open().unwrap();
            let before = world.fs.operations();
            world.fs.fail_after(n, last);
            let known = life(&mut spool, &world.clock);
            let done = world.fs.operations() - before;
            world.fs.heal();
            clean_up(&world, spool, &known, &format!("operation {n}, {last}"));
            if n > done {
                break;
            }
            n += 1;
        }
        assert!(n > 50, "{n} operations");
    }
}

/// Syncs, cuts the power, starts again, and checks the records.
fn clean_up(world: &World, mut spool: Spool, known: &BTreeMap<String, bool>, case: &str) {
    world.clock.advance(RETRY);
    spool
        .sync()
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    drop(spool);
    world.fs.crash();
    let found = texts(&mut world.open());
    let aside = inspect::quarantined(&world.fs, Path::new(ROOT)).unwrap();
    let aside: Vec<String> = aside
        .iter()
        .map(|entry| String::from_utf8(world.fs.read(&entry.path, 0, 1_000).unwrap()).unwrap())
        .map(|text| text.trim().to_owned())
        .collect();
    for (text, acknowledged) in known {
        let there = found.contains(text) || aside.contains(text);
        assert_ne!(
            there, *acknowledged,
            "{case}: {text} of {known:?}: {found:?}, {aside:?}"
        );
    }
}
