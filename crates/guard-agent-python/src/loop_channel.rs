//! A channel from the agent's threads to a Python event loop.
//!
//! A socket wakes the event loop, which then takes the messages. So no agent thread
//! enters the interpreter, and no Python thread waits inside Rust.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use guard_agent::Kept;

/// The reason why a message cannot be sent.
pub(crate) const CLOSED: &str = "the program closed the agent's file descriptors";

/// A message in a [`LoopChannel`].
pub(crate) trait Message {
    /// Whether no caller waits for it any more.
    fn is_abandoned(&self) -> bool;
}

/// The messages on their way to Python.
pub(crate) struct LoopChannel<T> {
    waiting: Mutex<VecDeque<T>>,
    /// Receives one byte for each message.
    wake_writer: Kept,
    /// Becomes readable when `wake_writer` receives a byte.
    wake_reader: Kept,
}

impl<T: Message> LoopChannel<T> {
    pub(crate) fn new() -> io::Result<Self> {
        let (wake_writer, wake_reader) = UnixStream::pair()?;
        wake_writer.set_nonblocking(true)?;
        wake_reader.set_nonblocking(true)?;
        let keep = |end: UnixStream| Kept::new(File::from(OwnedFd::from(end)));
        Ok(Self {
            waiting: Mutex::default(),
            wake_writer: keep(wake_writer),
            wake_reader: keep(wake_reader),
        })
    }

    /// A descriptor that is readable while a message is waiting; -1 once the program has closed it.
    pub(crate) fn fileno(&self) -> i32 {
        self.wake_reader
            .get()
            .map_or(-1, |wake_reader| wake_reader.as_raw_fd())
    }

    /// Returns whether the message can arrive: the program may have closed the descriptors.
    pub(crate) fn put(&self, message: T) -> bool {
        let Some(mut wake_writer) = self.wake_writer.get() else {
            return false;
        };
        let mut waiting = self.waiting();
        // A loop that hangs takes nothing, so drop abandoned messages before they pile up.
        waiting.retain(|message| !message.is_abandoned());
        waiting.push_back(message);
        drop(waiting);
        // A full socket already holds a wake-up that the loop has not seen.
        let _ = wake_writer.write(&[0]);
        true
    }

    /// Takes the waiting messages, without the abandoned ones.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut bytes = [0; 64];
        while let Some(mut wake_reader) = self.wake_reader.get()
            && wake_reader.read(&mut bytes).is_ok_and(|read| read > 0)
        {}
        let waiting = std::mem::take(&mut *self.waiting());
        let wanted = waiting
            .into_iter()
            .filter(|message| !message.is_abandoned());
        wanted.collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
