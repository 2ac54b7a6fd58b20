//! The base class of awaitable handlers: sends without a Python frame, which would take a
//! tenth of the call's time.

use guard_agent::Kind;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use crate::agent::Agent;
use crate::once;

/// Sends records through the agent of the inheriting handler, its `_agent.native`.
/// Records for which a full queue has no room go to the handler's `_when_room`.
#[pyclass(frozen, subclass, module = "guard_agent._native")]
pub(crate) struct Sender {
    agent: PyOnceLock<Py<Agent>>,
}

impl Sender {
    fn send(slf: &Bound<'_, Self>, kind: Kind, record: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let agent = once::get_or_make(&slf.get().agent, py, || {
            let native = slf.getattr("_agent")?.getattr("native")?;
            Ok(native.cast_into()?.unbind())
        })?;
        if let Some(taken) = agent.get().send(kind, record)? {
            return Ok(taken.into_any());
        }
        let waiting = slf.call_method1(intern!(py, "_when_room"), (kind.key(), record));
        waiting.map(Bound::unbind)
    }
}

#[pymethods]
impl Sender {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        let agent = PyOnceLock::new();
        Self { agent }
    }

    /// Queues a security event.
    ///
    /// Never blocks the event loop and never touches the network. An event that cannot be
    /// encoded is counted and logged. Under `buffer_overflow_policy="block"` the return value
    /// waits for room.
    ///
    /// Args:
    ///     event: A `SecurityEvent`, any object with its attributes, or a mapping.
    ///
    /// Raises:
    ///     BufferFullError: The queue is full and `buffer_overflow_policy` is "raise", or the
    ///         agent stopped while the call waited for room.
    fn send_event(slf: &Bound<'_, Self>, event: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Self::send(slf, Kind::Event, event)
    }

    /// Queues a metric, exactly as `send_event` queues an event.
    ///
    /// Args:
    ///     metric: A `SecurityMetric`, any object with its attributes, or a mapping.
    ///
    /// Raises:
    ///     BufferFullError: The queue is full and `buffer_overflow_policy` is "raise", or the
    ///         agent stopped while the call waited for room.
    fn send_metric(slf: &Bound<'_, Self>, metric: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Self::send(slf, Kind::Metric, metric)
    }
}
