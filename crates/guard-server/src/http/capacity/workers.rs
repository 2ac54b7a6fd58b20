//! Runs CPU-bound work on bodies, such as decompression and JSON parsing, on a few blocking
//! threads. The threads that serve requests stay free.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::http::connections::queued;
use crate::http::error::ApiError;

/// How long work waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many jobs run at the same time, each on one core. Each job needs memory, and the store
/// writes their results one after another anyway.
const MAX_WORKERS: usize = 4;

/// The permits for work.
#[derive(Debug)]
pub(crate) struct Workers(Arc<Semaphore>);

impl Default for Workers {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new(cores.min(MAX_WORKERS))))
    }
}

impl Workers {
    /// Runs `work` when a permit is free.
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
    async fn work_runs_on_one_thread_per_permit_and_not_on_this_one() {
        let workers = Workers(Arc::new(Semaphore::new(1)));
        let (release, released) = mpsc::channel::<()>();
        let first = workers.run(move || released.recv().is_ok());
        let second = workers.run(|| true);
        let third = async { release.send(()).is_ok() };
        // They start in this order. If the first one blocked this thread, none would end.
        let (first, second, third) = tokio::join!(first, second, third);
        assert!(first.unwrap() && second.unwrap() && third);
    }

    #[tokio::test(start_paused = true)]
    async fn work_without_a_permit_is_refused() {
        let workers = Workers(Arc::new(Semaphore::new(0)));
        assert!(workers.run(|| ()).await.is_err());
    }
}
