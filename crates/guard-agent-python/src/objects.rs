//! Reads the parts of Python objects: items, fields, entries.

use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyList, PySet, PyString, PyTuple, PyType};
use pyo3::{ffi, intern};

use crate::types;

/// The items of the built-in containers.
pub(crate) fn sequence<'py>(value: &Bound<'py, PyAny>) -> Option<Vec<Bound<'py, PyAny>>> {
    if let Ok(list) = value.cast::<PyList>() {
        Some(list.iter().collect())
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        Some(tuple.iter().collect())
    } else if let Ok(set) = value.cast::<PySet>() {
        Some(set.iter().collect())
    } else if let Ok(set) = value.cast::<PyFrozenSet>() {
        Some(set.iter().collect())
    } else {
        None
    }
}

/// `value.__dict__`
#[expect(
    unsafe_code,
    reason = "PyO3 has no safe form but the attribute, which takes a multiple of the time"
)]
pub(crate) fn attribute_dict<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: it is a live object, which the function borrows; the result is a new
    // reference, or null with an exception set.
    unsafe {
        let found = ffi::PyObject_GenericGetDict(value.as_ptr(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(value.py(), found)
    }
}

/// A slot of a class, such as `UUID.int`, read without a lookup in the class.
pub(crate) struct Slot {
    descriptor: Py<PyAny>,
    get: ffi::descrgetfunc,
}

impl Slot {
    /// The slot that `class` itself defines under this name.
    #[expect(
        unsafe_code,
        reason = "PyO3 has no form for what a type does as a descriptor"
    )]
    pub(crate) fn of(class: &Bound<'_, PyType>, name: &str) -> PyResult<Self> {
        let descriptor = class.getattr("__dict__")?.get_item(name)?;
        // SAFETY: the type of a live object, whose fields do not change.
        let get = unsafe { (*descriptor.get_type_ptr()).tp_descr_get };
        let get = get.ok_or_else(|| PyTypeError::new_err("no descriptor"))?;
        let descriptor = descriptor.unbind();
        Ok(Self { descriptor, get })
    }

    /// The slot's value in `value`: None if `value` is of another class, or the slot is empty.
    #[expect(
        unsafe_code,
        reason = "PyO3 has no safe form but the attribute, which takes a multiple of the time"
    )]
    pub(crate) fn read<'py>(&self, value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        let py = value.py();
        let class = value.get_type_ptr().cast();
        // SAFETY: all are live objects, which the function borrows; the result is a new
        // reference, or null with an exception set.
        let found = unsafe {
            let found = (self.get)(self.descriptor.as_ptr(), value.as_ptr(), class);
            Bound::from_owned_ptr_or_err(py, found)
        };
        found.ok()
    }
}

/// The fields of a dataclass instance, without those of its class.
pub(crate) fn dataclass_fields<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    let py = value.py();
    if value.is_instance_of::<PyType>()
        || !value.hasattr(intern!(py, "__dataclass_fields__")).ok()?
    {
        return None;
    }
    let fields = py.import(intern!(py, "dataclasses")).ok()?;
    let fields = fields.call_method1(intern!(py, "fields"), (value,)).ok()?;
    let dict = PyDict::new(py);
    for field in fields.try_iter().ok()? {
        let name = field.ok()?.getattr(intern!(py, "name")).ok()?;
        // Leave out a field that was deleted or never set.
        if let Ok(value) = value.getattr(name.cast::<PyString>().ok()?) {
            dict.set_item(name, value).ok()?;
        }
    }
    Some(dict)
}

/// A copy of any other mapping.
pub(crate) fn mapping<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    let py = value.py();
    if !types::is_instance(value, types::mapping(py)) {
        return None;
    }
    let dict = PyDict::new(py);
    // Not `PyMapping`, because its check imports inside a cell.
    dict.call_method1(intern!(py, "update"), (value,)).ok()?;
    Some(dict)
}
