//! Converts the core's errors to Python exceptions.

use std::fmt::Display;

use guard_agent::SendError;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::once;

/// A `ValueError` with the error's text.
pub(crate) fn value_error<E: Display>(error: E) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The error of a call in which the core panicked. The core has counted and reported that.
pub(crate) fn internal() -> PyErr {
    PyRuntimeError::new_err("the agent failed in this call and goes on; please report this")
}

/// A `guard_agent.exceptions.BufferFullError`.
pub(crate) fn buffer_full(py: Python<'_>, error: &SendError) -> PyErr {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match once::import(&TYPE, py, "guard_agent.exceptions", "BufferFullError") {
        Ok(class) => PyErr::from_type(class.clone(), error.to_string()),
        Err(failed) => failed,
    }
}
