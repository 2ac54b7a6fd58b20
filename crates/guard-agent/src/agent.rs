//! The agent as its users hold it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use guard_wire::value::Field;
use guard_wire::{Kind, SecurityEvent, SecurityMetric};
use jiff::Timestamp;

use crate::config::{AgentBuilder, Config, ConfigError};
use crate::intake::{self, SendError};
use crate::lock;
use crate::report::Level;
use crate::rules::Rules;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::worker::Worker;
use crate::{fork, install_id};

/// How long one wait for room lasts before the agent looks around again.
const ROOM_WAIT: Duration = Duration::from_millis(500);

/// Collects records and delivers them. Cheap to clone; all clones are one
/// agent. Dropping the last one stops it, which may take the shutdown timeout.
///
/// Safe to use on both sides of a fork: the child gets a queue and a worker of
/// its own, and what the parent had accepted is sent by the parent, once.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    core: ArcSwap<Core>,
}

/// The agent in one process.
struct Core {
    lineage: u32,
    shared: Arc<Shared>,
    /// Whether the worker was started and not stopped; read without the lock.
    running: Arc<AtomicBool>,
    worker: Mutex<Option<Worker>>,
}

impl Agent {
    /// Starts to configure an agent; the key is the only thing required.
    pub fn builder(api_key: impl Into<String>) -> AgentBuilder {
        AgentBuilder::new(api_key.into())
    }

    pub(crate) fn new(config: Config) -> Self {
        let install_id = identify(&config);
        let core = Core::new(Shared::new(config, install_id));
        let core = ArcSwap::from_pointee(core);
        Self {
            inner: Arc::new(Inner { core }),
        }
    }

    /// Queues an event. Never blocks, but under
    /// [`OverflowPolicy::Block`](crate::OverflowPolicy::Block). Never touches
    /// the network. An event that cannot be encoded is counted and reported.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the buffer is full, under
    /// [`OverflowPolicy::Raise`](crate::OverflowPolicy::Raise), or when the
    /// agent stopped while the call waited for room.
    pub fn send_event(&self, event: &SecurityEvent) -> Result<(), SendError> {
        self.record(Kind::Event, event.fields())
    }

    /// Queues a metric, as [`send_event`](Self::send_event) does an event.
    ///
    /// # Errors
    ///
    /// As [`send_event`](Self::send_event).
    pub fn send_metric(&self, metric: &SecurityMetric) -> Result<(), SendError> {
        self.record(Kind::Metric, metric.fields())
    }

    /// Queues a record given as fields: the one intake for both kinds.
    ///
    /// # Errors
    ///
    /// As [`send_event`](Self::send_event).
    pub fn record(&self, kind: Kind, fields: &[Field<'_>]) -> Result<(), SendError> {
        loop {
            match self.try_record(kind, fields) {
                Err(_) if self.blocks() => {
                    if !self.wait_for_room(ROOM_WAIT) && !self.is_running() {
                        return intake::take(&self.core().shared, kind, fields);
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Like [`record`](Self::record), but under
    /// [`OverflowPolicy::Block`](crate::OverflowPolicy::Block) a full buffer is
    /// an error at once.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the buffer is full and nothing may be dropped for room.
    pub fn try_record(&self, kind: Kind, fields: &[Field<'_>]) -> Result<(), SendError> {
        let core = self.core();
        core.ensure_running();
        intake::take(&core.shared, kind, fields)
    }

    /// Whether a full buffer makes callers wait.
    pub fn blocks(&self) -> bool {
        intake::blocks(&self.core().shared)
    }

    /// Waits until the buffer has room for a record, at most `timeout`; whether
    /// it has. Gives up when the agent stops.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        self.core().shared.queue.wait_for_room(0, timeout)
    }

    /// Starts the worker now, rather than with the first record. Does nothing
    /// when it runs.
    pub fn start(&self) {
        self.core().ensure_running();
    }

    /// Whether the worker runs.
    pub fn is_running(&self) -> bool {
        self.core().is_running()
    }

    /// Sends everything that was queued before the call and waits until it is
    /// delivered or lost, at most `timeout`; whether it is. Batches that wait
    /// for another attempt are tried at once.
    pub fn flush(&self, timeout: Duration) -> bool {
        let core = self.core();
        let shared = &core.shared;
        if shared.queue.fill().items == 0 {
            return true;
        }
        core.ensure_running();
        let generation = shared.queue.start_flush();
        shared.kick();
        shared.queue.wait_for_flush(generation, timeout)
    }

    /// Delivers what was queued before the call, as far as the shutdown timeout
    /// allows, and ends the worker; whether nothing is left. What is left stays
    /// queued: another [`start`](Self::start), or another record, goes on with it.
    pub fn stop(&self) -> bool {
        self.core().stop()
    }

    /// Stops for good: what cannot be delivered within the shutdown timeout is
    /// counted as lost.
    pub fn close(&self) {
        let core = self.core();
        if core.stop() {
            return;
        }
        let lost = core.shared.queue.abandon();
        core.shared.report(Level::Error, "worker", "stopped", || {
            format!("the process ended before {lost} record(s) could be delivered: lost")
        });
    }

    /// The rules in force, asking the backend when what is known is older than
    /// its time to live. Blocks for at most the request timeout. Nothing when
    /// the backend has none, or none could be had.
    pub fn rules(&self) -> Option<Arc<Rules>> {
        let core = self.core();
        let shared = &core.shared;
        let is_fresh = || shared.rules.is_fresh(shared.clock().now());
        if !is_fresh() {
            let _only_one = lock(&shared.rules.fetching);
            if !is_fresh() {
                core.fetch_rules();
            }
        }
        let now = Timestamp::try_from(shared.clock().wall()).unwrap_or_default();
        shared.rules.current(now)
    }

    /// The numbers of this moment.
    pub fn stats(&self) -> Stats {
        let core = self.core();
        Stats::of(&core.shared, core.is_running())
    }

    /// The identity that goes with every request.
    pub fn install_id(&self) -> String {
        self.core().shared.install_id.clone()
    }

    /// Puts another configuration in force. Records and numbers are kept; a
    /// running worker is replaced.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; the old configuration then stays in force.
    pub fn reconfigure(&self, builder: AgentBuilder) -> Result<(), ConfigError> {
        let config = builder.validate()?;
        let core = self.core();
        let install_id = identify(&config);
        let next = Arc::new(Core::new(core.shared.reconfigured(config, install_id)));
        // First of all: a record that came between would start the old one again.
        self.inner.core.store(Arc::clone(&next));
        if core.end_worker(core.shared.clock().now()) {
            next.ensure_running();
        }
        Ok(())
    }

    /// The core of this process: after a fork, a fresh one.
    fn core(&self) -> Arc<Core> {
        let core = self.inner.core.load_full();
        if core.lineage == fork::lineage() {
            return core;
        }
        let shared = &core.shared;
        let fresh = Core::new(Shared::new(
            shared.config.clone(),
            shared.install_id.clone(),
        ));
        let seen = self.inner.core.compare_and_swap(&core, Arc::new(fresh));
        // The parent's core is left alone for ever: its locks may be held by
        // threads that do not exist here, its worker is not ours to stop.
        if Arc::ptr_eq(&seen, &core) {
            std::mem::forget(core);
        }
        self.inner.core.load_full()
    }
}

impl Core {
    fn new(shared: Shared) -> Self {
        Self {
            lineage: fork::lineage(),
            shared: Arc::new(shared),
            running: Arc::default(),
            worker: Mutex::new(None),
        }
    }

    fn ensure_running(&self) {
        if self.running.load(Ordering::Acquire) {
            return;
        }
        let mut worker = lock(&self.worker);
        if self.running.load(Ordering::Acquire) {
            return;
        }
        self.shared.queue.release(false);
        self.running.store(true, Ordering::Release);
        match Worker::start(Arc::clone(&self.shared), Arc::clone(&self.running)) {
            Ok(started) => *worker = Some(started),
            Err(error) => {
                self.running.store(false, Ordering::Release);
                self.shared.error("worker", "worker_start", || {
                    format!("the worker cannot start: {error}; records queue up until it can")
                });
            }
        }
    }

    fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Ends the worker, which may deliver until `deadline`; whether there was one.
    fn end_worker(&self, deadline: Instant) -> bool {
        // Held to the end: what is queued meanwhile starts no other worker.
        let mut worker = lock(&self.worker);
        let ended = worker.take();
        let was_running = ended.is_some();
        if let Some(ended) = ended {
            ended.stop(&self.shared, deadline);
        }
        self.running.store(false, Ordering::Release);
        was_running
    }

    fn stop(&self) -> bool {
        let shared = &self.shared;
        if shared.queue.fill().items > 0 {
            self.ensure_running();
        }
        self.end_worker(shared.clock().now() + shared.config.settings.shutdown_timeout);
        let worker = lock(&self.worker);
        if worker.is_none() {
            shared.queue.release(true);
        }
        drop(worker);
        let left = shared.queue.fill().items;
        if left > 0 {
            shared.warn("worker", "stop", || {
                format!("stopped with {left} record(s) undelivered; they wait in memory")
            });
        }
        left == 0
    }

    fn fetch_rules(&self) {
        self.ensure_running();
        let timeout = self.shared.config.settings.timeout + Duration::from_secs(1);
        let order = lock(&self.worker).as_ref().and_then(Worker::fetch_rules);
        if let Some(done) = order {
            // Done or not: what is known then is what counts.
            let _ = done.recv_timeout(timeout);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let core = self.core.load_full();
        if core.lineage == fork::lineage() {
            core.stop();
        } else {
            std::mem::forget(core);
        }
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

fn identify(config: &Config) -> String {
    let found = install_id::resolve(None, config.settings.install_id.as_deref());
    if let Some(error) = found.not_kept {
        tracing::info!("install id not kept: {error}; this process uses a fresh one");
    }
    found.id
}
