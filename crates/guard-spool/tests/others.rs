//! Others remove, move and replace the files of a spool that is in use. Records in memory are
//! appended again, and lost ones are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use guard_spool::sim::{Faults, SimClock, SimFs};
use guard_spool::{
    ADOPTION_INTERVAL, CHECK_INTERVAL, FileSystem, IoError, Kind, Options, RETRY, Spool, Token,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const ROOT: &str = "/mnt/spool";
/// Where others move things to.
const ELSEWHERE: &str = "/mnt/elsewhere";

fn open(fs: &SimFs, clock: &SimClock) -> Spool {
    clock.advance(Duration::from_millis(1));
    let options = Options {
        max_bytes: 8_000,
        segment_bytes: 500,
        max_record: 200,
        quarantine_bytes: 64 << 10,
        sync_interval: Duration::from_millis(200),
    };
    let (fs, clock) = (Arc::new(fs.clone()), Arc::new(clock.clone()));
    Spool::open_with(Path::new(ROOT), options, fs, clock).unwrap()
}

/// A process with records in memory, which it saves again when the spool asks for it.
struct Process {
    fs: SimFs,
    clock: SimClock,
    spool: Spool,
    /// What memory holds, by number, and its token if it is saved.
    held: BTreeMap<u64, Option<Token>>,
    /// Records that are only in the spool.
    resting: BTreeSet<u64>,
    next: u64,
}

impl Process {
    fn start(seed: u64) -> Self {
        let (fs, clock) = (SimFs::new(seed), SimClock::default());
        Self {
            spool: open(&fs, &clock),
            fs,
            clock,
            held: BTreeMap::new(),
            resting: BTreeSet::new(),
            next: 0,
        }
    }

    fn append(&mut self, n: u64) {
        for _ in 0..n {
            self.held.insert(self.next, None);
            self.next += 1;
        }
        self.save();
    }

    /// Saves what is not saved, in part beside the spool, as the agent does.
    fn save(&mut self) {
        let appender = self.spool.appender();
        for (number, token) in &mut self.held {
            if token.is_none() {
                let body = number.to_string();
                let record = [(kind(*number), body.as_bytes())];
                let saved = appender
                    .append(&record)
                    .or_else(|| self.spool.append(&record).ok());
                *token = saved.map(|tokens| tokens[0]);
            }
        }
    }

    fn save_again(&mut self) {
        let forgotten = self.spool.forgotten();
        for token in self.held.values_mut() {
            token.take_if(|token| forgotten.contains(token));
        }
        self.save();
    }

    fn tick(&mut self, after: Duration) -> Result<(), IoError> {
        self.clock.advance(after);
        let done = self.spool.tick();
        self.save_again();
        done
    }

    /// Leaves the oldest `n` to the spool.
    fn release(&mut self, n: usize) {
        let saved = self
            .held
            .iter()
            .filter_map(|(n, token)| Some((*n, (*token)?)));
        let (numbers, tokens): (Vec<u64>, Vec<Token>) = saved.take(n).unzip();
        self.spool.release(&tokens);
        for number in numbers {
            self.held.remove(&number);
            self.resting.insert(number);
        }
    }

    fn acknowledge(&mut self, n: usize) {
        let saved = self
            .held
            .iter()
            .filter_map(|(n, token)| Some((*n, (*token)?)));
        let (numbers, tokens): (Vec<u64>, Vec<Token>) = saved.take(n).unzip();
        let _ = self.spool.acknowledge(&tokens);
        for number in numbers {
            self.held.remove(&number);
        }
    }

    fn load(&mut self) {
        for record in self.spool.load(300).unwrap_or_default() {
            let number = number(&record.bytes);
            self.resting.remove(&number);
            // A copy that came back with the directory is one more, as for the backend.
            if let Some(Some(token)) = self.held.insert(number, Some(record.token)) {
                let _ = self.spool.acknowledge(&[token]);
            }
        }
    }

    /// What a process finds that starts now, after a kill of this one.
    fn after_a_kill(&self) -> BTreeSet<u64> {
        let (fs, clock) = (self.fs.fork(), SimClock::default());
        let mut next = open(&fs, &clock);
        next.tick().unwrap();
        let mut found = BTreeSet::new();
        loop {
            let loaded = next.load(usize::MAX).unwrap();
            if loaded.is_empty() {
                return found;
            }
            found.extend(loaded.iter().map(|record| number(&record.bytes)));
        }
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut files = self.fs.files(self.spool.directory());
        files.retain(|path| path.extension().is_some_and(|e| e == "log"));
        files
    }

    /// Applies a change by others, if its file exists.
    fn suffer(&self, act: Act) {
        let own = self.spool.directory();
        let (root, elsewhere) = (Path::new(ROOT), Path::new(ELSEWHERE));
        let segments = self.segments();
        let segment = |n: u8| segments.get(usize::from(n) * segments.len() / 256);
        let _ = match act {
            Act::RemoveLock => self.fs.remove_all(&own.join("lock")),
            Act::RemoveSegment(n) => segment(n).map_or(Ok(()), |path| self.fs.remove_all(path)),
            Act::EmptySegment(n) => segment(n).map_or(Ok(()), |path| {
                self.fs
                    .damage(path, |bytes| bytes.truncate(bytes.len() / 2))
            }),
            Act::ReplaceSegment(n) => segment(n).map_or(Ok(()), |path| {
                self.fs.remove_all(path)?;
                self.fs.create_new(path)?.append(&[0; 600])
            }),
            Act::RemoveOwn => self.fs.remove_all(own),
            Act::ReplaceOwn => self
                .fs
                .remove_all(own)
                .and_then(|()| self.fs.create_dir_all(own)),
            Act::MoveOwn => self.fs.move_to(own, elsewhere),
            Act::RemoveRoot => self.fs.remove_all(root),
            Act::FileForRoot => self
                .fs
                .remove_all(root)
                .and_then(|()| self.fs.create_new(root).map(drop)),
            // As a file system does that is mounted over the path.
            Act::HideRoot => self
                .fs
                .move_to(root, elsewhere)
                .and_then(|()| self.fs.create_dir_all(root)),
            Act::ShowRoot => self.fs.move_to(elsewhere, root),
        };
    }
}

fn kind(number: u64) -> Kind {
    Kind::ALL[usize::from(number.is_multiple_of(3))]
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

#[derive(Debug, Clone, Copy)]
enum Act {
    RemoveLock,
    RemoveSegment(u8),
    EmptySegment(u8),
    ReplaceSegment(u8),
    RemoveOwn,
    ReplaceOwn,
    MoveOwn,
    RemoveRoot,
    FileForRoot,
    HideRoot,
    ShowRoot,
}

const ACTS: [Act; 11] = [
    Act::RemoveLock,
    Act::RemoveSegment(0),
    Act::EmptySegment(0),
    Act::ReplaceSegment(0),
    Act::RemoveOwn,
    Act::ReplaceOwn,
    Act::MoveOwn,
    Act::RemoveRoot,
    Act::FileForRoot,
    Act::HideRoot,
    Act::ShowRoot,
];

/// The changes after which something is missing and is created again at once.
fn harmful() -> impl Iterator<Item = Act> {
    let harmless = |act: &Act| matches!(act, Act::FileForRoot | Act::ShowRoot);
    ACTS.into_iter().filter(move |act| !harmless(act))
}

#[test]
fn removed_files_are_reported_and_created_again_with_the_records_in_memory() {
    for act in harmful() {
        let mut process = Process::start(1);
        process.append(50);
        process.tick(CHECK_INTERVAL).unwrap();
        process.suffer(act);
        let told = process.tick(CHECK_INTERVAL).unwrap_err().to_string();
        assert!(
            told.contains("removed or replaced while in use"),
            "{act:?}: {told}"
        );
        assert_eq!(process.after_a_kill(), (0..50).collect(), "{act:?}");
        process.append(10);
        process.tick(CHECK_INTERVAL).unwrap();
        assert_eq!(process.after_a_kill(), (0..60).collect(), "{act:?}");
        assert_eq!(process.spool.usage().damaged.total(), 0, "{act:?}");
    }
}

#[test]
fn a_check_is_due_within_the_interval_while_there_are_records_and_no_sooner() {
    let mut process = Process::start(2);
    process.tick(ADOPTION_INTERVAL).unwrap();
    let idle = process.clock.clone();
    assert!(process.spool.next_due() > guard_spool::Clock::now(&idle) + CHECK_INTERVAL);
    // The first record after a long time without any is written to a file that is gone.
    process.suffer(Act::RemoveOwn);
    process.append(1);
    process.tick(Duration::ZERO).unwrap_err();
    assert_eq!(process.after_a_kill(), [0].into());
    assert!(process.spool.next_due() <= guard_spool::Clock::now(&idle) + CHECK_INTERVAL);
}

#[test]
fn a_removed_record_that_was_only_on_disk_is_counted() {
    for act in [Act::RemoveOwn, Act::RemoveRoot, Act::MoveOwn] {
        let mut process = Process::start(3);
        process.append(30);
        process.release(10);
        process.suffer(act);
        process.tick(CHECK_INTERVAL).unwrap_err();
        let usage = process.spool.usage();
        assert_eq!(
            (usage.damaged.events, usage.damaged.metrics),
            (6, 4),
            "{act:?}"
        );
        assert_eq!(usage.records, 20, "{act:?}");
    }
}

#[test]
fn a_record_that_leaves_memory_before_its_owner_knows_is_counted() {
    let mut process = Process::start(4);
    process.append(10);
    process.suffer(Act::RemoveOwn);
    process.clock.advance(CHECK_INTERVAL);
    process.spool.tick().unwrap_err();
    let forgotten = process.spool.forgotten();
    // Its owner takes it for saved until it has asked.
    process.spool.release(&forgotten[..3]);
    assert_eq!(process.spool.usage().damaged.total(), 3);
    assert!(process.spool.forgotten().is_empty(), "each is told once");
}

#[test]
fn a_directory_that_comes_back_is_adopted() {
    for act in [Act::MoveOwn, Act::HideRoot] {
        let mut process = Process::start(5);
        let own = process.spool.directory().to_owned();
        process.append(20);
        process.release(20);
        process.suffer(act);
        process.tick(CHECK_INTERVAL).unwrap_err();
        match act {
            Act::MoveOwn => process.fs.move_to(Path::new(ELSEWHERE), &own).unwrap(),
            _ => process.suffer(Act::ShowRoot),
        }
        // What took its place meanwhile is gone again, which is told too.
        let _ = process.tick(ADOPTION_INTERVAL);
        let _ = process.tick(ADOPTION_INTERVAL);
        while process.spool.usage().has_waiting() {
            process.load();
        }
        assert_eq!(process.held.len(), 20, "{act:?}");
    }
}

#[test]
fn records_adopted_by_another_process_after_the_lock_was_removed_are_not_lost() {
    let mut process = Process::start(6);
    process.append(20);
    process.release(5);
    process.suffer(Act::RemoveLock);
    let mut heir = open(&process.fs, &process.clock);
    heir.tick().unwrap();
    process.tick(CHECK_INTERVAL).unwrap_err();
    let usage = process.spool.usage();
    assert_eq!((usage.taken.total(), usage.damaged.total()), (5, 0));
    assert_eq!(usage.records, 15);
    assert_eq!(heir.load(usize::MAX).unwrap().len(), 20);
}

#[test]
fn a_removal_is_reported_until_the_files_can_be_created_again() {
    for faults in [
        Faults {
            capacity: Some(0),
            ..Faults::default()
        },
        Faults {
            read_only: true,
            ..Faults::default()
        },
    ] {
        let mut process = Process::start(7);
        process.append(20);
        process.suffer(Act::RemoveRoot);
        process.fs.set_faults(faults);
        for _ in 0..5 {
            process.tick(RETRY).unwrap_err();
        }
        process.fs.heal();
        let _ = process.tick(RETRY);
        process.tick(RETRY).unwrap();
        assert_eq!(process.after_a_kill(), (0..20).collect());
    }
}

#[test]
fn a_file_system_without_locks_is_an_error_that_leaves_nothing_behind() {
    let (fs, clock) = (SimFs::new(8), SimClock::default());
    fs.create_dir_all(Path::new(ROOT)).unwrap();
    fs.set_faults(Faults {
        locks: true,
        ..Faults::default()
    });
    for _ in 0..10 {
        let (fs, clock) = (Arc::new(fs.clone()), Arc::new(clock.clone()));
        let error = Spool::open_with(Path::new(ROOT), Options::default(), fs, clock);
        assert!(error.unwrap_err().to_string().contains("cannot lock"));
    }
    assert!(fs.list(Path::new(ROOT)).unwrap().is_empty());
}

#[test]
fn directories_of_another_user_in_a_shared_root_are_not_touched() {
    let mut process = Process::start(9);
    let (foreign, quarantine) = ("1700000000000-1-00000000", "quarantine");
    for name in [foreign, quarantine] {
        let path = Path::new(ROOT).join(name);
        process.fs.create_dir_all(&path).unwrap();
        process.fs.give_away(&path).unwrap();
    }
    process.append(2);
    process.tick(ADOPTION_INTERVAL).unwrap();
    drop(open(&process.fs, &process.clock));
    let mut next = open(&process.fs, &process.clock);
    next.tick().unwrap();
    let tokens = next.append(&[(Kind::Event, b"{}")]).unwrap();
    next.quarantine(tokens[0], Kind::Event, b"{}", "refused")
        .unwrap();
    assert_eq!(next.usage().quarantined, 1);
    assert_eq!(open(&process.fs, &process.clock).usage().quarantined, 1);
    let aside = guard_spool::inspect::quarantined(&process.fs, Path::new(ROOT)).unwrap();
    assert_eq!(aside.len(), 1);
    let directories = guard_spool::inspect::directories(&process.fs, Path::new(ROOT)).unwrap();
    let foreign = directories.iter().find(|it| it.name == foreign).unwrap();
    assert_eq!(foreign.owner, guard_spool::inspect::Owner::Running);
}

#[test]
fn a_directory_of_the_same_user_that_cannot_be_read_is_an_error() {
    let mut process = Process::start(10);
    let dead = Path::new(ROOT).join("1700000000000-1-00000000");
    process.fs.create_dir_all(&dead).unwrap();
    process.fs.give_away(&dead).unwrap();
    process.fs.give_away(process.spool.directory()).unwrap();
    process.append(1);
    let told = process.tick(ADOPTION_INTERVAL).unwrap_err();
    assert_eq!(told.source.kind(), std::io::ErrorKind::PermissionDenied);
}

#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    Acknowledge(usize),
    Release(usize),
    Load,
    Tick(u64),
    Others(Act),
}

fn step() -> impl Strategy<Value = Step> {
    let act = (0..ACTS.len(), any::<u8>()).prop_map(|(which, n)| match ACTS[which] {
        Act::RemoveSegment(_) => Act::RemoveSegment(n),
        Act::EmptySegment(_) => Act::EmptySegment(n),
        Act::ReplaceSegment(_) => Act::ReplaceSegment(n),
        act => act,
    });
    prop_oneof![
        4 => (0..12_u64).prop_map(Step::Append),
        2 => (0..12_usize).prop_map(Step::Acknowledge),
        2 => (0..12_usize).prop_map(Step::Release),
        2 => Just(Step::Load),
        4 => (0..1_000_u64).prop_map(Step::Tick),
        3 => act.prop_map(Step::Others),
    ]
}

fn run(seed: u64, steps: &[Step]) {
    let mut process = Process::start(seed);
    for step in steps {
        match step {
            Step::Append(n) => process.append(*n),
            Step::Acknowledge(n) => process.acknowledge(*n),
            Step::Release(n) => process.release(*n),
            Step::Load => process.load(),
            Step::Tick(time) => drop(process.tick(Duration::from_millis(*time))),
            Step::Others(act) => process.suffer(*act),
        }
    }
    if process.fs.create_dir_all(Path::new(ROOT)).is_err() {
        process.fs.remove_all(Path::new(ROOT)).unwrap();
    }
    let _ = process.tick(RETRY);
    process.tick(RETRY).unwrap();
    let found = process.after_a_kill();
    let held: BTreeSet<u64> = process.held.keys().copied().collect();
    let unsaved: Vec<_> = held.difference(&found).collect();
    assert!(unsaved.is_empty(), "{unsaved:?} are in memory only");
    while process.spool.usage().has_waiting() {
        process.load();
    }
    let usage = process.spool.usage();
    let (lost, counted) = (
        process.resting.len() as u64,
        usage.damaged.total() + usage.taken.total(),
    );
    assert!(lost <= counted, "{lost} are lost, counted are {counted}");
}

#[test]
fn records_in_memory_are_on_disk_a_second_after_any_change_by_others() {
    let default = Config::default();
    let config = Config {
        cases: default.cases.max(2_000),
        failure_persistence: None,
        ..default
    };
    TestRunner::new(config)
        .run(&(any::<u64>(), vec(step(), 0..40)), |(seed, steps)| {
            run(seed, &steps);
            Ok(())
        })
        .unwrap();
}
