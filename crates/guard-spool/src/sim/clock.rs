//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::platform::clock::Clock;

/// A clock that tests move. Clones share their time.
#[derive(Debug, Clone)]
pub struct SimClock {
    times: Arc<Mutex<(Instant, SystemTime)>>,
}

impl Default for SimClock {
    fn default() -> Self {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self {
            times: Arc::new(Mutex::new((Instant::now(), wall))),
        }
    }
}

impl SimClock {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.0 += by;
        times.1 += by;
    }

    /// Sets the wall clock only.
    pub fn set_wall(&self, wall: SystemTime) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.1 = wall;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn wall(&self) -> SystemTime {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
