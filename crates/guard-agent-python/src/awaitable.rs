//! Return values of calls whose work is already done.

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// A coroutine that is finished before it starts. You can await it any number of
/// times, run it, make a task of it, or ignore it without a warning.
#[pyclass(frozen, generic, module = "guard_agent._native")]
pub(crate) struct Ready {
    value: Option<Py<PyAny>>,
}

impl Ready {
    /// Ready with `None`.
    pub(crate) const NONE: Self = Self { value: None };

    fn finish(&self, py: Python<'_>) -> PyErr {
        match &self.value {
            None => PyStopIteration::new_err(()),
            Some(value) => PyStopIteration::new_err((value.clone_ref(py),)),
        }
    }
}

#[pymethods]
impl Ready {
    #[new]
    #[pyo3(signature = (value, /))]
    fn new(value: Bound<'_, PyAny>) -> Self {
        Self {
            value: (!value.is_none()).then(|| value.unbind()),
        }
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.value {
            None => Ok(None),
            Some(_) => Err(self.finish(py)),
        }
    }

    #[pyo3(signature = (value, /))]
    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let _ = value;
        Err(self.finish(py))
    }

    /// Raises the given exception, because no code is left that could catch it.
    #[pyo3(signature = (typ, val = None, tb = None, /))]
    fn throw(
        &self,
        typ: Bound<'_, PyAny>,
        val: Option<Bound<'_, PyAny>>,
        tb: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = tb;
        let error = match (typ.cast::<PyType>(), val) {
            (Ok(class), Some(val)) if !val.is_instance(class)? => class.call1((val,))?,
            (Ok(_), Some(val)) => val,
            (Ok(class), None) => class.call0()?,
            (Err(_), _) => typ,
        };
        Err(PyErr::from_value(error))
    }

    fn close(&self) {}
}
