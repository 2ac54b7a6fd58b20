//! Limits how often a log line that many requests can cause is written.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// At most one line of a kind is logged in this time.
const EVERY: Duration = Duration::from_secs(10);

/// Decides when a line is due again, and counts the occurrences since the last one.
#[derive(Debug, Default)]
pub(crate) struct LogGate(Mutex<Since>);

#[derive(Debug, Default)]
struct Since {
    logged: Option<Instant>,
    count: u64,
}

impl LogGate {
    /// Counts one occurrence. If the next line is due, returns the number of occurrences since the
    /// last line; the caller then writes the line.
    pub(crate) fn pass(&self) -> Option<u64> {
        let now = Instant::now();
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.count += 1;
        if since.logged.is_some_and(|logged| now < logged + EVERY) {
            return None;
        }
        since.logged = Some(now);
        Some(std::mem::take(&mut since.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_line_is_due_at_once_and_the_next_after_a_pause_with_the_count() {
        let gate = LogGate::default();
        assert_eq!(gate.pass(), Some(1));
        assert_eq!([gate.pass(), gate.pass()], [None, None]);
        tokio::time::advance(EVERY).await;
        assert_eq!(gate.pass(), Some(3));
        assert_eq!(gate.pass(), None);
    }
}
