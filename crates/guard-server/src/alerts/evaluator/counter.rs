//! Counts of events by their own time, for each group of an alert.
//!
//! Time is divided into steps: a sixtieth of the window, at least two seconds. An event counts in
//! the step of its timestamp, however late it comes. So a window is exact up to one step, and is
//! never shorter than asked for.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::query::group::Key;

/// Steps in a window.
const STEPS: i64 = 60;
/// The shortest step, in seconds.
const MIN_STEP: i64 = 2;
/// How late an event may come and still be counted, in seconds and in steps.
const LATE: i64 = 3600;
const LATE_STEPS: i64 = 1200;

/// What is counted, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The length of a step, in seconds.
    pub(super) step: i64,
    /// The steps of a window.
    steps: i64,
    /// Whether the window before it is counted too.
    has_baseline: bool,
}

impl Window {
    pub(super) fn new(window_s: u64, has_baseline: bool) -> Self {
        let seconds = i64::try_from(window_s).unwrap_or(i64::MAX / 4);
        let step = (seconds / STEPS).max(MIN_STEP);
        Self {
            step,
            // One more, because the present step is not over.
            steps: (seconds + step - 1) / step + 1,
            has_baseline,
        }
    }

    fn step_of(self, at: Timestamp) -> i64 {
        at.as_second().div_euclid(self.step)
    }

    /// When the windows begin that end now.
    pub(super) fn begin(self, now: Timestamp) -> Timestamp {
        let windows = if self.has_baseline { 2 } else { 1 };
        self.start_of(self.step_of(now) - windows * self.steps + 1)
    }

    /// The first moment that is counted.
    pub(super) fn horizon(self, now: Timestamp) -> Timestamp {
        self.start_of(self.step_of(now) - self.kept() + 1)
    }

    fn start_of(self, step: i64) -> Timestamp {
        let start = Timestamp::from_second(step.saturating_mul(self.step));
        start.unwrap_or(Timestamp::MIN)
    }

    /// The steps that are kept.
    fn kept(self) -> i64 {
        let windows = if self.has_baseline { 2 } else { 1 };
        windows * self.steps + (LATE / self.step).min(LATE_STEPS)
    }
}

/// How many events a group has in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// In the window.
    pub(super) count: u64,
    /// In the window before it.
    pub(super) before: u64,
    /// When the window's first event happened, as a step.
    pub(super) since: Timestamp,
}

/// The counts of the groups of one alert.
#[derive(Debug)]
pub(super) struct Counter {
    window: Window,
    groups: HashMap<Key, Steps>,
    /// The number of all counts.
    cells: usize,
}

/// The counts of a group: step and number, in order.
#[derive(Debug, Default)]
struct Steps {
    counts: Vec<(i64, u64)>,
    /// The first step that changed since the last measurement.
    changed: Option<i64>,
}

impl Counter {
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            groups: HashMap::new(),
            cells: 0,
        }
    }

    /// Counts an event that arrived. A timestamp after `now` counts as now. If there are more than
    /// `limit` counts, the smallest groups are forgotten.
    pub(super) fn add(&mut self, key: Key, at: Timestamp, now: Timestamp, limit: usize) {
        self.fill(key.clone(), at, 1, now, limit);
        self.touch(&key, at, now);
    }

    /// Measures the windows of an event again, which is counted already.
    pub(super) fn touch(&mut self, key: &Key, at: Timestamp, now: Timestamp) {
        let step = self.window.step_of(at.min(now));
        if let Some(steps) = self.groups.get_mut(key) {
            steps.changed = Some(steps.changed.map_or(step, |changed| changed.min(step)));
        }
    }

    /// Counts `n` events without measuring past windows again.
    pub(super) fn fill(&mut self, key: Key, at: Timestamp, n: u64, now: Timestamp, limit: usize) {
        let present = self.window.step_of(now);
        let step = self.window.step_of(at).min(present);
        if step <= present - self.window.kept() || n == 0 {
            return;
        }
        if self.cells >= limit {
            self.shrink(now, limit / 2);
        }
        let steps = self.groups.entry(key).or_default();
        match steps.counts.binary_search_by_key(&step, |(at, _)| *at) {
            Ok(at) => steps.counts[at].1 += n,
            Err(at) => {
                steps.counts.insert(at, (step, n));
                self.cells += 1;
            }
        }
    }

    /// Forgets what is too old, then the groups with the fewest events until `limit` counts are left.
    fn shrink(&mut self, now: Timestamp, limit: usize) {
        self.expire(now);
        if self.cells <= limit {
            return;
        }
        let mut sizes: Vec<_> = self
            .groups
            .values()
            .map(|steps| (steps.total(), steps.counts.len()))
            .collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut kept = 0;
        let least = sizes.iter().find_map(|(total, cells)| {
            kept += cells;
            (kept > limit).then_some(*total)
        });
        let least = least.unwrap_or(0);
        self.groups.retain(|_, steps| steps.total() > least);
        self.count_cells();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.window);
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let oldest = self.window.step_of(now) - self.window.kept();
        for steps in self.groups.values_mut() {
            let old = steps.counts.partition_point(|(at, _)| *at <= oldest);
            steps.counts.drain(..old);
        }
        self.groups.retain(|_, steps| !steps.counts.is_empty());
        self.count_cells();
    }

    fn count_cells(&mut self) {
        self.cells = self.groups.values().map(|steps| steps.counts.len()).sum();
    }

    /// Measures each group: the window that ends now, and of the windows that changed since the last
    /// call the first one for which `is_wanted` holds, or else the one with the most events.
    pub(super) fn measure(
        &mut self,
        now: Timestamp,
        is_wanted: impl Fn(&Measure) -> bool,
    ) -> Vec<(Key, Measure, Measure)> {
        let window = self.window;
        let present = window.step_of(now);
        let measure = |(key, steps): (&Key, &mut Steps)| {
            let current = steps.at(present, window);
            let changed = steps.changed.take().unwrap_or(present);
            let ends = steps.counts.iter().map(|(at, _)| *at);
            let ends = ends.filter(|at| (changed..present).contains(at));
            let mut peak = current;
            for end in ends {
                let at_end = steps.at(end, window);
                if is_wanted(&at_end) {
                    peak = at_end;
                    break;
                }
                if at_end.count > peak.count {
                    peak = at_end;
                }
            }
            (key.clone(), current, peak)
        };
        self.groups.iter_mut().map(measure).collect()
    }
}

impl Steps {
    fn total(&self) -> u64 {
        self.counts.iter().map(|(_, n)| n).sum()
    }

    /// The measure of the window whose last step is `end`.
    fn at(&self, end: i64, window: Window) -> Measure {
        let sum = |after: i64, until: i64| -> (u64, Option<i64>) {
            let from = self.counts.partition_point(|(at, _)| *at <= after);
            let to = self.counts.partition_point(|(at, _)| *at <= until);
            let counts = self.counts.get(from..to).unwrap_or_default();
            let total = counts.iter().map(|(_, n)| n).sum();
            (total, counts.first().map(|(at, _)| *at))
        };
        let begin = end - window.steps;
        let (count, first) = sum(begin, end);
        let before = if window.has_baseline {
            sum(begin - window.steps, begin).0
        } else {
            0
        };
        Measure {
            count,
            before,
            since: window.start_of(first.unwrap_or(end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 10_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn counter(window_s: u64, has_baseline: bool) -> Counter {
        Counter::new(Window::new(window_s, has_baseline))
    }

    fn measures(counter: &mut Counter, now: i64) -> (u64, u64, u64) {
        let all = counter.measure(at(now), |_| false);
        let (_, current, peak) = all[0];
        (current.count, current.before, peak.count)
    }

    #[test]
    fn events_leave_the_window_after_its_length() {
        let mut counter = counter(60, false);
        counter.fill(None, at(1000), 5, at(1000), LIMIT);
        assert_eq!(measures(&mut counter, 1060).0, 5);
        assert_eq!(measures(&mut counter, 1062).0, 0);
        counter.add(None, at(1500), at(1400), LIMIT);
        assert_eq!(measures(&mut counter, 1400).0, 1, "a clock that is ahead");
    }

    #[test]
    fn a_late_event_counts_in_its_own_window() {
        let mut counter = counter(60, false);
        counter.fill(None, at(1000), 4, at(1000), LIMIT);
        assert_eq!(measures(&mut counter, 1000).2, 4);
        // Six more of the same minute, and one of now, arrive ten minutes later.
        for _ in 0..6 {
            counter.add(None, at(1010), at(1600), LIMIT);
        }
        counter.add(None, at(1600), at(1600), LIMIT);
        let all = counter.measure(at(1600), |it| it.count >= 10);
        assert_eq!((all[0].1.count, all[0].2.count), (1, 10));
        assert_eq!(all[0].2.since, at(1000));
        assert_eq!(measures(&mut counter, 1601).2, 1, "it is told once");
    }

    #[test]
    fn the_window_before_is_counted_too() {
        let mut counter = counter(60, true);
        counter.fill(None, at(1000), 3, at(1000), LIMIT);
        counter.fill(None, at(1070), 7, at(1070), LIMIT);
        assert_eq!(measures(&mut counter, 1070), (7, 3, 7));
    }

    #[test]
    fn beyond_the_limit_the_smallest_groups_are_forgotten() {
        let mut counter = counter(60, false);
        counter.fill(Some("large".to_owned()), at(1000), 50, at(1000), 100);
        for n in 0..10_000 {
            counter.add(Some(n.to_string()), at(1000), at(1000), 100);
            assert!(counter.cells <= 101);
        }
        let all = counter.measure(at(1000), |_| false);
        let large = all.iter().find(|(key, ..)| key.as_deref() == Some("large"));
        assert_eq!(large.unwrap().1.count, 50);
        counter.expire(at(10_000));
        assert_eq!((counter.cells, counter.groups.len()), (0, 0));
    }
}
