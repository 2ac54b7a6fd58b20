//! The values that an alert on new values knows.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

/// The most values that an alert knows. Beyond it, those that were not seen for longest are
/// forgotten, a tenth at a time.
pub(super) const MAX_SEEN: usize = 10_000;
/// The longest value, in bytes. Longer ones are told apart by their beginning.
const MAX_VALUE: usize = 300;
/// The most new values that are named.
pub(super) const NAMED: usize = 20;
/// Stored beside the values once those from before the alert are known.
const LEARNED: &str = "m";

/// The values that an alert knows, and those that are new.
#[derive(Debug, Default)]
pub(super) struct SeenValues {
    /// Each value, and when it was last seen as a number of events.
    known: HashMap<String, u64>,
    events: u64,
    /// Whether the values from before the alert are known.
    is_learned: bool,
    /// The values that were new lately, the newest last.
    recent: Vec<NewValue>,
    /// What is not stored yet.
    pub(super) added: Vec<String>,
    pub(super) forgotten: Vec<String>,
}

/// A value that is new.
#[derive(Debug, Clone)]
pub(super) struct NewValue {
    /// When it was noticed.
    noticed_at: Timestamp,
    /// When its first event happened.
    pub(super) happened_at: Timestamp,
    pub(super) value: String,
}

impl SeenValues {
    /// From what is stored.
    pub(super) fn stored(values: Vec<String>) -> Self {
        let mut seen = Self::default();
        for value in values {
            if value == LEARNED {
                seen.is_learned = true;
            } else if let Some(value) = value.strip_prefix('v') {
                seen.events += 1;
                seen.known.insert(value.to_owned(), seen.events);
            }
        }
        seen
    }

    pub(super) const fn is_learned(&self) -> bool {
        self.is_learned
    }

    /// Learns values from before the alert, without a notification.
    pub(super) fn learn(&mut self, values: impl IntoIterator<Item = String>) {
        for value in values {
            self.insert(cut(&value));
        }
        self.is_learned = true;
        self.added.push(LEARNED.to_owned());
    }

    /// Notes a value of an event that happened at `at`.
    pub(super) fn note(&mut self, value: &str, at: Timestamp, now: Timestamp) {
        let value = cut(value);
        self.events += 1;
        if let Some(last) = self.known.get_mut(value) {
            *last = self.events;
        } else if self.is_learned {
            self.insert(value);
            self.recent.push(NewValue {
                noticed_at: now,
                happened_at: at.min(now),
                value: value.to_owned(),
            });
        }
    }

    fn insert(&mut self, value: &str) {
        if self.known.len() >= MAX_SEEN {
            self.forget();
        }
        self.events += 1;
        if self.known.insert(value.to_owned(), self.events).is_none() {
            self.added.push(format!("v{value}"));
        }
    }

    fn forget(&mut self) {
        let mut ages: Vec<u64> = self.known.values().copied().collect();
        let (_, oldest, _) = ages.select_nth_unstable(MAX_SEEN / 10);
        let oldest = *oldest;
        for (value, _) in self.known.extract_if(|_, last| *last <= oldest) {
            self.forgotten.push(format!("v{value}"));
        }
    }

    /// The values that were new within `window` before `now`, the newest first; older ones are no
    /// longer news.
    pub(super) fn recent(&mut self, now: Timestamp, window: SignedDuration) -> Vec<NewValue> {
        self.recent
            .retain(|new| now.duration_since(new.noticed_at) < window);
        self.recent.iter().rev().cloned().collect()
    }

    /// The values that were new lately, the newest first, at most [`NAMED`].
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let values = self.recent.iter().rev().map(|new| &*new.value);
        values.take(NAMED)
    }

    /// Moves its times with the clock.
    pub(super) fn follow_clock(&mut self, by: SignedDuration) {
        let moved = |at: Timestamp| at.saturating_add(by).unwrap_or(at);
        for new in &mut self.recent {
            new.noticed_at = moved(new.noticed_at);
            new.happened_at = moved(new.happened_at);
        }
    }
}

fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_VALUE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn new_at(seen: &mut SeenValues, second: i64) -> Vec<String> {
        let recent = seen.recent(at(second), HOUR);
        recent.into_iter().map(|new| new.value).collect()
    }

    #[test]
    fn a_value_is_new_once() {
        let mut seen = SeenValues::default();
        seen.learn(["DE".to_owned()]);
        for (second, value) in [(1, "DE"), (2, "FR"), (3, "FR"), (4, "IT")] {
            seen.note(value, at(second), at(second));
        }
        assert_eq!(new_at(&mut seen, 10), ["IT", "FR"]);
        assert_eq!(new_at(&mut seen, 3602), ["IT"]);
        assert_eq!(seen.added, ["vDE", "m", "vFR", "vIT"]);
        let mut again = SeenValues::stored(std::mem::take(&mut seen.added));
        assert!(again.is_learned());
        again.note("IT", at(5), at(5));
        assert!(new_at(&mut again, 10).is_empty());
    }

    #[test]
    fn nothing_is_new_before_the_old_values_are_known() {
        let mut seen = SeenValues::default();
        seen.note("DE", at(1), at(1));
        assert!(new_at(&mut seen, 2).is_empty() && seen.added.is_empty());
    }

    #[test]
    fn values_not_seen_for_longest_are_forgotten() {
        let mut seen = SeenValues::default();
        seen.learn((0..MAX_SEEN).map(|n| n.to_string()));
        seen.note("0", at(1), at(1));
        seen.note("new", at(2), at(2));
        assert!(seen.known.contains_key("0") && !seen.known.contains_key("1"));
        assert!(seen.known.len() <= MAX_SEEN && !seen.forgotten.is_empty());
    }
}
