//! Idempotency keys: random UUIDs, made for every event.
//!
//! Made here rather than by Python's `uuid4`: in a fifth of its time, and
//! without running Python code. pydantic calls this amid its own Rust frames,
//! and a daemon thread that enters Python code there while the interpreter ends
//! would take the process down.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyAny;
use pyo3::{PyTypeInfo, intern};
use uuid::Builder;

use crate::types;

const KEY_BYTES: usize = 16;
/// Random bytes are asked of the system for this many keys at once.
const POOL_KEYS: usize = 64;

/// Counts the forks that led to this process.
static FORKS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::EMPTY) };
}

/// Random bytes at hand.
struct Pool {
    bytes: [u8; KEY_BYTES * POOL_KEYS],
    used: usize,
    /// [`FORKS`] when it was filled: a child must not use what its parent uses.
    forks: u64,
}

impl Pool {
    const EMPTY: Self = Self {
        bytes: [0; KEY_BYTES * POOL_KEYS],
        used: KEY_BYTES * POOL_KEYS,
        forks: 0,
    };

    fn take(&mut self) -> Result<[u8; KEY_BYTES], getrandom::Error> {
        let forks = FORKS.load(Ordering::Relaxed);
        if self.forks != forks || self.used >= self.bytes.len() {
            getrandom::fill(&mut self.bytes)?;
            self.used = 0;
            self.forks = forks;
        }
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&self.bytes[self.used..self.used + KEY_BYTES]);
        self.used += KEY_BYTES;
        Ok(key)
    }
}

/// In a forked child: what the parent had at hand is the parent's.
pub(crate) fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A random `uuid.UUID` of version 4.
#[pyfunction]
pub(crate) fn new_key(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let random = POOL
        .with(|pool| pool.borrow_mut().take())
        .map_err(|error| PyOSError::new_err(format!("no random bytes from the system: {error}")))?;
    let number = Builder::from_random_bytes(random).into_uuid().as_u128();
    let parts = parts(py)?;
    let key = parts.new.bind(py).call1((types::uuid(py)?,))?;
    let set = parts.set.bind(py);
    set.call1((&key, intern!(py, "int"), number))?;
    set.call1((&key, intern!(py, "is_safe"), &parts.unknown))?;
    Ok(key)
}

/// What a UUID is put together with.
struct Parts {
    /// `object.__new__`
    new: Py<PyAny>,
    /// `object.__setattr__`: a UUID lets nobody else set its fields.
    set: Py<PyAny>,
    /// `uuid.SafeUUID.unknown`
    unknown: Py<PyAny>,
}

fn parts(py: Python<'_>) -> PyResult<&Parts> {
    static PARTS: PyOnceLock<Parts> = PyOnceLock::new();
    PARTS.get_or_try_init(py, || {
        let object = PyAny::type_object(py);
        let safe = py.import("uuid")?.getattr("SafeUUID")?;
        Ok(Parts {
            new: object.getattr("__new__")?.unbind(),
            set: object.getattr("__setattr__")?.unbind(),
            unknown: safe.getattr("unknown")?.unbind(),
        })
    })
}
