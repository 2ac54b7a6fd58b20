//! Runs queries of people: few at a time, each with a time limit, and only while somebody waits for
//! the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::Sqlite;
use crate::store::StoreError;

/// How many such queries run at the same time. Agents' queries do not wait for them.
pub(super) const SEARCHES: usize = 4;
/// How long a query may take.
pub(super) const QUERY_TIME: Duration = Duration::from_secs(30);
/// SQLite asks whether to continue after this many steps of its program, well within a millisecond.
const STEPS: i32 = 1000;

/// Tells a query that nobody waits for its answer, when this is dropped.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sqlite {
    /// Runs `query` on a reader connection and a blocking thread, until its time is up or this
    /// future is dropped.
    pub(super) async fn search<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let turn = Arc::clone(&readers.searches).acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Unavailable)?;
        let is_left = Arc::new(AtomicBool::new(false));
        let _waiting = Waiting(Arc::clone(&is_left));
        let ends = Instant::now() + self.query_time;
        let outcome = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let outcome = readers.with(|connection| {
                // Bound to this query: it is removed before the connection serves another one.
                let is_over = move || is_left.load(Ordering::Relaxed) || Instant::now() >= ends;
                connection.progress_handler(STEPS, Some(is_over))?;
                let outcome = query(connection);
                connection.progress_handler(0, None::<fn() -> bool>)?;
                outcome
            });
            let is_stopped = outcome.as_ref().is_err_and(is_interrupted);
            if !is_stopped {
                readers.health.queried(&outcome);
            }
            outcome
        })
        .await;
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_interrupted(&error) => Err(StoreError::TimedOut),
            _ => Err(self.health.error()),
        }
    }

    /// Sets how long a query of people may take. The default is 30 seconds.
    #[must_use]
    pub fn with_query_time(self, query_time: Duration) -> Self {
        Self { query_time, ..self }
    }
}

fn is_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}
