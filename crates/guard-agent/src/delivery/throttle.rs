//! What holds attempts back: the breaker, the backend's `Retry-After`, and after
//! an outage the pace.

use std::time::Instant;

use super::breaker::{Breaker, Permit};
use super::pace::Pace;

/// Asked before every attempt.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    pub(crate) breaker: Breaker,
    /// Of new batches, not of repeated attempts.
    pub(crate) pace: Pace,
    /// What the backend asked for.
    held: Option<Instant>,
}

impl Throttle {
    /// Whether an attempt may be made at `now`.
    pub(crate) fn ask(&mut self, now: Instant) -> Permit {
        match self.held {
            Some(until) if now < until => Permit::Wait(until),
            _ => self.breaker.ask(now),
        }
    }

    /// Holds attempts back until then; an earlier wish does not shorten a later one.
    pub(crate) fn hold(&mut self, until: Instant) {
        self.held = self.held.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_wish_holds() {
        let now = Instant::now();
        let (near, far) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        let mut throttle = Throttle::default();
        throttle.hold(far);
        throttle.hold(near);
        assert_eq!(throttle.ask(now), Permit::Wait(far));
        assert_eq!(throttle.ask(far), Permit::Go);
    }
}
