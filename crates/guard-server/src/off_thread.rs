//! Work that keeps a thread busy for long, such as checking a rules document of a megabyte.

use tokio::runtime::Handle;

use crate::store::StoreError;

/// Runs `work` on a thread that may block, so that the threads that answer requests go on.
/// The work is finished even if the caller is dropped.
///
/// # Errors
///
/// [`StoreError::Unavailable`] when the server is stopping, or the work panicked.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreError> {
    let runtime = Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work));
    done.await.map_err(|_| StoreError::Unavailable)
}
