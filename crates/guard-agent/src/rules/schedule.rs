//! When to ask for the rules again. Pure: time and randomness come from the caller.

use std::time::Duration;

use super::RULES_HOLD;
use crate::delivery::backoff;

/// After an answer that a backend which holds requests gives at once, as it brings something
/// new: bounds what one that always has something new can cost.
const NEWS_GAP: Duration = Duration::from_millis(100);
/// A held request that ends sooner than this was cut off, by a backend that
/// stops, for example.
const CUT_OFF: Duration = Duration::from_secs(1);
/// The least that a held request took which a proxy then cut off. What ends sooner failed.
const SHORTEST_CUT: Duration = Duration::from_secs(2);
/// The part of the time until a request was cut off that the next is held for.
const SHORTER: f64 = 0.75;
/// After this many requests in a row that were held to their end, a hold that was shortened is
/// doubled: what cut requests off may be gone.
const LONGER_AFTER: u32 = 100;
/// However short the rules' time to live, a backend that does not hold requests
/// is asked no more often.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);
/// The part of the interval by which polls of different agents may lie apart.
const POLL_JITTER: f64 = 0.2;

/// What is known of how the backend answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Manner {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It holds requests until the rules change.
    Holds,
    /// It answers at once.
    Answers,
}

/// One answer, or the lack of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) outcome: Outcome,
    /// From the request to the answer.
    pub(crate) took: Duration,
    /// Whether the request named the rules that are known.
    pub(crate) was_conditional: bool,
    /// Whether the next request can.
    pub(crate) has_tag: bool,
    /// Whether the backend said that it honours the wait.
    pub(crate) is_applied: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Changed,
    Same,
    /// With how long the backend wants to be left alone, if it says so.
    Failed(Option<Duration>),
}

/// What the configuration says.
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
    /// How long the next request is held at most.
    hold: Duration,
    /// Requests in a row that were held to their end.
    whole: u32,
    /// Answers in a row that failed or were cut off.
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
    /// How long the backend is asked to hold the next request: [`RULES_HOLD`], or less where
    /// something on the way cuts off requests that take so long.
    pub(crate) fn hold(&self) -> Duration {
        self.hold
    }

    /// A held request was cut off after this time. True if the next one is held for less, so
    /// that it may go at once; false if that cannot be what is wrong.
    pub(crate) fn learns_from_cut(&mut self, took: Duration) -> bool {
        // Whole seconds are what can be asked for.
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

    /// Whether a request that is under way tells of any change at once.
    pub(crate) fn is_held(&self) -> bool {
        self.manner == Manner::Holds
    }

    /// How long to wait until the next request. `random` is from 0 to 1.
    pub(crate) fn next(&mut self, seen: &Seen, terms: Terms, random: f64) -> Duration {
        if let Outcome::Failed(wait) = seen.outcome {
            self.failures = self.failures.saturating_add(1);
            let delay = backoff::delay(self.failures, terms.factor, random);
            return delay.max(wait.unwrap_or_default());
        }
        self.manner = self.judge(seen);
        // A request that names nothing has nothing to be held for: that there are no rules is
        // then as good as some.
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

    fn judge(&self, seen: &Seen) -> Manner {
        if !seen.has_tag {
            // Without a name for what is known there is nothing to wait for.
            return Manner::Answers;
        }
        let was_held = seen.outcome == Outcome::Same && seen.took >= self.hold / 2;
        if seen.is_applied || (seen.was_conditional && was_held) {
            return Manner::Holds;
        }
        match (self.manner, seen.outcome) {
            // The first answer: only the next can tell.
            (Manner::Unknown, _) if !seen.was_conditional => Manner::Unknown,
            // A change says nothing about what happens without one.
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

    /// An answer to a conditional request from a backend that names its rules.
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
    fn a_first_answer_that_there_are_no_rules_is_not_taken_for_a_request_cut_off() {
        for is_applied in [true, false] {
            let mut pace = Pace::default();
            let none = Seen {
                outcome: Outcome::Same,
                ..first(is_applied)
            };
            assert_eq!(next(&mut pace, none), 0.1);
        }
        // Told so again and again although it is known, the agent asks less and less often.
        let mut pace = Pace::default();
        next(&mut pace, first(true));
        let pauses = [(); 3].map(|()| next(&mut pace, seen(Outcome::Same, 0, true)));
        assert_eq!(pauses, [1.0, 2.0, 4.0]);
    }

    #[test]
    fn a_backend_that_holds_without_a_word_is_found_out() {
        let mut pace = Pace::default();
        assert_eq!(next(&mut pace, first(false)), 0.1);
        assert_eq!(next(&mut pace, seen(Outcome::Same, 30, false)), 0.0);
        assert_eq!(next(&mut pace, seen(Outcome::Changed, 3, false)), 0.1);
        assert!(pace.is_held());
    }

    #[test]
    fn a_backend_that_does_not_hold_is_asked_at_the_interval() {
        let mut pace = Pace::default();
        assert_eq!(next(&mut pace, first(false)), 0.1);
        assert_eq!(next(&mut pace, seen(Outcome::Same, 0, false)), 300.0);
        assert_eq!(next(&mut pace, seen(Outcome::Changed, 0, false)), 300.0);
        assert!(!pace.is_held());
        // Until it learns to.
        assert_eq!(next(&mut pace, seen(Outcome::Same, 30, true)), 0.0);
    }

    #[test]
    fn rules_without_a_tag_cannot_be_waited_for() {
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
    fn a_proxy_that_cuts_held_requests_off_has_them_held_for_less() {
        for (cut, hold) in [(29, 21), (10, 7), (4, 3), (2, 1)] {
            let mut pace = Pace::default();
            next(&mut pace, first(true));
            assert_eq!(pace.hold(), RULES_HOLD);
            assert!(pace.learns_from_cut(Duration::from_secs(cut)));
            assert_eq!(pace.hold(), Duration::from_secs(hold), "{cut}");
            assert_eq!(next(&mut pace, seen(Outcome::Same, hold, true)), 0.0);
            assert!(pace.is_held());
        }
    }

    #[test]
    fn a_request_that_fails_soon_or_after_its_hold_teaches_nothing() {
        let mut pace = Pace::default();
        next(&mut pace, first(true));
        assert!(!pace.learns_from_cut(Duration::from_millis(1999)));
        assert!(!pace.learns_from_cut(Duration::from_secs(60)));
        // Whatever comes, holds only get shorter: requests that go at once have an end.
        assert!(pace.learns_from_cut(Duration::from_secs(4)));
        assert!(!pace.learns_from_cut(Duration::from_secs(4)));
        assert!(pace.learns_from_cut(Duration::from_secs(2)));
        assert!(!pace.learns_from_cut(Duration::from_secs(2)));
    }

    #[test]
    fn a_hold_that_was_shortened_grows_again_when_nothing_cuts_it_off() {
        let mut pace = Pace::default();
        next(&mut pace, first(true));
        assert!(pace.learns_from_cut(Duration::from_secs(4)));
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
