//! Everything that delays attempts: the breaker, the backend's `Retry-After`, and the
//! pace after an outage.

use std::time::Instant;

use super::breaker::{Breaker, Permit};
use super::pace::Pace;

/// Decides about every attempt.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    pub(crate) breaker: Breaker,
    /// Applies to new batches, not to repeated attempts.
    pub(crate) pace: Pace,
    /// No attempts before this time, because the backend asked for it.
    held: Option<Instant>,
}

impl Throttle {
    /// Decides whether an attempt may start at `now`.
    pub(crate) fn ask(&mut self, now: Instant) -> Permit {
        match self.held {
            Some(until) if now < until => Permit::Wait(until),
            _ => self.breaker.ask(now),
        }
    }

    /// Blocks attempts until then. An earlier time does not shorten a later one.
    pub(crate) fn hold(&mut self, until: Instant) {
        self.held = self.held.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_requested_wait_wins() {
        let now = Instant::now();
        let (near, far) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        let mut throttle = Throttle::default();
        throttle.hold(far);
        throttle.hold(near);
        assert_eq!(throttle.ask(now), Permit::Wait(far));
        assert_eq!(throttle.ask(far), Permit::Go);
    }
}
