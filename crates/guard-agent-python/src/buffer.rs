//! The Python class of a queue without a sender.

use guard_agent::compat::Buffer as Core;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::config;
use crate::convert::{Record, kind_of};
use crate::errors::{buffer_full, internal, value_error};
use crate::stats;

/// A buffer of the core.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Buffer {
    core: Core,
}

#[pymethods]
impl Buffer {
    #[new]
    fn new(config: &Bound<'_, PyAny>, report: Bound<'_, PyAny>) -> PyResult<Self> {
        let builder = config::builder(config, report.unbind(), None)?;
        let core = Core::new(builder).map_err(value_error)?;
        Ok(Self { core })
    }

    /// Returns whether the record was accepted; if not, the caller must wait for room.
    fn enqueue(&self, kind: &str, record: &Bound<'_, PyAny>) -> PyResult<bool> {
        match self.core.record(kind_of(kind)?, Record(record)) {
            Ok(()) => Ok(true),
            Err(_) if self.core.blocks() => Ok(false),
            Err(full) => Err(buffer_full(record.py(), &full)),
        }
    }

    fn withdraw<'py>(&self, py: Python<'py>, kind: &str) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let kind = kind_of(kind)?;
        let withdrawn = self.core.guarded(|core| core.withdraw(kind));
        Ok(bytes(py, withdrawn.ok_or_else(internal)?))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.core.guarded(Core::stats).ok_or_else(internal)?;
        stats::dict(py, &stats)
    }
}

/// Converts records to Python bytes.
pub(crate) fn bytes(py: Python<'_>, records: Vec<Vec<u8>>) -> Vec<Bound<'_, PyBytes>> {
    let records = records.into_iter();
    records.map(|record| PyBytes::new(py, &record)).collect()
}
