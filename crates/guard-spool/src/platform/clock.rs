//! The clock. It is injected, so that tests control time.

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The spool's source of time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Monotonic time, for all waits.
    fn now(&self) -> Instant;
    /// Wall time, for the creation times of directories and segments. It only decides which one
    /// is newer.
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

/// Milliseconds since 1970; 0 for earlier times.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
