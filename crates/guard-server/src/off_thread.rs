//! Runs work that takes long, such as checking a rules document of a megabyte.

use tokio::runtime::Handle;

use crate::store::StoreError;

/// Runs `work` on a blocking thread, so that the threads that serve requests stay free. The work is
/// finished even if the caller is dropped.
///
/// # Errors
///
/// [`StoreError::Unavailable`] if the server is stopping, or the work panicked.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreError> {
    let runtime = Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work));
    done.await.map_err(|_| StoreError::Unavailable)
}
