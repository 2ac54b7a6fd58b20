//! Idempotency keys: random UUIDs, created for every event.
//!
//! This code replaces Python's `uuid4`: it takes a fifth of the time and runs no
//! Python code. pydantic calls it between its own Rust frames. If a daemon thread entered
//! Python code there while the interpreter shuts down, the process would crash.

use std::cell::RefCell;
use std::ptr;

use guard_agent::fork_generation;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};
use pyo3::{ffi, intern};
use uuid::Builder;

use crate::{once, types};

const KEY_BYTES: usize = 16;
/// The number of keys for which the system is asked for random bytes at once.
const POOL_KEYS: usize = 64;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::EMPTY) };
}

/// Unused random bytes.
struct Pool {
    bytes: [u8; KEY_BYTES * POOL_KEYS],
    used: usize,
    /// The process that filled it: a child must not use its parent's bytes.
    generation: u32,
}

impl Pool {
    const EMPTY: Self = Self {
        bytes: [0; KEY_BYTES * POOL_KEYS],
        used: KEY_BYTES * POOL_KEYS,
        generation: 0,
    };

    fn take(&mut self) -> Result<[u8; KEY_BYTES], getrandom::Error> {
        let generation = fork_generation();
        if self.generation != generation || self.used >= self.bytes.len() {
            getrandom::fill(&mut self.bytes)?;
            self.used = 0;
            self.generation = generation;
        }
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&self.bytes[self.used..self.used + KEY_BYTES]);
        self.used += KEY_BYTES;
        Ok(key)
    }
}

/// A random `uuid.UUID` of version 4.
#[pyfunction]
pub(crate) fn new_key(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let random = POOL
        .with(|pool| pool.borrow_mut().take())
        .map_err(|error| PyOSError::new_err(format!("no random bytes from the system: {error}")))?;
    let number = Builder::from_random_bytes(random).into_uuid().as_u128();
    let key = instance(types::uuid(py)?)?;
    set(&key, intern!(py, "int"), number.into_pyobject(py)?.as_any())?;
    set(&key, intern!(py, "is_safe"), unknown(py)?)?;
    Ok(key)
}

/// `uuid.SafeUUID.unknown`
fn unknown(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static UNKNOWN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let unknown = once::get_or_make(&UNKNOWN, py, || {
        let safe = py.import("uuid")?.getattr("SafeUUID")?;
        safe.getattr("unknown").map(Bound::unbind)
    })?;
    Ok(unknown.bind(py))
}

/// `object.__new__(class)`
#[expect(
    unsafe_code,
    reason = "PyO3 has no safe form but the call, which takes a multiple of the time"
)]
fn instance<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: `class` is a live type, and its allocator asks for no arguments; the
    // result is a new reference, or null with an exception set.
    unsafe {
        let made = ffi::PyType_GenericNew(class.as_type_ptr(), ptr::null_mut(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(class.py(), made)
    }
}

/// `object.__setattr__(object, name, value)`: the only way to set a UUID's fields.
#[expect(
    unsafe_code,
    reason = "PyO3 has no safe form but the call, which takes a multiple of the time"
)]
fn set(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    // SAFETY: all three are live objects, which the function borrows.
    let outcome =
        unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) };
    if outcome == 0 {
        return Ok(());
    }
    Err(PyErr::fetch(object.py()))
}
