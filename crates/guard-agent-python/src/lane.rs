//! Where the agent's threads leave what Python is to do.
//!
//! An event loop of Python's, called by a socket, fetches it from there. So no
//! thread of the agent's enters the interpreter, and no thread of Python's waits
//! inside of Rust.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use guard_agent::Kept;

/// Why nobody hears of an order.
pub(crate) const CLOSED: &str = "the program closed the agent's file descriptors";

/// What is left in a lane.
pub(crate) trait Order {
    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool;
}

/// The orders on their way to Python.
pub(crate) struct Lane<T> {
    waiting: Mutex<VecDeque<T>>,
    /// Gets a byte for each order.
    bell: Kept,
    /// Where the bell is heard.
    ear: Kept,
}

impl<T: Order> Lane<T> {
    pub(crate) fn new() -> io::Result<Self> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let keep = |end: UnixStream| Kept::new(File::from(OwnedFd::from(end)));
        Ok(Self {
            waiting: Mutex::default(),
            bell: keep(bell),
            ear: keep(ear),
        })
    }

    /// Readable whenever an order is waiting; -1 once the program has closed it.
    pub(crate) fn fileno(&self) -> i32 {
        self.ear.get().map_or(-1, |ear| ear.as_raw_fd())
    }

    /// Whether somebody can hear of it: the program may have closed the descriptors.
    pub(crate) fn put(&self, order: T) -> bool {
        let Some(mut bell) = self.bell.get() else {
            return false;
        };
        let mut waiting = self.waiting();
        // A loop that hangs fetches nothing: what is pointless by now must not pile up.
        waiting.retain(|order| !order.is_given_up());
        waiting.push_back(order);
        drop(waiting);
        // A bell that takes no more bytes has rung and was not heard yet.
        let _ = bell.write(&[0]);
        true
    }

    /// The orders that are waiting and that somebody still waits for.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut bytes = [0; 64];
        while let Some(mut ear) = self.ear.get()
            && ear.read(&mut bytes).is_ok_and(|read| read > 0)
        {}
        let waiting = std::mem::take(&mut *self.waiting());
        let wanted = waiting.into_iter().filter(|order| !order.is_given_up());
        wanted.collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
