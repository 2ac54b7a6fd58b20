//! Time, as the spool needs it. Injected, so that tests can move it.

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the spool takes time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Monotonic time: everything that is waited for.
    fn now(&self) -> Instant;
    /// Wall time: stamps directories and segments, which decides only what is
    /// taken for newer.
    fn wall(&self) -> SystemTime;
}

/// The system's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Milliseconds since 1970; 0 before.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
