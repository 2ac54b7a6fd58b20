//! The Python class of the agent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use guard_agent::{Agent as Core, Kind, fork_generation, losses};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::awaitable::Ready;
use crate::buffer::bytes;
use crate::config;
use crate::convert::{Record, kind_of};
use crate::errors::{buffer_full, internal, value_error};
use crate::keyvalue::Calls;
use crate::report::{let_arrive, rules_hook};
use crate::stats;
use crate::transport::Requests;
use crate::wait::interruptibly;

/// The core's agent as a Python object.
///
/// Sending keeps the GIL, because it takes less time than releasing the GIL would. No
/// thread of the core waits for the GIL while it holds a lock.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Agent {
    core: Core,
    /// The return value of a call whose record was accepted.
    taken: Py<Ready>,
    /// Records go into the queue without a detour through Python.
    is_direct: AtomicBool,
    /// Python's `send(kind, record)`, the detour: it detects the host first, and knows a
    /// program's own buffer. It ends at `enqueue`, or at that buffer.
    send_by_python: Py<PyAny>,
    /// The process in which the agent was last used: see [`here`].
    used_in: AtomicU64,
    /// The Python callback that restarts event loops that no longer run.
    begin_again: Py<PyAny>,
}

impl Agent {
    /// Sends a record, through Python if needed. Returns None if the caller must wait for room.
    pub(crate) fn send(
        &self,
        kind: Kind,
        record: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Py<Ready>>> {
        let py = record.py();
        self.notice(py)?;
        if self.is_direct.load(Ordering::Relaxed) {
            return self.put(kind, record);
        }
        let sent = self.send_by_python.call1(py, (kind.key(), record))?;
        Ok(sent.extract(py)?)
    }

    fn put(&self, kind: Kind, record: &Bound<'_, PyAny>) -> PyResult<Option<Py<Ready>>> {
        match self.core.try_record(kind, Record(record)) {
            Ok(()) => Ok(Some(self.taken.clone_ref(record.py()))),
            Err(_) if self.core.blocks() => Ok(None),
            Err(full) => Err(buffer_full(record.py(), &full)),
        }
    }
}

impl Agent {
    /// Calls the core. A panic in it is counted, reported, and raised as a `RuntimeError`: PyO3
    /// would raise a `BaseException`. Call this without the GIL if the call takes long.
    fn call<T>(&self, work: impl FnOnce(&Core) -> T) -> PyResult<T> {
        self.core.guarded(work).ok_or_else(internal)
    }

    /// Calls the core in another thread. A signal ends the wait.
    fn wait<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> PyResult<T> {
        let core = self.core.clone();
        interruptibly(py, move || core.guarded(work))
    }

    /// Makes Python restart its loops on the first call in a forked child, because Python may not
    /// have noticed the fork. Does the same after the program closed the agent's descriptors.
    fn notice(&self, py: Python<'_>) -> PyResult<()> {
        let here = here();
        if self.used_in.load(Ordering::Relaxed) == here {
            return Ok(());
        }
        let before = self.used_in.swap(here, Ordering::AcqRel);
        if before != here {
            let is_forked = before >> 32 != here >> 32;
            self.begin_again.call1(py, (is_forked,))?;
        }
        Ok(())
    }
}

#[pymethods]
impl Agent {
    #[new]
    fn new(
        py: Python<'_>,
        config: &Bound<'_, PyAny>,
        report: Bound<'_, PyAny>,
        rules_changed: Bound<'_, PyAny>,
        begin_again: Py<PyAny>,
        send_by_python: Py<PyAny>,
    ) -> PyResult<Self> {
        let builder = config::builder(config, report.unbind(), None)?
            .on_rules_changed(rules_hook(rules_changed.unbind()));
        let core = py.detach(|| builder.build()).map_err(value_error)?;
        let taken = Py::new(py, Ready::NONE)?;
        let is_direct = AtomicBool::new(false);
        Ok(Self {
            core,
            taken,
            is_direct,
            send_by_python,
            used_in: AtomicU64::new(here()),
            begin_again,
        })
    }

    /// Python calls this first for work outside this object's methods.
    fn notice_fork(&self, py: Python<'_>) -> PyResult<()> {
        self.notice(py)
    }

    /// Sets whether records go into the queue without a detour through Python.
    fn set_direct(&self, is_direct: bool) {
        self.is_direct.store(is_direct, Ordering::Relaxed);
    }

    #[pyo3(signature = (config, report, rules_changed, transport, store))]
    fn reconfigure(
        &self,
        py: Python<'_>,
        config: &Bound<'_, PyAny>,
        report: Bound<'_, PyAny>,
        rules_changed: Bound<'_, PyAny>,
        transport: Option<&Requests>,
        store: Option<&Calls>,
    ) -> PyResult<()> {
        let mut builder = config::builder(config, report.unbind(), transport)?
            .on_rules_changed(rules_hook(rules_changed.unbind()));
        if let Some(calls) = store {
            builder = config::keep_in(builder, config, calls)?;
        }
        let outcome = py.detach(|| self.call(|core| core.reconfigure(builder)));
        outcome?.map_err(value_error)
    }

    #[pyo3(signature = (event, /))]
    fn send_event(&self, event: &Bound<'_, PyAny>) -> PyResult<Option<Py<Ready>>> {
        self.send(Kind::Event, event)
    }

    #[pyo3(signature = (metric, /))]
    fn send_metric(&self, metric: &Bound<'_, PyAny>) -> PyResult<Option<Py<Ready>>> {
        self.send(Kind::Metric, metric)
    }

    /// Puts a record into the queue: the end of the detour through Python.
    fn enqueue(&self, kind: &str, record: &Bound<'_, PyAny>) -> PyResult<Option<Py<Ready>>> {
        self.put(kind_of(kind)?, record)
    }

    /// Retries a record that a full queue refused. Returns None while the caller should keep
    /// waiting. Fails once the agent has stopped more than `stops` times, or when the queue
    /// accepted nothing for `patience` seconds.
    #[pyo3(signature = (kind, record, stops, patience))]
    fn try_again(
        &self,
        kind: &str,
        record: &Bound<'_, PyAny>,
        stops: u64,
        patience: Option<f64>,
    ) -> PyResult<Option<Py<Ready>>> {
        let outcome = self.core.try_again(kind_of(kind)?, Record(record), stops);
        let waits = || {
            let is_over = patience.is_some_and(|most| self.core.full_for() >= duration(most));
            self.core.blocks() && self.core.stops() == stops && !is_over
        };
        match outcome {
            Ok(()) => Ok(Some(self.taken.clone_ref(record.py()))),
            Err(_) if waits() => Ok(None),
            Err(full) => Err(buffer_full(record.py(), &full)),
        }
    }

    /// How often the agent has stopped.
    fn stops(&self) -> u64 {
        self.core.stops()
    }

    /// Removes the records of a kind from the queue and returns them.
    fn withdraw<'py>(&self, py: Python<'py>, kind: &str) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let kind = kind_of(kind)?;
        let withdrawn = py.detach(|| self.call(|core| core.withdraw(kind)));
        Ok(bytes(py, withdrawn?))
    }

    /// The JSON of a record for a buffer that Python supplies.
    fn encode_external<'py>(
        &self,
        kind: &str,
        record: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let kind = kind_of(kind)?;
        let encoded = self.call(|core| core.encode_external(kind, Record(record)))?;
        Ok(encoded.map(|encoded| PyBytes::new(record.py(), &encoded)))
    }

    fn external_returned(&self, kind: &str) -> PyResult<()> {
        let kind = kind_of(kind)?;
        self.call(|core| core.external_returned(kind))
    }

    fn external_delivered(&self, kind: &str, records: u64) -> PyResult<()> {
        let kind = kind_of(kind)?;
        self.call(|core| core.external_delivered(kind, records))
    }

    fn external_lost(&self, kind: &str, why: &str) -> PyResult<()> {
        let kind = kind_of(kind)?;
        self.call(|core| core.external_lost(kind, why))
    }

    fn external_kept(&self, kind: &str, records: usize, why: &str) -> PyResult<()> {
        let kind = kind_of(kind)?;
        self.call(|core| core.external_kept(kind, records, why))
    }

    fn wait_for_room(&self, py: Python<'_>, seconds: f64, stops: u64) -> PyResult<bool> {
        self.wait(py, move |core| core.wait_for_room(duration(seconds), stops))
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        self.notice(py)?;
        py.detach(|| self.call(Core::start))
    }

    fn stop(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        self.notice(py)?;
        self.wait(py, move |core| {
            let delivered = core.stop_within(duration(seconds));
            // A signal may end the process next, so let reports of undelivered records arrive now.
            let_arrive();
            delivered
        })
    }

    /// Shuts the agent down when the interpreter exits.
    fn close(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let closed = py.detach(|| self.call(|core| core.close_within(duration(seconds))));
        // Daemon threads may keep sending. Without this clone the interpreter would drop the
        // agent and wait for those records a second time.
        std::mem::forget(self.core.clone());
        closed
    }

    fn flush(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        self.notice(py)?;
        self.wait(py, move |core| core.flush(duration(seconds)))
    }

    fn rules(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.notice(py)?;
        let rules = self.wait(py, Core::rules)?;
        Ok(rules.map(|rules| rules.json.clone()))
    }

    /// Subscribes to the rules; `rules_changed` is called from now on.
    fn follow_rules(&self, py: Python<'_>) -> PyResult<()> {
        self.notice(py)?;
        py.detach(|| self.call(|core| drop(core.rules_updates())))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.call(Core::stats))?;
        stats::dict(py, &stats)
    }
}

/// Identifies this process and how often it has lost descriptors.
fn here() -> u64 {
    u64::from(fork_generation()) << 32 | u64::from(losses())
}

/// Converts seconds from Python.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}
