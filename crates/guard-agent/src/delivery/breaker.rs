//! The circuit breaker: after failures in a row, leave the backend alone for a
//! while, then try once.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
pub const FAILURE_THRESHOLD: u32 = 5;
/// How long it stays open.
pub const RECOVERY: Duration = Duration::from_secs(60);

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// One probe, whose outcome decides.
    HalfOpen,
}

impl BreakerState {
    /// The name in stats.
    pub const fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "CLOSED",
            BreakerState::Open => "OPEN",
            BreakerState::HalfOpen => "HALF_OPEN",
        }
    }
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Now.
    Go,
    /// Ask again at this time.
    Wait(Instant),
}

/// A circuit breaker. Pure: told the time and the outcomes.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    /// Since when it is open; a probe is under way once `probing`.
    opened: Option<Instant>,
    probing: bool,
}

impl Breaker {
    /// Asks for an attempt at `now`. Once the breaker is half open the first
    /// caller probes and the others wait for another recovery time.
    pub(crate) fn ask(&mut self, now: Instant) -> Permit {
        let Some(opened) = self.opened else {
            return Permit::Go;
        };
        let recovered = opened + RECOVERY;
        if now < recovered {
            return Permit::Wait(recovered);
        }
        // A probe that is never heard of again must not close the way for good.
        self.opened = Some(now);
        self.probing = true;
        Permit::Go
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// An attempt failed at `now`.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.probing || self.failures >= FAILURE_THRESHOLD {
            self.opened = Some(now);
            self.probing = false;
        }
    }

    /// What it lets through now.
    pub(crate) fn state(&self) -> BreakerState {
        match self.opened {
            None => BreakerState::Closed,
            Some(_) if self.probing => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURE_THRESHOLD {
            assert_eq!(breaker.ask(now), Permit::Go);
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_the_recovery_time() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.ask(now), Permit::Wait(now + RECOVERY));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURE_THRESHOLD - 1 {
            breaker.failed(now);
        }
        breaker.succeeded();
        breaker.failed(now);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn one_probe_goes_and_its_success_closes() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + RECOVERY;
        assert_eq!(breaker.ask(later), Permit::Go);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.ask(later), Permit::Wait(later + RECOVERY));
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.ask(later), Permit::Go);
    }

    #[test]
    fn breaker_reopens_when_probe_fails() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + RECOVERY;
        assert_eq!(breaker.ask(later), Permit::Go);
        breaker.failed(later);
        assert_eq!(breaker.ask(later), Permit::Wait(later + RECOVERY));
    }
}
