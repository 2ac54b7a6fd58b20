//! The agent's clock. It is injected, so that tests can control time.

use std::time::{Instant, SystemTime};

use futures_util::future::BoxFuture;

/// Source of time for the agent. Waits use monotonic time. Wall time is only used for
/// timestamps and to interpret dates.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time.
    fn now(&self) -> Instant;
    /// Wall time.
    fn wall(&self) -> SystemTime;
    /// Resolves once [`now`](Self::now) has reached `at`.
    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()>;
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

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}
