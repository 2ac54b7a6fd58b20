//! Passes the core's reports and rule changes to Python.
//!
//! The core may report on any thread and must not be blocked: the reporting
//! thread may be the worker, or a caller that holds the GIL. So each report gets
//! a dedicated thread that waits for the GIL without holding anything. There are
//! only a few reports a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use guard_agent::fork_generation;
use guard_agent::report::{Level, Report};
use pyo3::prelude::*;

/// The number of reports on their way into the interpreter.
static ON_THEIR_WAY: AtomicUsize = AtomicUsize::new(0);
/// The process in which they were counted.
static COUNTED_IN: AtomicU32 = AtomicU32::new(0);
/// No further report may start.
static SILENT: AtomicBool = AtomicBool::new(false);

const LOOK: Duration = Duration::from_millis(1);
const LOOKS: u32 = 300;

/// A report on its way, counted until dropped.
struct OnItsWay;

impl OnItsWay {
    /// Returns None once the interpreter is about to exit.
    fn set_out() -> Option<Self> {
        forget_the_parents();
        ON_THEIR_WAY.fetch_add(1, Ordering::SeqCst);
        let this = Self;
        (!SILENT.load(Ordering::SeqCst)).then_some(this)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        // A forked child starts again from zero, perhaps while a report is on its way.
        let less = |count: usize| count.checked_sub(1);
        let _ = ON_THEIR_WAY.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }
}

/// A hook that calls `callback(level, stage, message, batch_size)` with levels as in Python's
/// `logging`.
pub(crate) fn hook(callback: Py<PyAny>) -> impl Fn(&Report) + Send + Sync + 'static {
    let callback = Arc::new(callback);
    move |report| {
        let callback = Arc::clone(&callback);
        let level = match report.level {
            Level::Info => 20,
            Level::Warning => 30,
            Level::Error => 40,
        };
        let (stage, batch_size) = (report.stage, report.batch_size);
        let message = match report.suppressed {
            0 => report.message.clone(),
            more => format!("{} ({more} more like it held back)", report.message),
        };
        pass_on(move |py| callback.call1(py, (level, stage, message, batch_size)));
    }
}

/// A hook that calls `callback()`.
pub(crate) fn rules_hook(callback: Py<PyAny>) -> impl Fn() + Send + Sync + 'static {
    let callback = Arc::new(callback);
    move || {
        let callback = Arc::clone(&callback);
        pass_on(move |py| callback.call0(py));
    }
}

/// Calls into the interpreter from a dedicated thread.
fn pass_on(call: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static) {
    let Some(on_its_way) = OnItsWay::set_out() else {
        return;
    };
    let pass_on = move || {
        Python::try_attach(|py| {
            if let Err(error) = call(py) {
                error.write_unraisable(py, None);
            }
        });
        drop(on_its_way);
    };
    // If no thread can start, the log line is missing and the guard asks for rules at its
    // next poll; the ledger counts in any case.
    drop(
        thread::Builder::new()
            .name("guard-report".to_owned())
            .spawn(pass_on),
    );
}

/// Stops all further reports, and waits for those on their way. A thread that waits for
/// the GIL while the interpreter shuts down would never return.
#[pyfunction]
pub(crate) fn silence_reports(py: Python<'_>) {
    SILENT.store(true, Ordering::SeqCst);
    py.detach(let_arrive);
}

/// Waits for the reports on their way, a few hundred milliseconds at most. Call this
/// without the GIL.
pub(crate) fn let_arrive() {
    forget_the_parents();
    for _ in 0..LOOKS {
        if ON_THEIR_WAY.load(Ordering::SeqCst) == 0 {
            return;
        }
        thread::sleep(LOOK);
    }
}

/// A forked child does not wait for its parent's reports.
fn forget_the_parents() {
    let generation = fork_generation();
    if COUNTED_IN.swap(generation, Ordering::SeqCst) != generation {
        ON_THEIR_WAY.store(0, Ordering::SeqCst);
    }
}
