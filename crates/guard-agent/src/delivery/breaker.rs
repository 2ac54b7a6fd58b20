//! The circuit breaker: after consecutive failures it stops requests for a while, then
//! allows one probe.

use std::time::{Duration, Instant};

/// Consecutive failures that open the breaker.
pub const FAILURE_THRESHOLD: u32 = 5;
/// How long the breaker stays open.
pub const RECOVERY: Duration = Duration::from_secs(60);

/// State of the breaker: the attempts that it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All attempts.
    Closed,
    /// No attempts.
    Open,
    /// One probe. Its outcome decides the next state.
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

/// Answer to a request for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// The attempt may start now.
    Go,
    /// Ask again at this time.
    Wait(Instant),
}

/// A circuit breaker. Pure: the caller passes the time and the outcomes.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    /// Time when it opened. While `probing`, a probe is in progress.
    opened: Option<Instant>,
    probing: bool,
}

impl Breaker {
    /// Asks for an attempt at `now`. In the half-open state the first caller probes, and
    /// the others wait for another recovery time.
    pub(crate) fn ask(&mut self, now: Instant) -> Permit {
        let Some(opened) = self.opened else {
            return Permit::Go;
        };
        let recovered = opened + RECOVERY;
        if now < recovered {
            return Permit::Wait(recovered);
        }
        // A probe without an outcome must not keep the breaker open forever.
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

    /// The current state.
    pub(crate) fn state(&self) -> BreakerState {
        match self.opened {
            None => BreakerState::Closed,
            Some(_) if self.probing => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }

    /// Number of consecutive failures.
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
    fn five_consecutive_failures_open_the_breaker_for_the_recovery_time() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.ask(now), Permit::Wait(now + RECOVERY));
    }

    #[test]
    fn a_success_in_between_resets_the_count() {
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
    fn one_probe_is_allowed_and_its_success_closes_the_breaker() {
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
