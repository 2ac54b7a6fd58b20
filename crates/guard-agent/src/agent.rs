//! The agent as its users hold it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use guard_wire::fields::Fields;
use guard_wire::value::Field;
use guard_wire::{Kind, SecurityEvent, SecurityMetric};
use jiff::Timestamp;

use crate::config::Config;
use crate::intake::{self, SendError};
use crate::lock;
use crate::report::Level;
use crate::rules::{Rules, RulesUpdates};
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
    /// When the last stop ended that left records behind.
    gave_up: Mutex<Option<Instant>>,
}

impl Agent {
    pub(crate) fn new(config: Config) -> Self {
        let core = Core::new(Shared::identified(config));
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
        let stops = self.stops();
        loop {
            match self.try_again(kind, fields, stops) {
                Err(_) if self.blocks() && self.stops() == stops => {
                    self.wait_for_room(ROOM_WAIT, stops);
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
    pub fn try_record(&self, kind: Kind, fields: impl Fields) -> Result<(), SendError> {
        let core = self.core();
        core.ensure_running();
        intake::take(&core.shared, kind, fields)
    }

    /// Like [`try_record`](Self::try_record), for a record that waits for room since the
    /// agent had stopped `stops` times: it starts no agent that was stopped meanwhile.
    ///
    /// # Errors
    ///
    /// As [`try_record`](Self::try_record).
    pub fn try_again(&self, kind: Kind, fields: impl Fields, stops: u64) -> Result<(), SendError> {
        let core = self.core();
        core.ensure_running_since(stops);
        intake::take(&core.shared, kind, fields)
    }

    /// Whether a full buffer makes callers wait.
    pub fn blocks(&self) -> bool {
        intake::blocks(&self.core().shared)
    }

    /// Waits until the buffer has room for the record that it refused last, at most
    /// `timeout`; whether it has. Gives up once the agent has stopped more than `stops` times.
    pub fn wait_for_room(&self, timeout: Duration, stops: u64) -> bool {
        let core = self.core();
        core.shared.queue.wait_for_room(timeout, stops)
    }

    /// How often the agent was stopped. Who waits for room gives up when it changes.
    pub fn stops(&self) -> u64 {
        self.core().shared.queue.releases()
    }

    /// For how long the buffer has refused every record; zero if it took the last one.
    pub fn full_for(&self) -> Duration {
        let shared = &self.core().shared;
        let since = shared.queue.full_since();
        since.map_or(Duration::ZERO, |since| {
            shared.clock().now().saturating_duration_since(since)
        })
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
    /// delivered or lost, at most `timeout`; whether it is. What memory had no room
    /// for and rests in the store alone is not waited for. Batches that wait
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
    /// allows, and ends the worker; whether memory is empty. With a store what
    /// could not be delivered rests there, synced; without one it stays queued: another
    /// [`start`](Self::start), or another record, goes on with it. What one stop has just tried in
    /// vain the next does not try again, nor does [`close`](Self::close), within the same time.
    pub fn stop(&self) -> bool {
        let core = self.core();
        core.stop(core.shared.config.settings.shutdown_timeout, true)
    }

    /// Like [`stop`](Self::stop), within another time than the shutdown timeout.
    pub fn stop_within(&self, timeout: Duration) -> bool {
        self.core().stop(timeout, true)
    }

    /// Stops for good: what can neither be delivered nor saved within the shutdown
    /// timeout is counted as lost. That makes room for records that wait for it: their
    /// callers are not refused while the process ends.
    pub fn close(&self) {
        self.close_within(self.core().shared.config.settings.shutdown_timeout);
    }

    /// Like [`close`](Self::close), within another time than the shutdown timeout.
    pub fn close_within(&self, timeout: Duration) {
        let core = self.core();
        if !core.stop(timeout, false) {
            let lost = core.shared.queue.abandon();
            core.shared.report(Level::Error, "worker", "stopped", || {
                format!(
                    "the process ended before {lost} record(s) could be delivered: lost; end the \
                     backend after its applications, or set spool_dir"
                )
            });
        }
        core.shared.durability.close();
    }

    /// The rules in force; nothing when the backend has none, or none could be
    /// had. The first call has the rules followed from then on, and waits for an
    /// answer, at most the request timeout. Once rules are known it answers at
    /// once; when they are older than their time to live, and no held request
    /// would tell of a change, the backend is asked in the background.
    pub fn rules(&self) -> Option<Arc<Rules>> {
        let core = self.core();
        let shared = core.follow_rules();
        let wall = Timestamp::try_from(shared.clock().wall()).unwrap_or_default();
        let patience = shared.config.settings.timeout + Duration::from_secs(1);
        shared.rules.ask(shared.clock().now(), wall, patience)
    }

    /// Tells of rules that come into force, and has them followed from now on.
    ///
    /// ```no_run
    /// # async fn example(agent: guard_agent::Agent) {
    /// let mut updates = agent.rules_updates();
    /// while updates.changed().await {
    ///     match updates.current() {
    ///         Some(rules) => println!("rules version {}", rules.document.version),
    ///         None => println!("no rules any more"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn rules_updates(&self) -> RulesUpdates {
        self.core().follow_rules().rules.updates()
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
    pub(crate) fn adopt(&self, config: Config) {
        let core = self.core();
        let (old, new) = (&core.shared.config.settings, &config.settings);
        let install_id = if old.install_id == new.install_id {
            core.shared.install_id.clone()
        } else {
            install_id::resolve(None, new.install_id.as_deref()).id
        };
        let next = Arc::new(Core::new(core.shared.reconfigured(config, install_id)));
        // First of all: a record that came between would start the old one again.
        self.inner.core.store(Arc::clone(&next));
        let was_running = core.end_worker(&mut lock(&core.worker), core.shared.clock().now());
        if was_running {
            next.ensure_running();
        }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.core().shared)
    }

    /// The core of this process: after a fork, a fresh one.
    fn core(&self) -> Guard<Arc<Core>> {
        let core = self.inner.core.load();
        if core.lineage == fork::lineage() {
            return core;
        }
        self.renew(Guard::into_inner(core));
        self.inner.core.load()
    }

    /// Leaves the parent's core behind.
    fn renew(&self, of_parent: Arc<Core>) {
        let shared = &of_parent.shared;
        let fresh = Core::new(Shared::new(
            shared.config.clone(),
            shared.install_id.clone(),
        ));
        // A guard's thread that asked for rules may not exist here.
        if shared.rules.is_wanted() {
            fresh.shared.rules.want();
        }
        let cores = &self.inner.core;
        let seen = cores.compare_and_swap(&of_parent, Arc::new(fresh));
        // The parent's core is left alone for ever: its locks may be held by
        // threads that do not exist here, its worker is not ours to stop.
        if Arc::ptr_eq(&seen, &of_parent) {
            of_parent.shared.durability.let_go();
            std::mem::forget(of_parent);
        }
    }
}

impl Core {
    fn new(shared: Shared) -> Self {
        Self {
            lineage: fork::lineage(),
            shared: Arc::new(shared),
            running: Arc::default(),
            worker: Mutex::new(None),
            gave_up: Mutex::new(None),
        }
    }

    fn ensure_running(&self) {
        if !self.is_running() {
            self.start(&mut lock(&self.worker));
        }
    }

    /// Starts the worker unless the agent has stopped more than `stops` times.
    fn ensure_running_since(&self, stops: u64) {
        if !self.is_running() {
            let mut worker = lock(&self.worker);
            if self.shared.queue.releases() == stops {
                self.start(&mut worker);
            }
        }
    }

    fn start(&self, worker: &mut Option<Worker>) {
        if self.is_running() {
            return;
        }
        if let Some(failed) = worker.take() {
            failed.stop(&self.shared, self.shared.clock().now());
        }
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
    fn end_worker(&self, worker: &mut Option<Worker>, deadline: Instant) -> bool {
        let ended = worker.take();
        let was_running = ended.is_some();
        if let Some(ended) = ended {
            ended.stop(&self.shared, deadline);
        }
        self.running.store(false, Ordering::Release);
        was_running
    }

    /// Delivers what it can within `timeout` and ends the worker; whether memory is empty.
    /// With `release` those who wait for room give up.
    fn stop(&self, timeout: Duration, release: bool) -> bool {
        let shared = &self.shared;
        if self.has_just_given_up() {
            return false;
        }
        if shared.queue.fill().items > 0 {
            self.ensure_running();
        }
        let deadline = shared.clock().now() + timeout;
        // Held to the end: what is queued meanwhile, or waits for room, starts no other worker.
        let mut worker = lock(&self.worker);
        self.end_worker(&mut worker, deadline);
        if release {
            shared.queue.release();
        }
        drop(worker);
        let left = shared.queue.fill().items;
        *lock(&self.gave_up) = (left > 0).then(|| shared.clock().now());
        if left > 0 {
            shared.warn("worker", "stop", || {
                format!(
                    "stopped with {left} record(s) undelivered; they wait in memory; see why the \
                     backend does not take them"
                )
            });
        }
        left == 0
    }

    /// Whether a stop left records behind a moment ago, and nothing came in since: whoever
    /// ends a process may ask several times, and waits once.
    fn has_just_given_up(&self) -> bool {
        let now = self.shared.clock().now();
        let within = self.shared.config.settings.shutdown_timeout;
        !self.is_running()
            && lock(&self.gave_up).is_some_and(|at| now.saturating_duration_since(at) < within)
    }

    fn follow_rules(&self) -> &Shared {
        self.shared.rules.want();
        self.ensure_running();
        &self.shared
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let core = self.core.load_full();
        if core.lineage == fork::lineage() {
            core.stop(core.shared.config.settings.shutdown_timeout, false);
            core.shared.durability.close();
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
