//! The spool on the real disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use guard_spool::{AppendError, Kind, Options, Spool, Token};

fn small() -> Options {
    Options {
        max_bytes: 64 << 10,
        segment_bytes: 4 << 10,
        max_record: 1 << 10,
        quarantine_bytes: 1 << 20,
        sync_interval: Duration::ZERO,
    }
}

/// A spool that has adopted what dead processes left.
fn open(root: &Path) -> Spool {
    let mut spool = Spool::open(root, small()).unwrap();
    spool.tick().unwrap();
    spool
}

/// Appends numbered events. Returns their tokens.
fn fill(spool: &mut Spool, numbers: std::ops::Range<u32>) -> Vec<Token> {
    let bodies: Vec<String> = numbers.map(|n| format!("{n:0>100}")).collect();
    let records: Vec<_> = bodies.iter().map(|b| (Kind::Event, b.as_bytes())).collect();
    spool.append(&records).unwrap()
}

/// Loads everything. Returns the numbers, sorted.
fn drain(spool: &mut Spool) -> Vec<u32> {
    let mut numbers = Vec::new();
    loop {
        let loaded = spool.load(1_000).unwrap();
        if loaded.is_empty() {
            numbers.sort_unstable();
            return numbers;
        }
        let tokens: Vec<Token> = loaded.iter().map(|record| record.token).collect();
        for record in loaded {
            numbers.push(String::from_utf8(record.bytes).unwrap().parse().unwrap());
        }
        spool.acknowledge(&tokens).unwrap();
    }
}

/// All paths below a directory.
fn tree(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn the_next_process_gets_what_was_not_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = open(root.path());
    let tokens = fill(&mut spool, 0..100);
    spool.acknowledge(&tokens[10..]).unwrap();
    spool.acknowledge(&tokens[..5]).unwrap();
    drop(spool);
    let mut next = open(root.path());
    assert_eq!(drain(&mut next), [5, 6, 7, 8, 9]);
}

#[test]
fn a_closed_spool_without_records_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = open(root.path());
    let tokens = fill(&mut spool, 0..100);
    spool.acknowledge(&tokens).unwrap();
    spool.close().unwrap();
    assert_eq!(tree(root.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_drained_directory_of_a_dead_process_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = open(root.path());
    fill(&mut spool, 0..100);
    let dead = spool.directory().to_owned();
    drop(spool);
    let mut next = open(root.path());
    assert_eq!(drain(&mut next), (0..100).collect::<Vec<_>>());
    next.sync().unwrap();
    assert!(!dead.exists());
}

#[test]
fn a_living_process_keeps_its_directory() {
    let root = tempfile::tempdir().unwrap();
    let mut living = open(root.path());
    fill(&mut living, 0..10);
    let mut other = open(root.path());
    assert!(other.load(1_000).unwrap().is_empty());
}

#[test]
fn released_records_are_loaded_again_and_held_ones_are_not() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = open(root.path());
    let tokens = fill(&mut spool, 0..100);
    spool.release(&tokens[..3]);
    assert_eq!(drain(&mut spool), [0, 1, 2]);
}

#[test]
fn processes_that_start_at_once_adopt_a_directory_once() {
    for _ in 0..20 {
        let root = tempfile::tempdir().unwrap();
        let mut spool = open(root.path());
        fill(&mut spool, 0..10);
        drop(spool);
        let start = Barrier::new(4);
        let adopt = || {
            start.wait();
            let mut spool = open(root.path());
            drain(&mut spool)
        };
        let mut found: Vec<u32> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(adopt)).collect();
            let drained = threads.into_iter().map(|thread| thread.join().unwrap());
            drained.flatten().collect()
        });
        found.sort_unstable();
        assert_eq!(found, (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn files_are_for_their_owner_alone() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = open(&root.path().join("spool"));
    let tokens = fill(&mut spool, 0..40);
    spool.acknowledge(&tokens[..1]).unwrap();
    spool
        .quarantine(tokens[1], Kind::Event, b"{}", "refused")
        .unwrap();
    let tree = tree(root.path());
    assert!(tree.len() > 7, "{tree:?}");
    for path in tree {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
    }
}

#[test]
fn a_full_spool_says_so_until_room_is_made() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = open(root.path());
    let mut tokens = Vec::new();
    let refused = loop {
        match spool.append(&[(Kind::Event, &[b'x'; 1_000])]) {
            Ok(appended) => tokens.extend(appended),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, AppendError::Full { limit: 65_536, .. }),
        "{refused}"
    );
    assert!(spool.usage().bytes <= 64 << 10);
    // Held records stay; released ones are discarded, the oldest first.
    assert_eq!(spool.discard_oldest(1).unwrap().records.total(), 0);
    spool.release(&tokens);
    let discarded = spool.discard_oldest(1).unwrap();
    assert_eq!(discarded.records.events, 3);
    fill(&mut spool, 0..1);
    assert_eq!(spool.usage().records, tokens.len() as u64 - 3 + 1);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = Spool::open(&file, small()).unwrap_err().to_string();
    assert!(refused.contains(&file.display().to_string()), "{refused}");
}
