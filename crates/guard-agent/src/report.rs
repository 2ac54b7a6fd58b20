//! Reports of the agent, sent to a hook or to `tracing`. They are rate limited, so that an
//! outage does not fill the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use guard_wire::Kind;

use crate::sync::lock;

/// Each topic is reported at most once in this time.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Severity of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For information.
    Info,
    /// Something needs attention. No records, or only a few, are lost yet.
    Warning,
    /// Records are lost or cannot be delivered.
    Error,
}

/// A report of the agent.
#[derive(Debug, Clone)]
pub struct Report {
    /// Severity.
    pub level: Level,
    /// Where the problem arose: `intake`, `transport_send`, `encryption`,
    /// `flush_events`, `flush_metrics`, `status`, `rules`, `spool` or `worker`.
    pub stage: &'static str,
    /// What happened, and the remedy. Contains no secrets.
    pub message: String,
    /// Number of records in the batch concerned, for `flush_events` and `flush_metrics`.
    pub batch_size: Option<usize>,
    /// Number of reports of this topic suppressed since the last one.
    pub suppressed: u64,
}

/// The stage for delivering records of a kind.
pub(crate) const fn flush_stage(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "flush_events",
        Kind::Metric => "flush_metrics",
    }
}

pub(crate) type Hook = Arc<dyn Fn(&Report) + Send + Sync>;

/// Sends reports to the hook or the log.
pub(crate) struct Reporter {
    hook: Option<Hook>,
    /// By topic: time of the last report, and number suppressed since.
    topics: Mutex<HashMap<&'static str, (Instant, u64)>>,
}

impl Reporter {
    pub(crate) fn new(hook: Option<Hook>) -> Self {
        let topics = Mutex::default();
        Self { hook, topics }
    }

    /// Reports `message`, unless the topic was reported less than [`REPORT_INTERVAL`] before
    /// `now`.
    pub(crate) fn report(
        &self,
        now: Instant,
        level: Level,
        stage: &'static str,
        topic: &'static str,
        batch_size: Option<usize>,
        message: impl FnOnce() -> String,
    ) {
        let Some(suppressed) = self.admit(now, topic) else {
            return;
        };
        let report = Report {
            level,
            stage,
            message: message(),
            batch_size,
            suppressed,
        };
        match &self.hook {
            Some(hook) => hook(&report),
            None => log(&report),
        }
    }

    fn admit(&self, now: Instant, topic: &'static str) -> Option<u64> {
        let mut topics = lock(&self.topics);
        match topics.get_mut(topic) {
            Some((last, held)) if now < *last + REPORT_INTERVAL => {
                *held += 1;
                None
            }
            Some(entry) => Some(std::mem::replace(entry, (now, 0)).1),
            None => {
                topics.insert(topic, (now, 0));
                Some(0)
            }
        }
    }
}

fn log(report: &Report) {
    let (stage, suppressed) = (report.stage, report.suppressed);
    match report.level {
        Level::Info => tracing::info!(stage, suppressed, "{}", report.message),
        Level::Warning => tracing::warn!(stage, suppressed, "{}", report.message),
        Level::Error => tracing::error!(stage, suppressed, "{}", report.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_reported_once_per_interval_with_the_number_suppressed() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let reporter = Reporter::new(Some(Arc::new(move |report: &Report| {
            lock(&sink).push((report.message.clone(), report.suppressed));
        })));
        let start = Instant::now();
        let say = |after: u64, topic, text: &'static str| {
            let now = start + Duration::from_secs(after);
            let message = || text.to_owned();
            reporter.report(now, Level::Warning, "intake", topic, None, message);
        };
        say(0, "a", "first");
        say(1, "a", "second");
        say(2, "b", "other");
        say(59, "a", "third");
        say(60, "a", "fourth");
        let heard = lock(&heard).clone();
        let expected = [("first", 0), ("other", 0), ("fourth", 2)];
        assert_eq!(heard, expected.map(|(text, held)| (text.to_owned(), held)));
    }
}
