//! The agent's own threads. They run hooks and transports of the program, which may call the
//! agent. Functions that wait for such a thread must not be called on it.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::queue::Queue;
use crate::shared::Shared;

/// Extra time after the deadline for a thread to end. If it takes longer, it hangs in foreign
/// code and is left behind.
pub(crate) const END_GRACE: Duration = Duration::from_millis(200);

thread_local! {
    /// The queue of the agent that this thread works for. Has no destructor, so that it can be
    /// read until the very end of the thread.
    static QUEUE: Cell<*const Queue> = const { Cell::new(std::ptr::null()) };
}

/// Starts a thread that works for the agent of `shared`.
pub(crate) fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let queue = Arc::clone(&shared.queue);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        QUEUE.set(Arc::as_ptr(&queue));
        work();
    })
}

/// True if this thread works for the agent of `shared`.
pub(crate) fn is_own(shared: &Shared) -> bool {
    QUEUE.get() == Arc::as_ptr(&shared.queue)
}
