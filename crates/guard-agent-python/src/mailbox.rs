//! What Python's own threads leave for each other.

use pyo3::prelude::*;

use crate::lane::{Lane, Order};

/// Takes objects from any thread, and wakes whoever waits for its file descriptor: an event
/// loop, a greenlet or a thread.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Mailbox {
    lane: Lane<Left>,
}

struct Left(Py<PyAny>);

impl Order for Left {
    fn is_given_up(&self) -> bool {
        false
    }
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self { lane: Lane::new()? })
    }

    /// Readable whenever something was put.
    fn fileno(&self) -> i32 {
        self.lane.fileno()
    }

    /// Whether it can still be heard of: the program may have closed the descriptors.
    #[pyo3(signature = (item, /))]
    fn put(&self, item: Py<PyAny>) -> bool {
        self.lane.put(Left(item))
    }

    /// Everything that was put, oldest first.
    fn take(&self) -> Vec<Py<PyAny>> {
        let left = self.lane.take().into_iter();
        left.map(|Left(item)| item).collect()
    }
}
