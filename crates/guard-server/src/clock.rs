//! Time. An operator can set the time of day forwards or backwards. Planned work must not happen
//! too early or too late because of that. The server notices the change, and moves its plans and
//! the times of its agents by the same amount.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// A smaller difference does not count as setting the clock: a clock may drift, or be read late.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Two readings within this time are of the same moment.
const TOGETHER: Duration = Duration::from_millis(500);
/// How often the clocks are read until that is so.
const READS: u32 = 10;

/// A time further in the future than this was recorded before the clock was set back while no
/// server ran.
pub(crate) const AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// A monotonic clock that also counts while the machine sleeps.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// Provides the time.
pub trait Clock: Send + Sync {
    /// The time of day, which can be set.
    fn now(&self) -> Timestamp;

    /// The time since a fixed moment. It cannot be set.
    fn uptime(&self) -> Duration;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        clock_gettime(STEADY).try_into().unwrap_or_default()
    }
}

/// Both clocks at the same moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) now: Timestamp,
    pub(crate) uptime: Duration,
}

impl Reading {
    /// Reads both. A thread that is held up in between would see a clock that was set, so it reads
    /// again.
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        let (mut before, mut reads) = (clock.uptime(), 0);
        loop {
            let (now, uptime) = (clock.now(), clock.uptime());
            reads += 1;
            if uptime.saturating_sub(before) < TOGETHER || reads == READS {
                return Self { now, uptime };
            }
            before = uptime;
        }
    }

    /// How far the time of day was set since `earlier`, if it was.
    pub(crate) fn set_since(self, earlier: Self) -> Option<SignedDuration> {
        let moved = self.now.duration_since(earlier.now);
        let passed = self.uptime.saturating_sub(earlier.uptime);
        let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        let set = moved.saturating_sub(passed);
        (set.abs() > TOLERANCE).then_some(set)
    }

    /// The time of day at that uptime, by the clock as it is set now.
    pub(crate) fn at(self, uptime: Duration) -> Timestamp {
        let ago = self.uptime.saturating_sub(uptime);
        self.now.saturating_sub(ago).unwrap_or(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(now: i64, uptime: u64) -> Reading {
        Reading {
            now: Timestamp::from_second(now).unwrap(),
            uptime: Duration::from_secs(uptime),
        }
    }

    #[test]
    fn a_clock_was_set_if_it_differs_from_the_elapsed_time() {
        let earlier = reading(1_000_000, 100);
        for (later, expected) in [
            (reading(1_000_000, 100), None),
            (reading(1_003_600, 3700), None),
            (reading(1_000_004, 100), None),
            (reading(1_003_600, 100), Some(3600)),
            (reading(996_400, 100), Some(-3600)),
            (reading(1_000_000, 160), Some(-60)),
        ] {
            let expected = expected.map(SignedDuration::from_secs);
            assert_eq!(later.set_since(earlier), expected, "{later:?}");
        }
    }

    #[test]
    fn a_moment_is_converted_by_the_current_clock() {
        let reading = reading(1_000_000, 100);
        assert_eq!(reading.at(Duration::from_secs(40)).as_second(), 999_940);
        assert_eq!(reading.at(Duration::from_secs(101)).as_second(), 1_000_000);
    }

    #[test]
    fn the_clocks_of_the_machine_advance() {
        let earlier = Reading::of(&SystemClock);
        let later = Reading::of(&SystemClock);
        assert!(later.uptime >= earlier.uptime && earlier.uptime > Duration::ZERO);
    }
}
