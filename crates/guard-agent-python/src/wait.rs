//! Waits that a signal can interrupt.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

use crate::errors::internal;

/// How long a signal may wait for its handler.
const LOOK: Duration = Duration::from_millis(50);

/// Runs blocking `work` in a thread and waits for it without the GIL. `work` returns None if the
/// core panicked.
///
/// Python handles signals during the wait. If a handler raises, as Ctrl-C's does, this
/// function raises too, and the rest of the work runs unattended.
///
/// # Errors
///
/// The exception of a signal handler. `RuntimeError` if the core panicked.
pub(crate) fn interruptibly<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> PyResult<T> {
    let (settle, mut settled) = sync_channel(1);
    let work = Arc::new(Mutex::new(Some(work)));
    let begin = {
        let work = Arc::clone(&work);
        move || {
            let work = work.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            work()
        }
    };
    let run = begin.clone();
    let started = thread::Builder::new()
        .name("guard-call".to_owned())
        .spawn(move || {
            if let Some(outcome) = run() {
                // The receiver is gone if a signal ended the wait.
                let _ = settle.send(outcome);
            }
        });
    if started.is_err() {
        // If no thread can start, do the work here; then no signal can interrupt it.
        return py.detach(begin).ok_or_else(internal);
    }
    loop {
        let looked;
        (looked, settled) = py.detach(move || (settled.recv_timeout(LOOK), settled));
        match looked {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => return Err(internal()),
        }
    }
}
