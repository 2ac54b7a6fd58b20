//! Where the agent's threads leave what Python is to do.
//!
//! An event loop of Python's, called by a socket, fetches it from there. So no
//! thread of the agent's enters the interpreter, and no thread of Python's waits
//! inside of Rust.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is left in a lane.
pub(crate) trait Order {
    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool;
}

/// The orders on their way to Python.
pub(crate) struct Lane<T> {
    waiting: Mutex<VecDeque<T>>,
    /// Gets a byte for each order.
    bell: UnixStream,
    /// Where the bell is heard.
    ear: UnixStream,
}

impl<T: Order> Lane<T> {
    pub(crate) fn new() -> io::Result<Self> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let waiting = Mutex::default();
        Ok(Self { waiting, bell, ear })
    }

    /// Readable whenever an order is waiting.
    pub(crate) fn fileno(&self) -> i32 {
        self.ear.as_raw_fd()
    }

    pub(crate) fn put(&self, order: T) {
        let mut waiting = self.waiting();
        // A loop that hangs fetches nothing: what is pointless by now must not pile up.
        waiting.retain(|order| !order.is_given_up());
        waiting.push_back(order);
        drop(waiting);
        // A bell that takes no more bytes has rung and was not heard yet.
        let _ = (&self.bell).write(&[0]);
    }

    /// The orders that are waiting and that somebody still waits for.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut bytes = [0; 64];
        while (&self.ear).read(&mut bytes).is_ok_and(|read| read > 0) {}
        let waiting = std::mem::take(&mut *self.waiting());
        let wanted = waiting.into_iter().filter(|order| !order.is_given_up());
        wanted.collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
