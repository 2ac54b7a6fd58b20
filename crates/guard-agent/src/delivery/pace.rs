//! How fast batches go after an outage.
//!
//! In its steady state an agent makes at most one request for each batch that
//! comes in: whenever enough records have come, or the interval has passed. After
//! an outage many agents have a backlog at once; each then makes at most
//! [`CATCH_UP`] times as many requests. As batches are full then, that drains it.

use std::time::{Duration, Instant};

use super::breaker::Permit;
use crate::queue::Arrived;

/// Requests after an outage, as a multiple of those of the steady state. Below
/// 2, so that agents that happen to go together stay below it too.
pub const CATCH_UP: f64 = 1.6;

/// The longest time after which what has come in is counted again.
const LOOK: Duration = Duration::from_secs(1);

/// What makes a batch in the steady state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) interval: Duration,
}

/// Lets batches go after an outage.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<Turn>,
}

/// When a batch was let go, and what had come in until then.
#[derive(Debug, Clone, Copy)]
struct Turn {
    at: Instant,
    arrived: Arrived,
    /// A share of the wait that is added to it.
    jitter: f64,
}

impl Pace {
    /// Whether a batch may go at `now`; `jitter` is a share, at most a quarter.
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
    /// How many batches would have been sent since in the steady state.
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

    /// How many batches go in a minute of which each second brings this much.
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
    fn a_backlog_goes_at_less_than_twice_the_rate_of_the_steady_state() {
        for (records, bytes, steady) in [(1, 500, 2), (80, 40_000, 60), (20, 1_000_000, 300)] {
            let batches = batches_in_a_minute(records, bytes);
            assert!(
                batches > steady && batches <= 2 * steady,
                "{batches} instead of {steady}"
            );
        }
    }

    #[test]
    fn without_arrivals_a_backlog_goes_by_the_interval() {
        let batches = batches_in_a_minute(0, 0);
        assert!((3..=4).contains(&batches), "{batches}");
    }

    #[test]
    fn the_first_batch_goes_at_once_and_jitter_only_delays() {
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
