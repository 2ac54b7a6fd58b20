//! Values that are created once, by code that may run Python.
//!
//! An import runs Python code, and any allocation may collect garbage and so run destructors.
//! Such code may send a record, which comes back to the cell that is being filled. Inside
//! `PyOnceLock::get_or_try_init` the thread would then wait for itself and keep the GIL.
//! So the value is created outside the cell, and the first finished value is kept.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// Returns the value of `cell`. Calls `make` if it is empty, perhaps more than once.
pub(crate) fn get_or_make<'c, T>(
    cell: &'c PyOnceLock<T>,
    py: Python<'_>,
    make: impl FnOnce() -> PyResult<T>,
) -> PyResult<&'c T> {
    if let Some(value) = cell.get(py) {
        return Ok(value);
    }
    let made = make()?;
    Ok(cell.get_or_init(py, move || made))
}

/// Returns the type of that name, imported if `cell` is empty.
pub(crate) fn import<'c, 'py>(
    cell: &'c PyOnceLock<Py<PyType>>,
    py: Python<'py>,
    module: &str,
    name: &str,
) -> PyResult<&'c Bound<'py, PyType>> {
    let class = get_or_make(cell, py, || {
        let class = py.import(module)?.getattr(name)?;
        Ok(class.cast_into()?.unbind())
    })?;
    Ok(class.bind(py))
}
