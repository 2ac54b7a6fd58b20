//! Memory use of the agent during a long outage of its backend.

use std::process::Command;
use std::time::Duration;

use futures_util::future::BoxFuture;
use guard_agent::SecurityEvent;
use guard_agent::defaults::{DEFAULT_MAX_BATCH_BYTES, DEFAULT_MAX_BUFFER_BYTES};
use guard_agent::transport::{Request, Response, Transport, TransportError};

use crate::support::builder;
use crate::support::clock::ManualClock;
use crate::support::ledger;

const PER_SECOND: usize = 5000;

/// Set in the measured processes: the path of their spool, or an empty string.
const CHILD: &str = "GUARD_AGENT_TEST_BOUNDS_CHILD";

/// More than memory holds, less than the test sends.
const SPOOL_BYTES: u64 = 128 << 20;

/// Memory of the spool: three segments of 2 MiB that are or were appended to, one that is
/// read, and one that is rewritten.
const SPOOL_MEMORY: usize = 5 * (2 << 20);

/// Freed memory that glibc keeps: twice the largest freed block, here a segment (mallopt(3),
/// `M_TRIM_THRESHOLD` with a dynamic `mmap` threshold).
const KEPT_BACK: usize = 2 * (2 << 20);

struct Away;

impl Transport for Away {
    fn send(&self, _: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async { Err(TransportError::Connect("nobody listens".to_owned())) })
    }
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("readable");
    let pages: usize = statm
        .split(' ')
        .nth(1)
        .expect("a field")
        .parse()
        .expect("a number");
    pages * 4096
}

/// Runs in the measured process: sends `count` events, more than there is room for.
fn away(spool: &str, count: usize) {
    let clock = ManualClock::new();
    let mut builder = builder("http://127.0.0.1:1")
        .max_payload_size(100_000)
        .transport(Away)
        .clock(clock.clone());
    // Records in flight count among the records. The body being sent and its compressed
    // form come on top.
    let mut bound = DEFAULT_MAX_BUFFER_BYTES + 2 * DEFAULT_MAX_BATCH_BYTES + KEPT_BACK;
    if !spool.is_empty() {
        builder = builder.spool_dir(spool).spool_max_bytes(SPOOL_BYTES);
        bound += SPOOL_MEMORY;
    }
    let agent = builder.build().expect("valid");
    agent
        .send_event(&SecurityEvent::new("first"))
        .expect("room");
    let text = "x".repeat(100_000);
    let base = resident();
    let (mut most, mut handed_in) = (0, 0);
    // A long outage: one second of every ten minutes brings its 5,000 events.
    for number in 0..count {
        let size = 1000 + number * 7919 % 99_000;
        let event = SecurityEvent::new("x").reason(text[..size].to_owned());
        agent.send_event(&event).expect("room is made");
        handed_in += size;
        clock.advance(Duration::from_micros(200));
        if number % 100 == 0 {
            most = most.max(resident());
        }
        if number % PER_SECOND == PER_SECOND - 1 {
            clock.advance(Duration::from_secs(599));
        }
    }
    let report = ledger(&agent);
    let taken = most - base;
    println!("{handed_in} handed in, {taken} taken of {bound}, {base} before: {report:?}");
    let lost: u64 = report.dropped.values().sum();
    assert_eq!(report.accepted, report.queued + report.spooled + lost);
    // With a spool, memory is only full where the disk does not keep up with this loop.
    let known =
        |reason: &str| reason == "queue_full" || reason == "spool_full" && !spool.is_empty();
    assert!(
        report.dropped.keys().all(|reason| known(reason)),
        "{report:?}"
    );
    assert!(taken > bound / 2, "{taken} of {bound}: nothing was kept");
    assert!(taken <= bound + bound / 10, "{taken} of {bound}");
}

/// Runs the test in a separate process, because only there the memory is that of the agent
/// alone.
fn measured(test: &str, spool: &str, count: usize) {
    if let Ok(spool) = std::env::var(CHILD) {
        return away(&spool, count);
    }
    let program = std::env::current_exe().expect("a path");
    let output = Command::new(program)
        .args([&format!("bounds::{test}"), "--exact", "--nocapture"])
        .env(CHILD, spool)
        .output()
        .expect("started");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && told.contains("1 passed");
    assert!(passed, "{told}\n{errors}");
}

#[test]
fn memory_stays_within_its_bound_while_the_backend_is_away() {
    let test = "memory_stays_within_its_bound_while_the_backend_is_away";
    measured(test, "", 6 * PER_SECOND);
}

#[test]
fn memory_stays_within_its_bound_with_a_spool_that_is_full() {
    let test = "memory_stays_within_its_bound_with_a_spool_that_is_full";
    let folder = tempfile::tempdir().expect("a folder");
    let spool = folder.path().to_str().expect("text");
    measured(test, spool, 2 * PER_SECOND);
}
