//! Parts for tests of the whole agent: a clock that is moved by hand, and a
//! real HTTP backend that answers by script.

pub(crate) mod backend;
pub(crate) mod clock;

use std::time::{Duration, Instant};

use guard_agent::{Agent, AgentBuilder, LedgerReport, SecurityEvent};

/// The longest a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An agent for `url` that sends when told to, and that ends at once, whatever
/// its clock says.
pub(crate) fn builder(url: &str) -> AgentBuilder {
    Agent::builder("the-api-key-of-the-test")
        .endpoint(url)
        .install_id("test-install")
        .buffer_size(100_000)
        .shutdown_timeout(Duration::ZERO)
}

/// Queues `count` events with the numbers from `first` in their reason.
pub(crate) fn send(agent: &Agent, first: usize, count: usize) {
    for number in first..first + count {
        let event = SecurityEvent::new("ip_banned").reason(format!("#{number}"));
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
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::yield_now();
    }
}
