//! A mailbox between Python threads.

use pyo3::prelude::*;

use crate::loop_channel::{LoopChannel, Message};

/// Receives objects from any thread, and wakes the reader that waits for its file descriptor:
/// an event loop, a greenlet or a thread.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Mailbox {
    channel: LoopChannel<Item>,
}

struct Item(Py<PyAny>);

impl Message for Item {
    fn is_abandoned(&self) -> bool {
        false
    }
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            channel: LoopChannel::new()?,
        })
    }

    /// A descriptor that is readable after something was put.
    fn fileno(&self) -> i32 {
        self.channel.fileno()
    }

    /// Returns whether the object can arrive: the program may have closed the descriptors.
    #[pyo3(signature = (item, /))]
    fn put(&self, item: Py<PyAny>) -> bool {
        self.channel.put(Item(item))
    }

    /// Takes everything that was put, oldest first.
    fn take(&self) -> Vec<Py<PyAny>> {
        let items = self.channel.take().into_iter();
        items.map(|Item(item)| item).collect()
    }
}
