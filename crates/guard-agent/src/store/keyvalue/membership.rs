//! The membership list: each process watches the next live process on it.
//!
//! The list is one key that all processes read and write, without an atomic update.
//! So a name may get lost. A process that does not find its name adds it again.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Names of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Membership(BTreeSet<String>);

impl Membership {
    pub(super) fn read(value: Option<&str>) -> Self {
        let names = value.unwrap_or_default().split_whitespace();
        Self(names.map(str::to_owned).collect())
    }

    pub(super) fn value(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        names.join(" ")
    }

    /// Adds a name. Returns true if it was missing.
    pub(super) fn add(&mut self, name: &str) -> bool {
        self.0.insert(name.to_owned())
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The other processes in the order in which `own` watches them: first those after
    /// it, then those from the start of the list.
    pub(super) fn after(&self, own: &str) -> Vec<String> {
        let (before, after): (Vec<_>, Vec<_>) = self
            .0
            .iter()
            .filter(|name| *name != own)
            .partition(|name| name.as_str() < own);
        after.into_iter().chain(before).cloned().collect()
    }
}

/// Processes without a lease, each with the time since when it has none.
#[derive(Debug, Default)]
pub(super) struct Suspects(HashMap<String, Instant>);

impl Suspects {
    /// Notes the processes without a lease. Returns those without one for `grace`.
    pub(super) fn note(
        &mut self,
        missing: Vec<String>,
        now: Instant,
        grace: Duration,
    ) -> Vec<String> {
        let before = std::mem::take(&mut self.0);
        for name in missing {
            let since = *before.get(&name).unwrap_or(&now);
            self.0.insert(name, since);
        }
        let dead = |since: &Instant| now.saturating_duration_since(*since) >= grace;
        let dead = self.0.iter().filter(|(_, since)| dead(since));
        dead.map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_watches_those_that_follow_it_in_a_ring() {
        let mut membership = Membership::read(Some("c a d"));
        assert!(membership.add("b") && !membership.add("c"));
        assert_eq!(membership.value(), "a b c d");
        assert_eq!(membership.after("b"), ["c", "d", "a"]);
        membership.remove("c");
        assert_eq!(membership.after("d"), ["a", "b"]);
        assert_eq!(Membership::read(None).after("a"), [""; 0]);
    }

    #[test]
    fn a_process_is_dead_after_the_whole_grace_without_a_lease() {
        let mut suspects = Suspects::default();
        let start = Instant::now();
        let grace = Duration::from_secs(6);
        let mut note = |missing: &[&str], seconds| {
            let missing = missing.iter().map(ToString::to_string).collect();
            suspects.note(missing, start + Duration::from_secs(seconds), grace)
        };
        assert_eq!(note(&["a"], 0), [""; 0]);
        assert_eq!(note(&[], 3), [""; 0]);
        assert_eq!(note(&["a"], 6), [""; 0]);
        assert_eq!(note(&["a", "b"], 12), ["a"]);
    }
}
