//! Time, as the agent waits on it. Injected, so that tests can move it.

use std::time::{Instant, SystemTime};

use futures_util::future::BoxFuture;

/// Where the agent takes time from. Waiting is monotonic; wall time only
/// stamps records and reads dates.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time.
    fn now(&self) -> Instant;
    /// Wall time.
    fn wall(&self) -> SystemTime;
    /// Ends once [`now`](Self::now) has reached `at`.
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
