//! Damage at every position of a three-segment spool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use guard_spool::sim::{SimClock, SimFs};
use guard_spool::{FileSystem, Kind, Options, Spool, Token, inspect};

const ROOT: &str = "/spool";

/// What is done to a file at a position.
const DAMAGES: [fn(&mut Vec<u8>, usize); 3] = [
    |bytes, at| bytes[at] ^= 1 << (at % 8),
    |bytes, at| {
        bytes.remove(at);
    },
    |bytes, at| bytes.truncate(at),
];

fn open(fs: &SimFs) -> Spool {
    let options = Options {
        max_bytes: 8_000,
        segment_bytes: 500,
        max_record: 100,
        quarantine_bytes: 64 << 10,
        sync_interval: Duration::ZERO,
    };
    let clock = Arc::new(SimClock::default());
    let fs = Arc::new(fs.clone());
    let mut spool = Spool::open_with(Path::new(ROOT), options, fs, clock).unwrap();
    spool.tick().unwrap();
    spool
}

fn body(number: u8) -> Vec<u8> {
    vec![number; 10 + 3 * usize::from(number)]
}

/// What the undamaged spool holds.
struct Whole {
    fs: SimFs,
    /// With the numbers of their records.
    segments: Vec<(PathBuf, Vec<u8>)>,
    sidecar: PathBuf,
    acknowledged: u8,
}

/// Three segments, the last not sealed, left by a process that died. One record
/// of the second is acknowledged.
fn whole() -> Whole {
    let fs = SimFs::new(1);
    let mut spool = open(&fs);
    let mut tokens = Vec::new();
    let logs = |fs: &SimFs| {
        let mut files = fs.files(Path::new(ROOT));
        files.retain(|path| path.extension().is_some_and(|e| e == "log"));
        files
    };
    let mut segments: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for number in 0..17 {
        tokens.extend(spool.append(&[(Kind::Event, &body(number))]).unwrap());
        let newest = logs(&fs).pop().unwrap();
        match segments.iter_mut().find(|(path, _)| *path == newest) {
            Some((_, numbers)) => numbers.push(number),
            None => segments.push((newest, vec![number])),
        }
    }
    assert_eq!(segments.len(), 3);
    let acknowledged = segments[1].1[1];
    spool
        .acknowledge(&[tokens[usize::from(acknowledged)]])
        .unwrap();
    drop(spool);
    let sidecar = segments[1].0.with_extension("ack");
    Whole {
        fs,
        segments,
        sidecar,
        acknowledged,
    }
}

impl Whole {
    /// What is not acknowledged.
    fn all(&self) -> BTreeSet<u8> {
        let numbers = self.segments.iter().flat_map(|(_, numbers)| numbers);
        numbers
            .copied()
            .filter(|n| *n != self.acknowledged)
            .collect()
    }
}

/// What a process finds that starts on a copy with this damage, as sorted numbers,
/// and what it says of it.
fn found(whole: &Whole, damage: impl FnOnce(&SimFs)) -> (Vec<u8>, guard_spool::Usage, SimFs) {
    let fs = whole.fs.fork();
    damage(&fs);
    let mut spool = open(&fs);
    let mut numbers = Vec::new();
    loop {
        let loaded = spool.load(100).unwrap();
        if loaded.is_empty() {
            break;
        }
        let tokens: Vec<Token> = loaded.iter().map(|record| record.token).collect();
        for record in loaded {
            let number = record.bytes[0];
            assert_eq!(record.bytes, body(number), "a wrong record");
            numbers.push(number);
        }
        spool.acknowledge(&tokens).unwrap();
    }
    let usage = spool.usage();
    assert_eq!(usage.records, 0);
    numbers.sort_unstable();
    (numbers, usage, fs)
}

/// Where the frames of a segment end that holds these records, by the layout that
/// the crate's documentation gives.
fn ends(numbers: &[u8]) -> Vec<usize> {
    let mut end = 24;
    let frame = |number: &u8| {
        end += 21 + body(*number).len();
        end
    };
    numbers.iter().map(frame).collect()
}

/// A row for `make faults`.
#[derive(Default)]
struct Row {
    accepted: usize,
    delivered: usize,
    duplicated: usize,
    lost: usize,
}

impl Row {
    /// Adds what was found of `all`, where `hit` is what may be lost.
    fn add(&mut self, all: &BTreeSet<u8>, found: &[u8], hit: &[u8]) {
        let once: BTreeSet<u8> = found.iter().copied().collect();
        let lost = all.difference(&once).filter(|number| !hit.contains(number));
        self.accepted += all.len();
        self.delivered += once.len();
        self.duplicated += found.len() - once.len();
        self.lost += lost.count();
    }

    fn tell(&self, fault: &str, window: &str) {
        let (accepted, delivered) = (self.accepted, self.delivered);
        let (duplicated, lost) = (self.duplicated, self.lost);
        println!("FAULT\t{fault}\t{accepted}\t{delivered}\t{duplicated}\t{lost}\t{window}");
        assert_eq!((duplicated, lost), (0, 0), "{fault}");
    }
}

#[test]
fn damage_at_any_position_costs_at_most_the_record_it_hits() {
    let whole = whole();
    let all = whole.all();
    assert_eq!(found(&whole, |_| ()).0, Vec::from_iter(all.clone()));
    let mut rows = [(); 3].map(|()| Row::default());
    for (place, (path, numbers)) in whole.segments.iter().enumerate() {
        let ends = ends(numbers);
        let bytes = bytes_of(&whole.fs, path);
        for at in 0..bytes.len() {
            for (how, damage) in DAMAGES.iter().enumerate() {
                // Of equal bytes in a row it makes no difference which one is gone.
                let last = |at| bytes[at..].iter().take_while(|b| **b == bytes[at]).count() - 1;
                let at = if how == 1 { at + last(at) } else { at };
                let before = ends.iter().filter(|end| **end <= at).count();
                let behind = &numbers[before..];
                let case = format!("segment {place}, byte {at}, damage {how}");
                let (found, usage, fs) = found(&whole, |fs| {
                    fs.damage(path, |bytes| damage(bytes, at)).unwrap();
                });
                assert!(found.iter().all(|n| all.contains(n)), "{case}: {found:?}");
                let truncated = how == 2;
                // Damage of the header, or of the seal, hits none.
                let hit = match behind {
                    [first, ..] if !truncated && at >= 24 => std::slice::from_ref(first),
                    _ if truncated => behind,
                    _ => &[],
                };
                rows[how].add(&all, &found, hit);
                assert_eq!((rows[how].duplicated, rows[how].lost), (0, 0), "{case}");
                let unreadable = usage.damaged_bytes + usage.torn_bytes;
                assert!(
                    truncated || found.len() == all.len() || unreadable > 0,
                    "{case}"
                );
                // A hole in the middle keeps the segment, whoever may look at it.
                let aside = inspect::quarantined(&fs, Path::new(ROOT)).unwrap();
                assert!(usage.damaged_bytes == 0 || aside.len() == 1, "{case}");
            }
        }
    }
    let [flipped, gone, cut] = rows;
    flipped.tell(
        "a bit flipped at each byte of three segments",
        "the record hit",
    );
    gone.tell(
        "a byte gone at each place of three segments",
        "the record hit",
    );
    cut.tell(
        "a segment of three cut off at each byte",
        "the records behind the cut",
    );
}

#[test]
fn damage_of_a_sidecar_gives_acknowledged_records_again_and_loses_none() {
    let whole = whole();
    let all = whole.all();
    let mut again = all.clone();
    again.insert(whole.acknowledged);
    for at in 0..bytes_of(&whole.fs, &whole.sidecar).len() {
        for damage in DAMAGES {
            let (numbers, _, _) = found(&whole, |fs| {
                fs.damage(&whole.sidecar, |bytes| damage(bytes, at))
                    .unwrap();
            });
            let found: BTreeSet<u8> = numbers.iter().copied().collect();
            assert_eq!(found.len(), numbers.len(), "byte {at}: {numbers:?}");
            assert!(found == all || found == again, "byte {at}: {found:?}");
        }
    }
}

fn bytes_of(fs: &SimFs, path: &Path) -> Vec<u8> {
    fs.read(path, 0, u64::MAX).unwrap()
}
