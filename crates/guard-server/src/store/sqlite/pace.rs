//! How much a step of maintenance does at once, so that it holds the writer for a short time only.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// How long one step may take the writer, not counting the commit.
pub(super) const STEP: Duration = Duration::from_millis(20);
/// The first part ever, in items.
const FIRST: i64 = 16;
/// The largest part, in items.
const LARGEST: i64 = 2000;

/// The time since some moment.
pub(super) type Clock = dyn Fn() -> Duration + Send + Sync;

/// How fast one kind of work is, as earlier steps measured it.
pub(super) struct Speed {
    /// How many items take about a quarter of a step.
    quarter: AtomicI64,
    clock: Box<Clock>,
}

impl Speed {
    pub(super) fn new(clock: Box<Clock>) -> Self {
        Self {
            quarter: AtomicI64::new(FIRST),
            clock,
        }
    }

    /// Begins a step. Steps that begin together share their time.
    pub(super) fn step(&self) -> Pace<'_> {
        let now = (self.clock)();
        Pace {
            speed: self,
            begun: now,
            part_begun: now,
            last: None,
            is_done: false,
        }
    }
}

impl Default for Speed {
    fn default() -> Self {
        let begun = Instant::now();
        Self::new(Box::new(move || begun.elapsed()))
    }
}

impl std::fmt::Debug for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speed")
            .field("quarter", &self.quarter)
            .finish_non_exhaustive()
    }
}

/// One step, done in parts.
pub(super) struct Pace<'a> {
    speed: &'a Speed,
    begun: Duration,
    part_begun: Duration,
    /// The size of the last part.
    last: Option<i64>,
    /// Whether it has done any items.
    is_done: bool,
}

impl Pace<'_> {
    /// How many items the next part has. `None` if the time of the step is over. Every step does at
    /// least one item, however slow the machine is.
    pub(super) fn part(&mut self) -> Option<i64> {
        self.part_begun = (self.speed.clock)();
        let left = STEP.saturating_sub(self.part_begun.saturating_sub(self.begun));
        let quarter = self.speed.quarter.load(Ordering::Relaxed);
        // Half of the rest, because the next items may take longer.
        let fitting = scaled(quarter, left / 2, STEP / 4);
        let least = i64::from(!self.is_done);
        let part = fitting
            .min(self.last.map_or(quarter, |last| 2 * last))
            .max(least);
        self.last = Some(part);
        (part > 0).then_some(part)
    }

    /// Notes that the part is done, with so many items.
    pub(super) fn did(&mut self, items: u64) {
        if items > 0 {
            self.is_done = true;
            let took = (self.speed.clock)().saturating_sub(self.part_begun);
            let items = i64::try_from(items).unwrap_or(i64::MAX);
            let quarter = scaled(items, STEP / 4, took).clamp(1, LARGEST);
            self.speed.quarter.store(quarter, Ordering::Relaxed);
        }
    }
}

/// `items * time / of`.
fn scaled(items: i64, time: Duration, of: Duration) -> i64 {
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    items.saturating_mul(nanos(time)) / nanos(of).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// A machine on which time passes only with work.
    struct Machine {
        nanos: Arc<AtomicU64>,
        speed: Speed,
    }

    impl Machine {
        fn new() -> Self {
            let nanos = Arc::new(AtomicU64::new(0));
            let clock = Arc::clone(&nanos);
            let clock = move || Duration::from_nanos(clock.load(Ordering::Relaxed));
            let speed = Speed::new(Box::new(clock));
            Self { nanos, speed }
        }

        /// A step of items that take so many nanoseconds each. Returns how many it did, and its time.
        fn step(&self, item: u64) -> (i64, Duration) {
            let begun = self.nanos.load(Ordering::Relaxed);
            let (mut pace, mut done) = (self.speed.step(), 0);
            while let Some(part) = pace.part() {
                assert!(part > 0);
                done += part;
                let took = item * part.unsigned_abs();
                self.nanos.fetch_add(took, Ordering::Relaxed);
                pace.did(part.unsigned_abs());
            }
            let took = self.nanos.load(Ordering::Relaxed) - begun;
            (done, Duration::from_nanos(took))
        }
    }

    #[test]
    fn a_step_takes_its_time_however_fast_the_machine_is() {
        for item in [200, 5_000, 100_000, 1_000_000] {
            let machine = Machine::new();
            for _ in 0..5 {
                let (done, took) = machine.step(item);
                assert!(done > 0);
                assert!(took <= STEP, "{item}: {took:?}");
                assert!(took >= STEP / 2, "{item}: {took:?}");
            }
        }
    }

    #[test]
    fn on_a_machine_that_becomes_slow_the_next_step_is_short_again() {
        let machine = Machine::new();
        machine.step(1_000);
        // A part of a fast machine takes long once.
        machine.step(1_000_000);
        let (done, took) = machine.step(1_000_000);
        assert!(done > 0);
        assert!(took <= STEP, "{took:?}");
    }

    #[test]
    fn parts_that_find_nothing_tell_nothing_about_the_speed() {
        let machine = Machine::new();
        let mut pace = machine.speed.step();
        let first = pace.part();
        pace.did(0);
        assert_eq!(machine.speed.step().part(), first);
    }

    #[test]
    fn items_that_take_longer_than_a_step_are_done_one_by_one() {
        let machine = Machine::new();
        machine.step(60_000_000);
        assert_eq!(machine.step(60_000_000).0, 1);
    }
}
