//! Parts for tests of the whole agent: a clock that is moved by hand, and a
//! real HTTP backend that answers by script.

pub(crate) mod backend;
pub(crate) mod clock;
pub(crate) mod shelf;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use guard_agent::stats::LedgerReport;
use guard_agent::{Agent, AgentBuilder, SecurityEvent};

/// The longest a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The longest a request may take, by clocks that tests move far while it is under way.
const TEN_YEARS: Duration = Duration::from_secs(3653 * 86_400);

/// An agent for `url` that sends when told to, and that ends at once, whatever
/// its clock says.
pub(crate) fn builder(url: &str) -> AgentBuilder {
    Agent::builder("the-api-key-of-the-test")
        .endpoint(url)
        .install_id("test-install")
        .buffer_size(100_000)
        .shutdown_timeout(Duration::ZERO)
        .timeout(TEN_YEARS)
}

/// What stands in the event of a number, as its reason and its idempotency key.
fn key(number: usize) -> String {
    format!("#{number}")
}

/// Queues `count` events with the numbers from `first` as reasons and as
/// idempotency keys.
pub(crate) fn send(agent: &Agent, first: usize, count: usize) {
    for number in first..first + count {
        let event = SecurityEvent::new("ip_banned")
            .idempotency_key(key(number))
            .reason(key(number));
        agent.send_event(&event).expect("room");
    }
}

/// The ledger, whose balance is checked whenever a test looks at it.
pub(crate) fn ledger(agent: &Agent) -> LedgerReport {
    let report = agent.stats().ledger.report();
    assert!(report.is_balanced(), "{report:?}");
    report
}

/// Waits for a condition, looking often.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// What became of records under a fault, compared by idempotency key.
pub(crate) struct Outcome {
    accepted: usize,
    /// Or found again, where a disk was at fault.
    delivered: usize,
    duplicated: usize,
    /// Outside the window.
    lost: usize,
}

impl Outcome {
    /// The keys that arrived, beside those of the events that [`send`] queued with
    /// these numbers. `sure` are those that no window may have taken.
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

    /// Prints a row for `make faults`; fails where something was lost or came twice.
    pub(crate) fn tell(&self, fault: &str, window: &str) {
        let (accepted, delivered) = (self.accepted, self.delivered);
        let (duplicated, lost) = (self.duplicated, self.lost);
        println!("FAULT\t{fault}\t{accepted}\t{delivered}\t{duplicated}\t{lost}\t{window}");
        assert!(accepted > 0, "{fault}: nothing was tried");
        assert_eq!((duplicated, lost), (0, 0), "{fault}");
    }
}
