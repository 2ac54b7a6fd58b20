//! The entries of a record's dict, with known names recognised by object identity.

use std::ptr;

use guard_wire::field::Known;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};
use pyo3::{Borrowed, ffi};

/// The names of [`Known::ALL`] as interned Python strings: a name that appears in
/// code is the same object in the whole process.
struct Names([Py<PyString>; Known::ALL.len()]);

impl Names {
    fn of(py: Python<'_>) -> &Self {
        static NAMES: PyOnceLock<Names> = PyOnceLock::new();
        // Creating text runs no Python code.
        NAMES.get_or_init(py, || {
            Self(Known::ALL.map(|field| PyString::intern(py, field.name()).unbind()))
        })
    }

    /// The index of `key` among the names. Checks `next` first, because most records have
    /// their fields in order. None for other names, and for other objects with the same text.
    #[inline]
    fn place(&self, key: *mut ffi::PyObject, next: usize) -> Option<usize> {
        match self.0.get(next) {
            Some(name) if name.as_ptr() == key => Some(next),
            _ => self.0.iter().position(|name| name.as_ptr() == key),
        }
    }
}

/// The name of an entry.
pub(crate) enum Key<'py> {
    Known(Known),
    Other(Bound<'py, PyAny>),
}

/// The entries of a record's dict, except nulls. Does not count references to known names,
/// because that would take as long as reading the value.
pub(crate) struct RecordEntries<'a, 'py> {
    dict: &'a Bound<'py, PyDict>,
    names: &'a Names,
    at: ffi::Py_ssize_t,
    /// The likely index of the next name.
    next: usize,
}

impl<'a, 'py> RecordEntries<'a, 'py> {
    /// # Safety
    ///
    /// Without the GIL the caller must be in a critical section of the dict.
    #[expect(unsafe_code, reason = "said above")]
    pub(crate) unsafe fn of(dict: &'a Bound<'py, PyDict>) -> Self {
        let names = Names::of(dict.py());
        Self {
            dict,
            names,
            at: 0,
            next: 0,
        }
    }
}

impl<'py> Iterator for RecordEntries<'_, 'py> {
    type Item = (Key<'py>, Bound<'py, PyAny>);

    #[expect(unsafe_code, reason = "PyO3's iterator counts a reference to each key")]
    #[inline(always)] // A plain call takes half as long again.
    fn next(&mut self) -> Option<Self::Item> {
        let (dict, py) = (self.dict.as_ptr(), self.dict.py());
        let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: `dict` is a dict. If it changed since the last call, entries may appear
        // twice or not at all.
        while unsafe { ffi::PyDict_Next(dict, &mut self.at, &mut key, &mut value) } != 0 {
            let place = self.names.place(key, self.next);
            self.next = place.unwrap_or(self.next) + 1;
            // SAFETY: the dict holds the value, and nothing has run since that could change that.
            let value = unsafe { Borrowed::from_ptr(py, value) };
            if !value.is_none() {
                let key = match place {
                    Some(place) => Key::Known(Known::ALL[place]),
                    // SAFETY: as above.
                    None => Key::Other(unsafe { Borrowed::from_ptr(py, key) }.to_owned()),
                };
                return Some((key, value.to_owned()));
            }
        }
        None
    }
}
