//! The rate of batches after an outage.
//!
//! In the steady state an agent makes at most one request for each batch of new
//! records: when enough records have come, or the interval has passed. After an outage,
//! many agents have a backlog at once. Each then makes at most [`CATCH_UP`] times as
//! many requests. The batches are full then, so this is enough to drain the backlog.

use std::time::{Duration, Instant};

use super::breaker::Permit;
use crate::queue::Arrived;

/// Rate of requests after an outage, relative to the steady state. Below 2, so that
/// agents whose requests coincide stay below twice the rate too.
pub const CATCH_UP: f64 = 1.6;

/// Maximum time between two counts of the new records.
const LOOK: Duration = Duration::from_secs(1);

/// The limits that complete a batch in the steady state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) interval: Duration,
}

/// Limits the rate of batches after an outage.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<Turn>,
}

/// Time when the last batch was allowed, and the records received until then.
#[derive(Debug, Clone, Copy)]
struct Turn {
    at: Instant,
    arrived: Arrived,
    /// Share of the wait that is added to it.
    jitter: f64,
}

impl Pace {
    /// Decides whether a batch may start at `now`. `jitter` is a share, at most a quarter.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        arrived: Arrived,
        measure: &Measure,
        jitter: f64,
    ) -> Permit {
        if let Some(last) = &self.last {
            let needed = (1.0 + last.jitter) / CATCH_UP;
            let passed = last.batches(now, arrived, measure);
            if passed < needed {
                let longest = measure.interval.mul_f64(needed);
                return Permit::Wait((last.at + longest).min(now + LOOK));
            }
        }
        self.last = Some(Turn {
            at: now,
            arrived,
            jitter,
        });
        Permit::Go
    }
}

impl Turn {
    /// Number of batches since then, had the agent been in the steady state.
    #[expect(clippy::cast_precision_loss, reason = "shares of a batch")]
    fn batches(&self, now: Instant, arrived: Arrived, measure: &Measure) -> f64 {
        let records = arrived.records.saturating_sub(self.arrived.records);
        let bytes = arrived.bytes.saturating_sub(self.arrived.bytes);
        let elapsed = now.saturating_duration_since(self.at);
        (records as f64 / measure.records.max(1) as f64)
            .max(bytes as f64 / measure.bytes.max(1) as f64)
            .max(elapsed.div_duration_f64(measure.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: Measure = Measure {
        records: 80,
        bytes: 200_000,
        interval: Duration::from_secs(30),
    };

    /// Number of batches in a minute with this many new records and bytes each second.
    fn batches_in_a_minute(records: u64, bytes: u64) -> usize {
        let start = Instant::now();
        let mut pace = Pace::default();
        let steps = (0..6000).filter(|step| {
            let now = start + Duration::from_millis(step * 10);
            let arrived = Arrived {
                records: records * step / 100,
                bytes: bytes * step / 100,
            };
            pace.ask(now, arrived, &MEASURE, 0.0) == Permit::Go
        });
        steps.count()
    }

    #[test]
    fn a_backlog_is_sent_at_less_than_twice_the_steady_rate() {
        for (records, bytes, steady) in [(1, 500, 2), (80, 40_000, 60), (20, 1_000_000, 300)] {
            let batches = batches_in_a_minute(records, bytes);
            assert!(
                batches > steady && batches <= 2 * steady,
                "{batches} instead of {steady}"
            );
        }
    }

    #[test]
    fn without_new_records_a_backlog_is_sent_by_the_interval() {
        let batches = batches_in_a_minute(0, 0);
        assert!((3..=4).contains(&batches), "{batches}");
    }

    #[test]
    fn the_first_batch_starts_at_once_and_jitter_only_delays() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let none = Arrived::default();
        let mut ask = |after: f64| {
            let now = start + Duration::from_secs_f64(after);
            pace.ask(now, none, &MEASURE, 0.25)
        };
        assert_eq!(ask(0.0), Permit::Go);
        assert_eq!(ask(1.0), Permit::Wait(start + Duration::from_secs(2)));
        assert_ne!(ask(30.0 / CATCH_UP), Permit::Go);
        assert_eq!(ask(30.0 / CATCH_UP * 1.26), Permit::Go);
    }
}
