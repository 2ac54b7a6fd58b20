//! Logs a lasting failure once, and not with every request that it affects.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A failure of one kind is logged at most once in this time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Decides which failures and successes in a series are logged.
#[derive(Debug, Default)]
pub(crate) struct TroubleLog {
    state: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    /// When each kind was last logged.
    told: HashMap<i32, Instant>,
    /// The kinds that were logged since the last success.
    current: Vec<i32>,
    /// Failures since the last success.
    failures: u64,
}

impl TroubleLog {
    /// Records a failure of `kind`. Returns whether to log it.
    pub(crate) fn failed(&self, kind: i32, now: Instant) -> bool {
        let mut state = self.state();
        state.failures += 1;
        let is_recent = |told: &Instant| now.saturating_duration_since(*told) < AGAIN_AFTER;
        if state.current.contains(&kind) || state.told.get(&kind).is_some_and(is_recent) {
            return false;
        }
        state.current.push(kind);
        state.told.insert(kind, now);
        true
    }

    /// Records a success. Returns the number of failures before it, if they were logged.
    pub(crate) fn succeeded(&self) -> Option<u64> {
        let mut state = self.state();
        let failures = std::mem::take(&mut state.failures);
        let was_told = !std::mem::take(&mut state.current).is_empty();
        was_told.then_some(failures)
    }

    fn state(&self) -> MutexGuard<'_, Trouble> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: i32 = 13;
    const BROKEN: i32 = 10;

    #[test]
    fn a_failure_is_logged_once_and_its_end_once() {
        let (log, start) = (TroubleLog::default(), Instant::now());
        assert_eq!(log.succeeded(), None);
        let told = (0..10_000).map(|second| log.failed(FULL, start + Duration::from_secs(second)));
        assert_eq!(told.filter(|told| *told).count(), 1);
        assert_eq!(log.succeeded(), Some(10_000));
        assert_eq!(log.succeeded(), None);
    }

    #[test]
    fn a_failure_of_another_kind_is_logged_too() {
        let (log, now) = (TroubleLog::default(), Instant::now());
        let told = [FULL, BROKEN, FULL, BROKEN].map(|kind| log.failed(kind, now));
        assert_eq!(told, [true, true, false, false]);
    }

    #[test]
    fn a_recurring_failure_is_logged_once_a_minute() {
        let (log, start) = (TroubleLog::default(), Instant::now());
        let (mut told, mut ended) = (0, 0);
        for millisecond in (0..180_000).step_by(10) {
            told += u32::from(log.failed(FULL, start + Duration::from_millis(millisecond)));
            ended += u32::from(log.succeeded().is_some());
        }
        assert_eq!((told, ended), (3, 3));
    }

    #[test]
    fn a_failure_that_returns_within_the_minute_is_logged_if_it_continues() {
        let (log, start) = (TroubleLog::default(), Instant::now());
        log.failed(FULL, start);
        log.succeeded();
        assert!(!log.failed(FULL, start + Duration::from_secs(59)));
        assert!(log.failed(FULL, start + Duration::from_secs(60)));
        assert_eq!(log.succeeded(), Some(2));
    }
}
