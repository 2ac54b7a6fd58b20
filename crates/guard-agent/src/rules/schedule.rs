//! When to ask for the rules again. Pure: the caller passes time and randomness.

use std::time::Duration;

use super::RULES_HOLD;
use crate::delivery::backoff;

/// Pause after an answer with a change from a backend that holds requests. It limits the
/// cost of a backend that reports a change every time.
const NEWS_GAP: Duration = Duration::from_millis(100);
/// A held request that ends sooner than this was cut off, for example because the backend
/// stopped.
const CUT_OFF: Duration = Duration::from_secs(1);
/// A request that a proxy cut off was held at least this long. One that ends sooner failed.
const SHORTEST_CUT: Duration = Duration::from_secs(2);
/// After a cut, the next request is held for this share of the time until the cut.
const SHORTER: f64 = 0.75;
/// After this many consecutive requests that were held to their end, a shortened hold is
/// doubled, because the cause of the cuts may be gone.
const LONGER_AFTER: u32 = 100;
/// Minimum polling interval for a backend that does not hold requests, however short the
/// rules' time to live.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);
/// Jitter of the polls of different agents, as a share of the interval.
const POLL_JITTER: f64 = 0.2;

/// How the backend answers, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Manner {
    /// Not known yet.
    #[default]
    Unknown,
    /// The backend holds requests until the rules change.
    Holds,
    /// The backend answers at once.
    Answers,
}

/// One answer, or a failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) outcome: Outcome,
    /// Time from the request to the answer.
    pub(crate) took: Duration,
    /// True if the request carried the tag of the known rules.
    pub(crate) was_conditional: bool,
    /// True if the next request can carry a tag.
    pub(crate) has_tag: bool,
    /// True if the backend said that it honours the wait.
    pub(crate) is_applied: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Changed,
    Same,
    /// Failed. Holds how long the backend asked the agent to wait, if it did.
    Failed(Option<Duration>),
}

/// Parameters from the configuration and the rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// `dynamic_rule_interval`.
    pub(crate) interval: Duration,
    /// The time to live of the rules in force.
    pub(crate) ttl: Option<Duration>,
    /// `backoff_factor`.
    pub(crate) factor: f64,
}

#[derive(Debug)]
pub(crate) struct Pace {
    manner: Manner,
    /// Maximum time that the next request is held.
    hold: Duration,
    /// Number of consecutive requests that were held to their end.
    whole: u32,
    /// Number of consecutive answers that failed or were cut off.
    failures: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            manner: Manner::Unknown,
            hold: RULES_HOLD,
            whole: 0,
            failures: 0,
        }
    }
}

impl Pace {
    /// How long to ask the backend to hold the next request: [`RULES_HOLD`], or less if
    /// something on the way cuts off requests that take so long.
    pub(crate) fn hold(&self) -> Duration {
        self.hold
    }

    /// Learns from a held request that was cut off after `took`. Returns true if the next hold
    /// is shorter, so that the request may be repeated at once; false if the hold was not the
    /// cause.
    pub(crate) fn learn_from_cut(&mut self, took: Duration) -> bool {
        // A hold can only be requested in whole seconds.
        let shorter = Duration::from_secs(took.mul_f64(SHORTER).as_secs());
        let is_lesson = took >= SHORTEST_CUT && shorter < self.hold;
        if is_lesson {
            self.hold = shorter;
            self.whole = 0;
        }
        is_lesson
    }

    fn lengthen(&mut self) {
        self.whole += 1;
        if self.whole >= LONGER_AFTER {
            self.hold = (self.hold * 2).min(RULES_HOLD);
            self.whole = 0;
        }
    }

    /// True if the backend holds requests, so that a request in progress reports any change.
    pub(crate) fn is_held(&self) -> bool {
        self.manner == Manner::Holds
    }

    /// Returns how long to wait until the next request. `random` is from 0 to 1.
    pub(crate) fn next(&mut self, seen: &Seen, terms: Terms, random: f64) -> Duration {
        if let Outcome::Failed(wait) = seen.outcome {
            self.failures = self.failures.saturating_add(1);
            let delay = backoff::delay(self.failures, terms.factor, random);
            return delay.max(wait.unwrap_or_default());
        }
        self.manner = self.manner_after(seen);
        // A request without a tag is never held. So "no rules" counts as a change then, as
        // rules do.
        let is_news = seen.outcome == Outcome::Changed || !seen.was_conditional;
        match self.manner {
            Manner::Holds if !is_news && seen.took < CUT_OFF.min(self.hold / 2) => {
                self.failures = self.failures.saturating_add(1);
                return backoff::delay(self.failures, terms.factor, random);
            }
            Manner::Holds if !is_news && seen.took >= self.hold => {
                self.failures = 0;
                self.lengthen();
            }
            _ => self.failures = 0,
        }
        match self.manner {
            Manner::Answers => poll(terms, random),
            Manner::Holds | Manner::Unknown if is_news => NEWS_GAP,
            Manner::Holds | Manner::Unknown => Duration::ZERO,
        }
    }

    fn manner_after(&self, seen: &Seen) -> Manner {
        if !seen.has_tag {
            // Without a tag for the known rules, the backend cannot hold requests.
            return Manner::Answers;
        }
        let was_held = seen.outcome == Outcome::Same && seen.took >= self.hold / 2;
        if seen.is_applied || (seen.was_conditional && was_held) {
            return Manner::Holds;
        }
        match (self.manner, seen.outcome) {
            // A first request without a tag says nothing. The next one will.
            (Manner::Unknown, _) if !seen.was_conditional => Manner::Unknown,
            // A change does not show what the backend does without one.
            (Manner::Holds, Outcome::Changed) => Manner::Holds,
            _ => Manner::Answers,
        }
    }
}

fn poll(terms: Terms, random: f64) -> Duration {
    let ttl = terms.ttl.unwrap_or(terms.interval).max(SHORTEST_INTERVAL);
    let interval = terms.interval.min(ttl);
    interval.mul_f64(1.0 - POLL_JITTER * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        interval: Duration::from_secs(300),
        ttl: None,
        factor: 1.0,
    };

    /// An answer to a conditional request from a backend that tags its rules.
    fn seen(outcome: Outcome, seconds: u64, is_applied: bool) -> Seen {
        Seen {
            outcome,
            took: Duration::from_secs(seconds),
            was_conditional: true,
            has_tag: true,
            is_applied,
        }
    }

    fn first(is_applied: bool) -> Seen {
        Seen {
            was_conditional: false,
            ..seen(Outcome::Changed, 0, is_applied)
        }
    }

    fn next(pace: &mut Pace, seen: Seen) -> f64 {
        pace.next(&seen, TERMS, 0.0).as_secs_f64()
    }

    #[test]
    fn a_backend_that_applies_the_wait_is_asked_again_at_once() {
        let mut pace = Pace::default();
        assert_eq!(next(&mut pace, first(true)), 0.1);
        assert_eq!(next(&mut pace, seen(Outcome::Same, 30, true)), 0.0);
        assert_eq!(next(&mut pace, seen(Outcome::Changed, 3, true)), 0.1);
        assert!(pace.is_held());
    }

    #[test]
    fn a_first_answer_without_rules_is_not_taken_for_a_cut() {
        for is_applied in [true, false] {
            let mut pace = Pace::default();
            let none = Seen {
                outcome: Outcome::Same,
                ..first(is_applied)
            };
            assert_eq!(next(&mut pace, none), 0.1);
        }
        // If this repeats although it is known, the agent asks less and less often.
        let mut pace = Pace::default();
        next(&mut pace, first(true));
        let pauses = [(); 3].map(|()| next(&mut pace, seen(Outcome::Same, 0, true)));
        assert_eq!(pauses, [1.0, 2.0, 4.0]);
    }

    #[test]
    fn a_backend_that_holds_without_saying_so_is_recognized() {
        let mut pace = Pace::default();
        assert_eq!(next(&mut pace, first(false)), 0.1);
        assert_eq!(next(&mut pace, seen(Outcome::Same, 30, false)), 0.0);
        assert_eq!(next(&mut pace, seen(Outcome::Changed, 3, false)), 0.1);
        assert!(pace.is_held());
    }

    #[test]
    fn a_backend_that_does_not_hold_is_polled_at_the_interval() {
        let mut pace = Pace::default();
        assert_eq!(next(&mut pace, first(false)), 0.1);
        assert_eq!(next(&mut pace, seen(Outcome::Same, 0, false)), 300.0);
        assert_eq!(next(&mut pace, seen(Outcome::Changed, 0, false)), 300.0);
        assert!(!pace.is_held());
        // It switches as soon as the backend holds requests.
        assert_eq!(next(&mut pace, seen(Outcome::Same, 30, true)), 0.0);
    }

    #[test]
    fn requests_without_a_tag_are_polls() {
        let mut pace = Pace::default();
        let untagged = Seen {
            has_tag: false,
            ..first(true)
        };
        assert_eq!(next(&mut pace, untagged), 300.0);
    }

    #[test]
    fn a_poll_comes_within_the_time_to_live_but_not_more_than_once_a_minute() {
        let after = |ttl: u64, random: f64| {
            let ttl = Some(Duration::from_secs(ttl));
            let seen = seen(Outcome::Same, 0, false);
            Pace::default().next(&seen, Terms { ttl, ..TERMS }, random)
        };
        assert_eq!(after(120, 0.0), Duration::from_secs(120));
        assert_eq!(after(1, 0.0), Duration::from_secs(60));
        assert_eq!(after(9000, 0.0), Duration::from_secs(300));
        assert_eq!(after(9000, 1.0), Duration::from_secs(240));
    }

    #[test]
    fn a_proxy_that_cuts_held_requests_off_shortens_the_hold() {
        for (cut, hold) in [(29, 21), (10, 7), (4, 3), (2, 1)] {
            let mut pace = Pace::default();
            next(&mut pace, first(true));
            assert_eq!(pace.hold(), RULES_HOLD);
            assert!(pace.learn_from_cut(Duration::from_secs(cut)));
            assert_eq!(pace.hold(), Duration::from_secs(hold), "{cut}");
            assert_eq!(next(&mut pace, seen(Outcome::Same, hold, true)), 0.0);
            assert!(pace.is_held());
        }
    }

    #[test]
    fn a_request_that_fails_early_or_after_its_hold_does_not_change_the_hold() {
        let mut pace = Pace::default();
        next(&mut pace, first(true));
        assert!(!pace.learn_from_cut(Duration::from_millis(1999)));
        assert!(!pace.learn_from_cut(Duration::from_secs(60)));
        // Holds never get longer here, so immediate repeats come to an end.
        assert!(pace.learn_from_cut(Duration::from_secs(4)));
        assert!(!pace.learn_from_cut(Duration::from_secs(4)));
        assert!(pace.learn_from_cut(Duration::from_secs(2)));
        assert!(!pace.learn_from_cut(Duration::from_secs(2)));
    }

    #[test]
    fn a_shortened_hold_grows_again_without_further_cuts() {
        let mut pace = Pace::default();
        next(&mut pace, first(true));
        assert!(pace.learn_from_cut(Duration::from_secs(4)));
        let mut holds = Vec::new();
        for _ in 0..500 {
            let hold = pace.hold().as_secs();
            holds.push(hold);
            next(&mut pace, seen(Outcome::Same, hold, true));
        }
        let at = |index: usize| holds[index];
        assert_eq!(
            [at(0), at(99), at(100), at(200), at(300), at(400)],
            [3, 3, 6, 12, 24, 30]
        );
        assert_eq!(pace.hold(), RULES_HOLD);
    }

    #[test]
    fn failures_and_requests_cut_off_back_off_until_one_is_held_again() {
        let mut pace = Pace::default();
        next(&mut pace, first(true));
        let cut_off = seen(Outcome::Same, 0, true);
        let failed = |wait| seen(Outcome::Failed(wait), 0, false);
        assert_eq!(next(&mut pace, cut_off), 1.0);
        assert_eq!(next(&mut pace, failed(None)), 2.0);
        assert_eq!(next(&mut pace, failed(Some(Duration::from_secs(7)))), 7.0);
        assert_eq!(next(&mut pace, cut_off), 8.0);
        assert_eq!(next(&mut pace, seen(Outcome::Same, 30, true)), 0.0);
        assert_eq!(next(&mut pace, cut_off), 1.0);
    }
}
