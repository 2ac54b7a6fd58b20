//! The agent with its spool on disk, real and simulated.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use guard_agent::clock::Clock as _;
use guard_agent::limits::{GATHER, SAVED_WITHIN};
use guard_agent::store::{DiskStore, SpoolFsync, StoreError};
use guard_agent::{Agent, AgentBuilder};
use guard_spool::sim::{Faults, SimFs};
use guard_spool::{Clock, Loaded, Options, Spool};

use crate::support::backend::{Answer, Backend};
use crate::support::clock::ManualClock;
use crate::support::{Outcome, PATIENCE, builder, eventually, ledger, send};

/// An address where nothing listens.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:1";

pub(crate) const ROOT: &str = "/spool";

/// Maximum time from the disk's return until records are saved on it again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct SpoolTime(ManualClock);

impl Clock for SpoolTime {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall(&self) -> SystemTime {
        self.0.wall()
    }
}

fn open(fs: &SimFs, clock: &ManualClock, sync_interval: Duration) -> Result<Spool, StoreError> {
    let options = Options {
        sync_interval,
        ..Options::default()
    };
    let (fs, time) = (Arc::new(fs.clone()), Arc::new(SpoolTime(clock.clone())));
    Ok(Spool::open_with(Path::new(ROOT), options, fs, time)?)
}

/// An agent without a backend, on a simulated disk.
pub(crate) fn simulated(fs: &SimFs, clock: &ManualClock, fsync: SpoolFsync) -> AgentBuilder {
    let (fs, time) = (fs.clone(), clock.clone());
    builder(NOWHERE).clock(clock.clone()).store(move || {
        let interval = match fsync {
            SpoolFsync::Always => Duration::ZERO,
            SpoolFsync::Interval => Duration::from_millis(200),
        };
        Ok(Box::new(DiskStore::new(open(&fs, &time, interval)?)))
    })
}

/// The keys of the records that remain if the power fails now and no unsynced data has
/// reached the disk.
fn after_power_loss(fs: &SimFs, clock: &ManualClock) -> Vec<String> {
    let fs = fs.fork();
    fs.crash_losing_all();
    left(&fs, clock)
}

/// The keys of the records that remain if the process is killed now. Written data is in the
/// page cache.
pub(crate) fn after_a_kill(fs: &SimFs, clock: &ManualClock) -> Vec<String> {
    left(&fs.fork(), clock)
}

fn left(fs: &SimFs, clock: &ManualClock) -> Vec<String> {
    let mut spool = open(fs, clock, Duration::ZERO).expect("opened");
    spool.tick().expect("adopted");
    let records = spool.load(1 << 20).expect("read").into_iter();
    let key = |record: Loaded| {
        let event: serde_json::Value = serde_json::from_slice(&record.bytes).expect("JSON");
        event["idempotency_key"].as_str().expect("a key").to_owned()
    };
    records.map(key).collect()
}

/// Fails unless all these records survive a power cut now.
fn all_found(fault: &str, records: usize, fs: &SimFs, clock: &ManualClock) {
    let found = after_power_loss(fs, clock);
    Outcome::compare(0..records, 0..records, &found).tell(fault, "none once saved");
}

pub(crate) fn saved(agent: &Agent) -> u64 {
    agent.stats().durability.expect("a store").usage.records
}

#[test]
fn a_power_cut_loses_only_records_of_the_last_interval() {
    let (fs, clock) = (SimFs::new(1), ManualClock::new());
    let agent = simulated(&fs, &clock, SpoolFsync::Interval)
        .build()
        .expect("valid");
    for already in [0, 50, 100] {
        send(&agent, already, 50);
        eventually("saved", || saved(&agent) == already as u64 + 50);
        assert_eq!(after_power_loss(&fs, &clock).len(), already);
        clock.advance(Duration::from_millis(200));
        eventually("synced", || {
            after_power_loss(&fs, &clock).len() == already + 50
        });
    }
    send(&agent, 150, 50);
    eventually("saved", || saved(&agent) == 200);
    let found = after_power_loss(&fs, &clock);
    let fault = "power cut (simulated disk), fsync interval";
    Outcome::compare(0..200, 0..150, &found).tell(fault, "210 ms before it");
}

#[test]
fn accepted_records_survive_a_kill_without_any_interval() {
    // The clock stands still, so nothing is due. The records themselves wake the journal,
    // which lets others gather for at most half of its time.
    assert!(GATHER * 2 <= SAVED_WITHIN && SAVED_WITHIN == Duration::from_millis(10));
    let (fs, clock) = (SimFs::new(5), ManualClock::new());
    let agent = simulated(&fs, &clock, SpoolFsync::Interval)
        .build()
        .expect("valid");
    for already in [0, 50, 100] {
        send(&agent, already, 50);
        eventually("written", || {
            after_a_kill(&fs, &clock).len() == already + 50
        });
    }
}

#[test]
fn with_fsync_always_saved_records_survive_a_power_cut_without_any_interval() {
    // The clock stands still: each write is synced as soon as the disk is ready.
    let (fs, clock) = (SimFs::new(2), ManualClock::new());
    let agent = simulated(&fs, &clock, SpoolFsync::Always)
        .build()
        .expect("valid");
    send(&agent, 0, 50);
    eventually("synced", || after_power_loss(&fs, &clock).len() == 50);
    all_found("power cut (simulated disk), fsync always", 50, &fs, &clock);
}

#[test]
fn stopping_syncs_the_rest_whatever_the_interval() {
    let (fs, clock) = (SimFs::new(3), ManualClock::new());
    let agent = simulated(&fs, &clock, SpoolFsync::Interval)
        .build()
        .expect("valid");
    send(&agent, 0, 50);
    agent.close();
    assert_eq!(ledger(&agent).spooled, 50);
    assert_eq!(after_power_loss(&fs, &clock).len(), 50);
}

#[test]
fn a_full_broken_or_read_only_disk_loses_nothing_once_it_is_back() {
    let none = Faults::default;
    for (fault, faults) in [
        (
            "disk full",
            Faults {
                capacity: Some(0),
                ..none()
            },
        ),
        (
            "disk read-only",
            Faults {
                read_only: true,
                ..none()
            },
        ),
        (
            "EIO on write",
            Faults {
                writes: true,
                ..none()
            },
        ),
        (
            "EIO on sync",
            Faults {
                syncs: true,
                ..none()
            },
        ),
    ] {
        let (fs, clock) = (SimFs::new(4), ManualClock::new());
        let agent = simulated(&fs, &clock, SpoolFsync::Always)
            .build()
            .expect("valid");
        send(&agent, 0, 10);
        eventually("saved", || saved(&agent) == 10);
        fs.set_faults(faults);
        send(&agent, 10, 10);
        let durability = || agent.stats().durability.expect("a store");
        eventually("noticed", || durability().degraded);
        assert_eq!(ledger(&agent).queued, 20);
        fs.heal();
        clock.advance(BACK_WITHIN);
        eventually("saved", || !durability().degraded && saved(&agent) == 20);
        let fault = format!("{fault} (simulated disk), a power cut 5 s after its end");
        all_found(&fault, 20, &fs, &clock);
    }
}

#[test]
fn the_next_process_delivers_each_record_of_the_last_exactly_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let last = builder(NOWHERE)
        .spool_dir(folder.path())
        .build()
        .expect("valid");
    send(&last, 0, 2000);
    drop(last);
    let backend = Backend::start(|_, _| Answer::ok());
    let next = builder(&backend.url())
        .spool_dir(folder.path())
        .build()
        .expect("valid");
    next.start();
    eventually("delivered", || ledger(&next).delivered == 2000);
    let requests = backend.requests();
    let mut reasons: Vec<String> = requests.iter().flat_map(|each| each.reasons()).collect();
    reasons.sort();
    reasons.dedup();
    assert_eq!(reasons.len(), 2000);
    drop(next);
    assert_eq!(segments(folder.path()), Vec::<PathBuf>::new());
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let reports = guard_spool::inspect::directories(&guard_spool::Disk, root).expect("read");
    let segments = reports.into_iter().flat_map(|report| report.segments);
    segments
        .filter(|segment| segment.records.total() > 0)
        .map(|segment| segment.path)
        .collect()
}

#[test]
fn an_unusable_directory_is_reported_once_and_used_when_it_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("spool");
    std::fs::write(&place, "in the way").expect("written");
    let clock = ManualClock::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let agent = builder(NOWHERE)
        .clock(clock.clone())
        .spool_dir(&place)
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
    let message = heard.lock().expect("whole")[0].clone();
    assert!(message.contains("spool_dir"), "{message}");
    std::fs::remove_file(&place).expect("removed");
    clock.advance(Duration::from_secs(5));
    eventually("saved", || saved(&agent) == 50);
}

#[test]
fn refused_records_are_quarantined_and_can_be_requeued() {
    let folder = tempfile::tempdir().expect("a folder");
    let picky = Backend::start(|_, request| {
        if request.reasons().contains(&"#7".to_owned()) {
            Answer::status(400)
        } else {
            Answer::ok()
        }
    });
    let agent = builder(&picky.url())
        .spool_dir(folder.path())
        .build()
        .expect("valid");
    send(&agent, 0, 20);
    assert!(agent.flush(PATIENCE));
    drop(agent);
    let mut spool = Spool::open(folder.path(), Options::default()).expect("opened");
    assert_eq!(spool.requeue_quarantined().expect("requeued"), 1);
    spool.close().expect("closed");
    let backend = Backend::start(|_, _| Answer::ok());
    let next = builder(&backend.url())
        .spool_dir(folder.path())
        .build()
        .expect("valid");
    next.start();
    eventually("delivered", || ledger(&next).delivered == 1);
    assert_eq!(backend.requests()[0].reasons(), ["#7"]);
}
