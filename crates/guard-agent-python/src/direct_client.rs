//! The Python class for delivery without a queue.

use std::sync::Arc;

use guard_agent::compat::DirectClient as Core;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::agent::duration;
use crate::config;
use crate::convert::{Record, kind_of};
use crate::errors::{internal, value_error};
use crate::stats;
use crate::wait::interruptibly;

/// A client of the core. Its calls block without the GIL; a signal ends them.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct DirectClient {
    core: Arc<Core>,
}

impl DirectClient {
    /// Calls the core, as [`Agent`](crate::agent::Agent) does.
    fn call<T>(&self, work: impl FnOnce(&Core) -> T) -> PyResult<T> {
        self.core.guarded(work).ok_or_else(internal)
    }
}

#[pymethods]
impl DirectClient {
    #[new]
    fn new(py: Python<'_>, config: &Bound<'_, PyAny>, report: Bound<'_, PyAny>) -> PyResult<Self> {
        let builder = config::builder(config, report.unbind(), None)?;
        let core = py.detach(|| Core::new(builder)).map_err(value_error)?;
        Ok(Self {
            core: Arc::new(core),
        })
    }

    fn deliver(&self, kind: &str, records: &Bound<'_, PyAny>, seconds: f64) -> PyResult<bool> {
        let kind = kind_of(kind)?;
        let mut encoded = Vec::new();
        for record in records.try_iter()? {
            encoded.extend(self.core.encode(kind, Record(&record?)));
        }
        let core = Arc::clone(&self.core);
        let deliver = move || core.guarded(|core| core.deliver(kind, &encoded, duration(seconds)));
        Ok(interruptibly(records.py(), deliver)??)
    }

    fn push_status(&self, py: Python<'_>, report: String) -> PyResult<bool> {
        let core = Arc::clone(&self.core);
        Ok(interruptibly(py, move || {
            core.guarded(|core| core.push_status(report.into_bytes()))
        })??)
    }

    fn rules(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let core = Arc::clone(&self.core);
        let rules = interruptibly(py, move || core.guarded(Core::fetch_rules))??;
        Ok(rules.map(|rules| rules.json.clone()))
    }

    fn open(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.call(Core::open))??)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.call(Core::close))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.call(Core::stats))?;
        stats::dict(py, &stats)
    }
}
