//! Work that is done now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Remembers when work was last due.
#[derive(Debug, Default)]
pub(super) struct Due(Mutex<Option<Instant>>);

impl Due {
    /// Whether the work is due, because the last time is at least `every` ago. It is not due again
    /// until then.
    pub(super) fn is_due(&self, every: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= every);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}
