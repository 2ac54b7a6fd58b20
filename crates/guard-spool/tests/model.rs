//! A model of the spool, and random sequences of everything that can happen to it.
//!
//! The model knows for every record whether it must be found, may be found or
//! must not be found. The spool must agree after each step, and at the end of a sequence,
//! when the disk has no faults any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use guard_spool::sim::{Faults, SimClock, SimFs};
use guard_spool::{ADOPTION_INTERVAL, AppendError, Clock, Kind, Options, RETRY, Spool, Token};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const ROOT: &str = "/spool";
const INTERVAL: Duration = Duration::from_millis(200);

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    /// Acknowledges some of the held records.
    Acknowledge(u8, u8),
    Release(u8, u8),
    Load(u16),
    Discard(u16),
    /// Lets milliseconds pass, then ticks.
    Tick(u16),
    Sync,
    /// Another thread appends some records during the operation after the next few.
    AppendBeside(u8, u8),
    /// The process is killed and another one starts.
    Kill,
    /// The power fails, and a process starts.
    Crash,
    /// The spool is closed and opened.
    Close,
    Fault(Fault),
    /// The operation after the next few fails.
    FailAfter(u8),
    Heal,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The disk has room for some more bytes.
    Full(u16),
    ReadOnly,
    Writes,
    Syncs,
    Reads,
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        any::<u16>().prop_map(|bytes| Fault::Full(bytes % 2_000)),
        Just(Fault::ReadOnly),
        Just(Fault::Writes),
        Just(Fault::Syncs),
        Just(Fault::Reads),
    ];
    prop_oneof![
        6 => (0..12u8).prop_map(Step::Append),
        3 => any::<(u8, u8)>().prop_map(|(a, b)| Step::Acknowledge(a, b)),
        2 => any::<(u8, u8)>().prop_map(|(a, b)| Step::Release(a, b)),
        3 => (0..600u16).prop_map(Step::Load),
        1 => (0..1_500u16).prop_map(Step::Discard),
        3 => (0..400u16).prop_map(Step::Tick),
        1 => Just(Step::Tick(20_000)),
        1 => Just(Step::Sync),
        6 => (0..4u8, 0..12u8).prop_map(|(n, after)| Step::AppendBeside(n, after)),
        1 => Just(Step::Kill),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
        1 => fault.prop_map(Step::Fault),
        2 => (0..30u8).prop_map(Step::FailAfter),
        3 => Just(Step::Heal),
    ]
}

/// What may bring back a record that is not live: an acknowledgement or a failed append that is
/// undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Undoes {
    Nothing,
    PowerCut,
    Death,
}

/// What the model knows of a record that was appended, or whose append failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// Whether it must be found: it was appended and not acknowledged.
    live: bool,
    /// Whether it survives a power cut.
    durable: bool,
    undoes: Undoes,
    /// Whether it was this process that acknowledged it or failed to append it:
    /// its sync makes that final.
    mine: bool,
    /// Whether it may be found although it is not live.
    ghost: bool,
    /// How this process names it, if it holds it.
    token: Option<Token>,
    /// When it was appended, on the model's clock.
    at: Duration,
}

impl Known {
    /// The process or the power is gone.
    fn end(&mut self, how: Undoes) {
        self.token = None;
        self.mine = false;
        self.ghost |= !self.live && self.undoes >= how;
        if how == Undoes::PowerCut && self.live && !self.durable {
            self.live = false;
            self.ghost = true;
        }
    }
}

/// Numbers of records, and the tokens they got.
type Beside = Arc<Mutex<Vec<(Vec<u64>, Vec<Token>)>>>;

struct World {
    fs: SimFs,
    clock: SimClock,
    elapsed: Duration,
    spool: Option<Spool>,
    /// What another thread has appended since the model last looked.
    beside: Beside,
    /// Each append is followed by a sync.
    always: bool,
    records: BTreeMap<u64, Known>,
    next: u64,
    /// Number of discarded records of each kind; the model does not know which ones.
    discarded: [u64; 2],
    /// When this process started.
    started: Duration,
    /// No tick works before.
    retry_at: Duration,
    faulty: bool,
}

fn kind(number: u64) -> Kind {
    if number.is_multiple_of(3) {
        Kind::Metric
    } else {
        Kind::Event
    }
}

/// The bytes of a record follow from its number.
fn payload(number: u64) -> Vec<u8> {
    let filler = usize::try_from(number * 37 % 90).unwrap();
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + filler, number.to_le_bytes()[0]);
    bytes
}

/// Passes the records with these numbers to `append`.
fn with_records<T>(numbers: &[u64], take: impl FnOnce(&[(Kind, &[u8])]) -> T) -> T {
    let bodies: Vec<Vec<u8>> = numbers.iter().map(|n| payload(*n)).collect();
    let records: Vec<(Kind, &[u8])> = numbers
        .iter()
        .zip(&bodies)
        .map(|(number, body)| (kind(*number), body.as_slice()))
        .collect();
    take(&records)
}

fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, payload(number), "a record came back changed");
    number
}

impl World {
    fn new(seed: u64, always: bool) -> Self {
        let mut world = Self {
            fs: SimFs::new(seed),
            clock: SimClock::default(),
            elapsed: Duration::ZERO,
            spool: None,
            beside: Beside::default(),
            always,
            records: BTreeMap::new(),
            next: 0,
            discarded: [0, 0],
            started: Duration::ZERO,
            retry_at: Duration::ZERO,
            faulty: false,
        };
        world.start();
        world
    }

    fn options(&self) -> Options {
        Options {
            max_bytes: 4_000,
            segment_bytes: 700,
            max_record: 200,
            sync_interval: INTERVAL,
            quarantine_bytes: 64 << 10,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.elapsed += time;
    }

    /// A process starts, if the disk lets it.
    fn start(&mut self) {
        self.pass(Duration::from_millis(1));
        self.retry_at = Duration::ZERO;
        self.started = self.elapsed;
        let opened = Spool::open_with(
            Path::new(ROOT),
            self.options(),
            Arc::new(self.fs.clone()),
            Arc::new(self.clock.clone()),
        );
        assert!(self.faulty || opened.is_ok(), "{opened:?}");
        self.spool = opened.ok();
    }

    /// The process or the power is gone.
    fn end(&mut self, how: Undoes) {
        self.spool = None;
        self.fs.meanwhile(0, || {});
        self.note_beside();
        if how == Undoes::PowerCut {
            self.fs.crash();
        }
        for known in self.records.values_mut() {
            known.end(how);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Fault(fault) => return self.fault(fault),
            Step::FailAfter(n) => {
                self.faulty = true;
                return self.fs.fail_after(u64::from(n), false);
            }
            Step::Heal => {
                self.fs.heal();
                self.faulty = false;
                return;
            }
            Step::Kill => {
                self.end(Undoes::Death);
                return self.start();
            }
            Step::Crash => {
                self.end(Undoes::PowerCut);
                return self.start();
            }
            _ => {}
        }
        if self.spool.is_none() {
            self.start();
        }
        if self.spool.is_none() {
            return;
        }
        match step {
            Step::Append(n) => self.append(n),
            Step::Acknowledge(from, n) => self.acknowledge(from, n),
            Step::Release(from, n) => self.release(from, n),
            Step::Load(bytes) => {
                self.load(usize::from(bytes));
            }
            Step::Discard(bytes) => self.discard(u64::from(bytes)),
            Step::Tick(time) => self.tick(Duration::from_millis(u64::from(time))),
            Step::Sync => self.sync(),
            Step::AppendBeside(n, after) => self.append_beside(n, after),
            Step::Close => self.close(),
            _ => {}
        }
        self.check();
    }

    fn fault(&mut self, fault: Fault) {
        self.faulty = true;
        let none = Faults::default();
        self.fs.set_faults(match fault {
            Fault::Full(more) => Faults {
                capacity: Some(self.fs.used() + u64::from(more)),
                ..none
            },
            Fault::ReadOnly => Faults {
                read_only: true,
                ..none
            },
            Fault::Writes => Faults {
                writes: true,
                ..none
            },
            Fault::Syncs => Faults {
                syncs: true,
                ..none
            },
            Fault::Reads => Faults {
                reads: true,
                ..none
            },
        });
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    /// Those of the next records.
    fn numbers(&mut self, n: u8) -> Vec<u64> {
        let numbers: Vec<u64> = (self.next..).take(usize::from(n)).collect();
        self.next += u64::from(n);
        numbers
    }

    fn append(&mut self, n: u8) {
        let numbers = self.numbers(n);
        let appended = with_records(&numbers, |records| self.spool().append(records));
        self.note_beside();
        match &appended {
            Ok(tokens) => {
                assert_eq!(tokens.len(), numbers.len());
                let used = self.spool().usage().bytes;
                // Headers and seals of segments come on top.
                assert!(numbers.is_empty() || used <= 4_000 + 500, "{used}");
            }
            Err(AppendError::Io(_)) => assert!(self.faulty),
            Err(AppendError::Full {
                needed,
                used,
                limit,
            }) => assert!(used + needed > *limit),
            Err(error) => panic!("{error}"),
        }
        let full = matches!(appended, Err(AppendError::Full { .. }));
        let tokens = appended.ok();
        for (place, number) in numbers.into_iter().enumerate() {
            let token = tokens.as_ref().map(|tokens| tokens[place]);
            if !full {
                self.records.insert(number, self.appended(token));
            }
        }
        if self.always {
            self.sync();
        }
    }

    /// Some of the records that this process holds.
    fn pick(&self, from: u8, n: u8) -> (Vec<u64>, Vec<Token>) {
        let held: Vec<(u64, Token)> = self
            .records
            .iter()
            .filter_map(|(number, known)| Some((*number, known.token?)))
            .collect();
        let from = usize::from(from) * held.len() / 256;
        let n = usize::from(n) * (held.len() - from) / 200;
        held.into_iter().skip(from).take(n).unzip()
    }

    fn acknowledge(&mut self, from: u8, n: u8) {
        let (numbers, tokens) = self.pick(from, n);
        let done = self.spool().acknowledge(&tokens);
        assert!(self.faulty || done.is_ok(), "{done:?}");
        for number in numbers {
            let known = self.records.get_mut(&number).unwrap();
            known.live = false;
            known.token = None;
            known.mine = true;
            known.undoes = if done.is_ok() {
                Undoes::PowerCut
            } else {
                Undoes::Death
            };
        }
    }

    fn release(&mut self, from: u8, n: u8) {
        let (numbers, tokens) = self.pick(from, n);
        self.spool().release(&tokens);
        for number in numbers {
            self.records.get_mut(&number).unwrap().token = None;
        }
    }

    fn load(&mut self, max_bytes: usize) -> bool {
        let Ok(loaded) = self.spool().load(max_bytes) else {
            assert!(self.faulty);
            return false;
        };
        let bytes: usize = loaded.iter().map(|record| record.bytes.len()).sum();
        assert!(bytes <= max_bytes || loaded.len() == 1);
        let found = !loaded.is_empty();
        for record in loaded {
            let number = number(&record.bytes);
            assert_eq!(record.kind, kind(number));
            let known = self.records.get_mut(&number);
            let known = known.unwrap_or_else(|| panic!("{number} was never appended"));
            assert!(known.live || known.ghost, "{number} was removed for good");
            assert_eq!(known.token, None, "{number} is held and was given");
            known.live = true;
            known.ghost = false;
            known.token = Some(record.token);
        }
        found
    }

    fn discard(&mut self, bytes: u64) {
        self.note_beside();
        let held = self.spool().usage().held;
        match self.spool().discard_oldest(bytes) {
            Ok(discarded) => {
                self.discarded[0] += discarded.records.events;
                self.discarded[1] += discarded.records.metrics;
            }
            Err(_) => assert!(self.faulty),
        }
        let beside = self.note_beside();
        assert_eq!(self.spool().usage().held.total(), held.total() + beside);
    }

    fn tick(&mut self, time: Duration) {
        self.pass(time);
        let (due, operations) = (self.spool().next_due(), self.fs.operations());
        let done = self.spool().tick();
        assert!(self.faulty || done.is_ok(), "{done:?}");
        let idle = self.fs.operations() == operations;
        assert!(idle || due <= self.clock.now(), "it was not due");
        if self.elapsed < self.retry_at {
            return;
        }
        if done.is_err() {
            self.retry_at = self.elapsed + RETRY;
        } else if !self.faulty {
            let before = self.elapsed.saturating_sub(INTERVAL);
            let started = self.started;
            self.durable(|known| (started..=before).contains(&known.at));
        }
    }

    fn sync(&mut self) {
        let done = self.spool().sync();
        assert!(self.faulty || done.is_ok(), "{done:?}");
        if done.is_ok() {
            self.all_durable();
        }
    }

    fn append_beside(&mut self, n: u8, after: u8) {
        let numbers = self.numbers(n);
        let (appender, beside) = (self.spool().appender(), Arc::clone(&self.beside));
        self.fs.meanwhile(u64::from(after), move || {
            let tokens = with_records(&numbers, |records| appender.append(records));
            beside
                .lock()
                .unwrap()
                .push((numbers, tokens.unwrap_or_default()));
        });
    }

    /// Adds the records that another thread appended. Returns how many.
    fn note_beside(&mut self) -> u64 {
        let mut count = 0;
        for (numbers, tokens) in std::mem::take(&mut *self.beside.lock().unwrap()) {
            for (place, number) in numbers.into_iter().enumerate() {
                let token = tokens.get(place).copied();
                count += u64::from(token.is_some());
                self.records.insert(number, self.appended(token));
            }
        }
        count
    }

    /// What is known of a record for which an append has ended just now.
    fn appended(&self, token: Option<Token>) -> Known {
        Known {
            live: token.is_some(),
            durable: false,
            undoes: Undoes::Death,
            mine: true,
            ghost: false,
            token,
            at: self.elapsed,
        }
    }

    /// Marks the appended records of this process that meet a condition as durable.
    fn durable(&mut self, condition: impl Fn(&Known) -> bool) {
        for known in self.records.values_mut() {
            known.durable |= known.live && condition(known);
        }
    }

    /// Marks appends and acknowledgements as final.
    fn all_durable(&mut self) {
        // Directories of dead processes may not be adopted yet.
        let started = self.started;
        self.durable(|known| known.token.is_some() || known.at >= started);
        for known in self.records.values_mut() {
            if known.mine && !known.live {
                known.undoes = Undoes::Nothing;
            }
        }
    }

    fn close(&mut self) {
        let Some(spool) = self.spool.take() else {
            return;
        };
        let done = spool.close();
        assert!(self.faulty || done.is_ok(), "{done:?}");
        if done.is_ok() {
            self.all_durable();
        }
        self.end(Undoes::Death);
        self.start();
    }

    fn check(&mut self) {
        self.note_beside();
        let Some(spool) = &self.spool else {
            return;
        };
        let usage = spool.usage();
        let held = self.records.values().filter(|known| known.token.is_some());
        assert_eq!(usage.held.total(), held.count() as u64);
        assert_eq!(usage.damaged_bytes, 0, "nothing was damaged");
        assert_eq!(usage.damaged.total(), 0, "nothing was damaged");
    }

    /// Removes all faults, and checks that every record is found that must be.
    fn settle(&mut self) {
        self.step(Step::Heal);
        if self.spool.is_none() {
            self.start();
        }
        self.fs.meanwhile(0, || {});
        for _ in 0..3 {
            self.tick(ADOPTION_INTERVAL);
        }
        while self.load(300) {}
        self.check();
        let missing = self
            .records
            .iter()
            .filter(|(_, known)| known.live && known.token.is_none());
        let mut counts = [0, 0];
        for (number, _) in missing {
            counts[kind(*number).index()] += 1;
        }
        for (kind, missing) in counts.into_iter().enumerate() {
            assert!(
                missing <= self.discarded[kind],
                "{missing} of {kind} are lost: {:?}",
                self.records
            );
        }
    }
}

fn run(seed: u64, always: bool, steps: Vec<Step>) {
    let mut world = World::new(seed, always);
    for step in steps {
        world.step(step);
    }
    world.settle();
    world.sync();
    world.step(Step::Crash);
    world.settle();
    // All acknowledged and synced: nothing is ever found again, or left.
    let held: BTreeSet<Token> = world
        .records
        .values()
        .filter_map(|known| known.token)
        .collect();
    let held: Vec<Token> = held.into_iter().collect();
    world.spool().acknowledge(&held).unwrap();
    world.sync();
    assert_eq!(world.spool().usage().records, 0);
    world.spool.take().unwrap().close().unwrap();
    world.fs.crash();
    world.start();
    assert!(world.spool().load(1_000).unwrap().is_empty());
}

#[test]
fn the_spool_agrees_with_the_model_over_ten_thousand_sequences() {
    let default = Config::default();
    let config = Config {
        // PROPTEST_CASES may ask for more.
        cases: default.cases.max(10_000),
        failure_persistence: None,
        ..default
    };
    let sequences = (any::<u64>(), any::<bool>(), vec(step(), 0..40));
    TestRunner::new(config)
        .run(&sequences, |(seed, always, steps)| {
            run(seed, always, steps);
            Ok(())
        })
        .unwrap();
}

/// The full segment is rewritten, and another thread rotates to the next one meanwhile.
#[test]
fn records_appended_while_a_segment_is_rewritten_are_kept() {
    use Step::{Append, AppendBeside, FailAfter, Tick};
    let short = [
        Append(5),
        Tick(0),
        FailAfter(3),
        Append(5),
        AppendBeside(1, 2),
        Append(1),
    ];
    run(0, false, short.to_vec());
    let long = [
        Append(8),
        AppendBeside(2, 0),
        Append(4),
        Append(3),
        Append(11),
        FailAfter(16),
        Append(5),
        Append(2),
        Tick(0),
        Append(2),
        AppendBeside(1, 1),
        Append(1),
    ];
    run(0, false, long.to_vec());
}
