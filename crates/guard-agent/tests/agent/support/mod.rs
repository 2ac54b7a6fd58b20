//! Support for tests of the whole agent: a manually advanced clock, and a real HTTP backend
//! with scripted answers.

pub(crate) mod backend;
pub(crate) mod clock;
pub(crate) mod shelf;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use guard_agent::stats::LedgerReport;
use guard_agent::{Agent, AgentBuilder, SecurityEvent};

/// Maximum time that a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Request timeout for tests that advance the clock far during a request.
const TEN_YEARS: Duration = Duration::from_secs(3653 * 86_400);

/// An agent for `url` that sends only on request, and that stops at once, whatever its clock
/// says.
pub(crate) fn builder(url: &str) -> AgentBuilder {
    Agent::builder("the-api-key-of-the-test")
        .endpoint(url)
        .install_id("test-install")
        .buffer_size(100_000)
        .shutdown_timeout(Duration::ZERO)
        .timeout(TEN_YEARS)
}

/// The reason and idempotency key of the event with this number.
fn key(number: usize) -> String {
    format!("#{number}")
}

/// Queues `count` events. Their reasons and idempotency keys are the numbers from `first`.
pub(crate) fn send(agent: &Agent, first: usize, count: usize) {
    for number in first..first + count {
        let event = SecurityEvent::new("ip_banned")
            .idempotency_key(key(number))
            .reason(key(number));
        agent.send_event(&event).expect("room");
    }
}

/// The ledger. Each call checks its balance.
pub(crate) fn ledger(agent: &Agent) -> LedgerReport {
    let report = agent.stats().ledger.report();
    assert!(report.is_balanced(), "{report:?}");
    report
}

/// Polls until a condition is true.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// The outcome of records under a fault, compared by idempotency key.
pub(crate) struct Outcome {
    accepted: usize,
    /// Delivered, or found again on a faulty disk.
    delivered: usize,
    duplicated: usize,
    /// Lost outside the window.
    lost: usize,
}

impl Outcome {
    /// Compares the keys that arrived with the events that [`send`] queued with these numbers.
    /// The window may lose none of those in `sure`.
    pub(crate) fn compare(sent: Range<usize>, sure: Range<usize>, arrived: &[String]) -> Self {
        let sent: BTreeSet<String> = sent.map(key).collect();
        let once: BTreeSet<String> = arrived.iter().cloned().collect();
        let strange: Vec<&String> = once.difference(&sent).collect();
        assert!(strange.is_empty(), "never sent: {strange:?}");
        Self {
            accepted: sent.len(),
            delivered: once.len(),
            duplicated: arrived.len() - once.len(),
            lost: sure.map(key).filter(|key| !once.contains(key)).count(),
        }
    }

    /// Prints a row for `make faults`. Fails if a record was lost or duplicated.
    pub(crate) fn tell(&self, fault: &str, window: &str) {
        let (accepted, delivered) = (self.accepted, self.delivered);
        let (duplicated, lost) = (self.duplicated, self.lost);
        println!("FAULT\t{fault}\t{accepted}\t{delivered}\t{duplicated}\t{lost}\t{window}");
        assert!(accepted > 0, "{fault}: nothing was tried");
        assert_eq!((duplicated, lost), (0, 0), "{fault}");
    }
}
