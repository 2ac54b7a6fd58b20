//! Lets a spool read arbitrary bytes, as if a dead process had left them. Shared by the fuzz
//! target and a test.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guard_spool::sim::{SimClock, SimFs};
use guard_spool::{FileSystem, Kind, Options, Spool, Token};

const ROOT: &str = "/spool";
const DEAD: &str = "/spool/1800000000000-1-00000000";

fn open(fs: &SimFs) -> Spool {
    let options = Options {
        max_bytes: 1 << 20,
        segment_bytes: 4 << 10,
        max_record: 1 << 10,
        quarantine_bytes: 64 << 10,
        sync_interval: Duration::ZERO,
    };
    let (fs, clock) = (Arc::new(fs.clone()), Arc::new(SimClock::default()));
    let mut spool = Spool::open_with(Path::new(ROOT), options, fs, clock).expect("a sound disk");
    spool.tick().expect("a sound disk");
    spool
}

/// Loads everything, and then uses every operation on records.
fn live_with(spool: &mut Spool) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut tokens: Vec<Token> = Vec::new();
    loop {
        let loaded = spool.load(1 << 10).expect("a sound disk");
        if loaded.is_empty() {
            break;
        }
        for record in loaded {
            tokens.push(record.token);
            bodies.push(record.bytes);
        }
    }
    let usage = spool.usage();
    assert_eq!(usage.held.total(), tokens.len() as u64);
    assert_eq!(usage.records, tokens.len() as u64);
    let (first, rest) = tokens.split_at(tokens.len() / 2);
    spool.acknowledge(first).expect("a sound disk");
    spool.release(rest);
    spool.discard_oldest(1).expect("a sound disk");
    spool
        .append(&[(Kind::Event, b"more")])
        .expect("a sound disk");
    spool.sync().expect("a sound disk");
    bodies
}

/// Uses the bytes as a segment and its sidecar.
pub(crate) fn bytes_as_files(log: &[u8], ack: &[u8]) {
    let fs = SimFs::new(0);
    fs.create_dir_all(Path::new(DEAD)).expect("a sound disk");
    for (name, bytes) in [
        ("lock", [].as_slice()),
        ("0000000001-00000000.log", log),
        ("0000000001-00000000.ack", ack),
    ] {
        let file = fs.create_new(&Path::new(DEAD).join(name));
        file.expect("a sound disk")
            .append(bytes)
            .expect("a sound disk");
    }
    live_with(&mut open(&fs));
    live_with(&mut open(&fs));
}

/// Uses the bytes as changes to a valid segment and its sidecar: three bytes each, a position and
/// the value to combine with the byte there.
pub(crate) fn bytes_as_changes(changes: &[u8]) {
    let fs = SimFs::new(0);
    let mut spool = open(&fs);
    let sound: Vec<Vec<u8>> = (0..20).map(|n| vec![n; usize::from(n) * 5]).collect();
    let records: Vec<_> = sound
        .iter()
        .map(|body| (Kind::Metric, body.as_slice()))
        .collect();
    let tokens = spool.append(&records).expect("a sound disk");
    spool.acknowledge(&tokens[15..]).expect("a sound disk");
    drop(spool);
    let mut files = fs.files(Path::new(ROOT));
    files.retain(|path| path.extension().is_some());
    for change in changes.chunks_exact(3) {
        let at = usize::from(change[0]) << 8 | usize::from(change[1]);
        let path = &files[at % files.len()];
        fs.damage(path, |bytes| {
            let len = bytes.len();
            bytes[at / 2 % len] ^= change[2];
        })
        .expect("a file");
    }
    let mut found = live_with(&mut open(&fs));
    assert!(
        found.iter().all(|body| sound.contains(body)),
        "a wrong record"
    );
    let given = found.len();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), given, "a record came twice");
}
