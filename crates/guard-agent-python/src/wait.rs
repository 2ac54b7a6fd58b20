//! Waits that a signal can end.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// How long a signal may wait for its handler.
const LOOK: Duration = Duration::from_millis(50);

/// Does blocking `work` in a thread and waits for it, with the interpreter released.
///
/// Python handles signals while it waits. When a handler raises, as Ctrl-C's does, so does
/// this, and nobody waits for the rest of the work.
///
/// # Errors
///
/// What a signal's handler raised. `RuntimeError` if the work panicked.
pub(crate) fn interruptibly<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (settle, mut settled) = sync_channel(1);
    let work = Arc::new(Mutex::new(Some(work)));
    let begin = {
        let work = Arc::clone(&work);
        move || {
            Some(work
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()?())
        }
    };
    let run = begin.clone();
    let started = thread::Builder::new()
        .name("guard-call".to_owned())
        .spawn(move || {
            if let Some(outcome) = run() {
                // Nobody listens any more if a signal ended the wait.
                let _ = settle.send(outcome);
            }
        });
    if started.is_err() {
        // Without another thread the work is still done, though no signal ends it.
        return py.detach(begin).ok_or_else(failed);
    }
    loop {
        let looked;
        (looked, settled) = py.detach(move || (settled.recv_timeout(LOOK), settled));
        match looked {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => return Err(failed()),
        }
    }
}

fn failed() -> PyErr {
    PyRuntimeError::new_err("the agent failed in this call and goes on; please report this")
}
