//! Work on bodies, such as inflating and reading JSON: on few threads that may be busy, so
//! that those that answer requests go on.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::http::connections::queued;
use crate::http::error::ApiError;

/// How long work waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Work that runs at the same time, on as many cores. Each takes memory of its own, and
/// the store writes what they make one after another anyway.
const MAX_WORKERS: usize = 4;

/// The turns for work.
#[derive(Debug)]
pub(crate) struct Workers(Arc<Semaphore>);

impl Default for Workers {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new(cores.min(MAX_WORKERS))))
    }
}

impl Workers {
    /// Runs `work` in its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = Arc::clone(&self.0).acquire_owned();
        let Ok(Ok(turn)) = queued(tokio::time::timeout(PATIENCE, turn)).await else {
            return Err(ApiError::unavailable(
                "The server has too much to do; send the request again later",
            ));
        };
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        working
            .await
            .map_err(|_| ApiError::unavailable("The server is stopping"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_has_as_many_threads_as_there_are_turns_and_leaves_this_one_alone() {
        let workers = Workers(Arc::new(Semaphore::new(1)));
        let (release, released) = mpsc::channel::<()>();
        let first = workers.run(move || released.recv().is_ok());
        let second = workers.run(|| true);
        let third = async { release.send(()).is_ok() };
        // They start in this order; were the first to keep this thread, none would end.
        let (first, second, third) = tokio::join!(first, second, third);
        assert!(first.unwrap() && second.unwrap() && third);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_gets_no_turn_is_refused() {
        let workers = Workers(Arc::new(Semaphore::new(0)));
        assert!(workers.run(|| ()).await.is_err());
    }
}
