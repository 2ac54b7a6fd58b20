//! The agent, as Python holds it.

use std::time::Duration;

use guard_agent::{Agent as Core, Kind};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::awaitable::Ready;
use crate::config;
use crate::convert::Reader;
use crate::errors::{buffer_full, value_error};
use crate::node::fields;
use crate::stats;
use crate::transport::Requests;

/// An agent of the core, behind the GIL.
///
/// Sending holds the interpreter: it takes less than releasing it would, and no
/// thread of the core ever waits for the interpreter while it holds a lock.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Agent {
    core: Core,
    /// What a call returns whose record was taken.
    taken: Py<Ready>,
}

impl Agent {
    fn send(&self, kind: Kind, record: &Bound<'_, PyAny>) -> PyResult<Option<Py<Ready>>> {
        let entries = Reader::new().record(kind, record);
        match self.core.try_record(kind, &fields(&entries)) {
            Ok(()) => Ok(Some(self.taken.clone_ref(record.py()))),
            Err(_) if self.core.blocks() => Ok(None),
            Err(full) => Err(buffer_full(record.py(), &full)),
        }
    }
}

#[pymethods]
impl Agent {
    #[new]
    fn new(py: Python<'_>, config: &Bound<'_, PyAny>, report: Bound<'_, PyAny>) -> PyResult<Self> {
        let builder = config::builder(config, report.unbind(), None)?;
        let core = py.detach(|| builder.build()).map_err(value_error)?;
        let taken = Py::new(py, Ready::NONE)?;
        Ok(Self { core, taken })
    }

    #[pyo3(signature = (config, report, transport))]
    fn reconfigure(
        &self,
        py: Python<'_>,
        config: &Bound<'_, PyAny>,
        report: Bound<'_, PyAny>,
        transport: Option<&Requests>,
    ) -> PyResult<()> {
        let builder = config::builder(config, report.unbind(), transport)?;
        let outcome = py.detach(|| self.core.reconfigure(builder));
        outcome.map_err(value_error)
    }

    #[pyo3(signature = (event, /))]
    fn send_event(&self, event: &Bound<'_, PyAny>) -> PyResult<Option<Py<Ready>>> {
        self.send(Kind::Event, event)
    }

    #[pyo3(signature = (metric, /))]
    fn send_metric(&self, metric: &Bound<'_, PyAny>) -> PyResult<Option<Py<Ready>>> {
        self.send(Kind::Metric, metric)
    }

    fn wait_for_room(&self, py: Python<'_>, seconds: f64) -> bool {
        py.detach(|| self.core.wait_for_room(duration(seconds)))
    }

    fn start(&self, py: Python<'_>) {
        py.detach(|| self.core.start());
    }

    fn stop(&self, py: Python<'_>) -> bool {
        py.detach(|| self.core.stop())
    }

    /// Ends the agent together with the interpreter.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.core.close());
        // Daemon threads may go on sending. Without this the interpreter, dropping
        // the agent, would wait for those records too, a second time.
        std::mem::forget(self.core.clone());
    }

    fn flush(&self, py: Python<'_>, seconds: f64) -> bool {
        py.detach(|| self.core.flush(duration(seconds)))
    }

    fn rules(&self, py: Python<'_>) -> Option<String> {
        py.detach(|| self.core.rules())
            .map(|rules| rules.json.clone())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.core.stats());
        stats::dict(py, &stats)
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}
