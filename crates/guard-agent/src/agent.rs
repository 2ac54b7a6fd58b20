//! The agent's public interface.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use guard_wire::fields::Fields;
use guard_wire::value::Field;
use guard_wire::{Kind, SecurityEvent, SecurityMetric};
use jiff::Timestamp;

use crate::config::Config;
use crate::error::SendError;
use crate::intake;
use crate::process::Core;
use crate::rules::{Rules, RulesUpdates};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::{fork, install_id, threads};

/// Collects records and delivers them. Cheap to clone; all clones are one agent. Dropping
/// the last clone closes the agent, which may take the shutdown timeout. Rust never drops a
/// `static`, and [`std::process::exit`] drops nothing: see [`close_on_drop`](Self::close_on_drop).
///
/// Safe to use on both sides of a fork: the child gets its own queue and worker. The parent
/// sends the records that it accepted, once.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    core: ArcSwap<Core>,
}

impl Agent {
    pub(crate) fn new(config: Config) -> Self {
        let core = Core::new(Shared::identified(config));
        let core = ArcSwap::from_pointee(core);
        Self {
            inner: Arc::new(Inner { core }),
        }
    }

    /// Queues an event. Blocks only under [`OverflowPolicy::Block`](crate::OverflowPolicy::Block),
    /// and never touches the network. An event that cannot be encoded is counted and reported.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the buffer is full under
    /// [`OverflowPolicy::Raise`](crate::OverflowPolicy::Raise), or when the agent stopped while
    /// the call waited for room.
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

    /// Queues a record given as fields. Both kinds use this function.
    ///
    /// # Errors
    ///
    /// As [`send_event`](Self::send_event).
    pub fn record(&self, kind: Kind, fields: &[Field<'_>]) -> Result<(), SendError> {
        let stops = self.stops();
        loop {
            match self.try_again(kind, fields, stops) {
                Err(_) if self.blocks() && self.stops() == stops && self.may_wait() => {
                    self.core().shared.queue.wait_for_room(None, stops);
                }
                outcome => return outcome,
            }
        }
    }

    /// Like [`record`](Self::record), but under
    /// [`OverflowPolicy::Block`](crate::OverflowPolicy::Block) a full buffer causes an error at
    /// once. If `fields` or the agent panics, the record is lost: it is counted as invalid and
    /// reported.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the buffer is full and the policy allows no drop.
    pub fn try_record(&self, kind: Kind, fields: impl Fields) -> Result<(), SendError> {
        let core = self.core();
        intake::guarded(&core.shared, kind, || {
            let outcome = intake::take(&core.shared, kind, fields);
            self.ensure_running_after(&core, None);
            outcome
        })
    }

    /// Like [`try_record`](Self::try_record), for a record that waited for room. `stops` is the
    /// value of [`stops`](Self::stops) when the wait began. If the agent was stopped since, the
    /// call does not start it again unless the record is accepted.
    ///
    /// # Errors
    ///
    /// As [`try_record`](Self::try_record).
    pub fn try_again(&self, kind: Kind, fields: impl Fields, stops: u64) -> Result<(), SendError> {
        let core = self.core();
        intake::guarded(&core.shared, kind, || {
            let outcome = intake::take(&core.shared, kind, fields);
            self.ensure_running_after(&core, outcome.err().map(|_| stops));
            outcome
        })
    }

    /// True if callers wait when the buffer is full.
    pub fn blocks(&self) -> bool {
        intake::blocks(&self.core().shared)
    }

    /// Waits at most `timeout` until the buffer has room for the record that it refused last.
    /// Returns true if it has. Gives up once the agent has stopped more than `stops` times.
    pub fn wait_for_room(&self, timeout: Duration, stops: u64) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.core().shared.queue.wait_for_room(deadline, stops)
    }

    /// Number of times the agent was stopped. Callers that wait for room give up when it changes.
    pub fn stops(&self) -> u64 {
        self.core().shared.queue.releases()
    }

    /// How long the buffer has refused every record; zero if it accepted the last one.
    pub fn full_for(&self) -> Duration {
        let shared = &self.core().shared;
        let since = shared.queue.full_since();
        since.map_or(Duration::ZERO, |since| {
            shared.clock().now().saturating_duration_since(since)
        })
    }

    /// Starts the worker now instead of with the first record. Does nothing if it runs.
    pub fn start(&self) {
        self.ensure_running();
    }

    /// True if the worker runs.
    pub fn is_running(&self) -> bool {
        self.core().is_running()
    }

    /// Sends all records queued before the call, and waits at most `timeout` until they are
    /// delivered or lost. Returns true if they are. It does not wait for records that are only
    /// in the store because memory had no room for them. Batches that wait for another attempt
    /// are tried at once.
    ///
    /// On the agent's own threads, as in [`on_report`](crate::AgentBuilder::on_report), it sends
    /// nothing and returns false at once: the thread would wait for itself.
    pub fn flush(&self, timeout: Duration) -> bool {
        let core = self.core();
        let shared = &core.shared;
        if shared.queue.fill().items == 0 {
            return true;
        }
        if !self.may_wait() {
            return false;
        }
        self.ensure_running();
        let generation = shared.queue.start_flush();
        shared.interrupt_backoff();
        shared.queue.wait_for_flush(generation, timeout)
    }

    /// Delivers the records queued before the call, as far as the shutdown timeout allows, and
    /// ends the worker. Returns true if all of them were delivered or lost. With a store,
    /// undelivered records stay in it, synced. Without one they stay queued, and the next
    /// [`start`](Self::start) or record continues with them. If a stop has just failed to deliver
    /// records, another stop or [`close`](Self::close) within the shutdown timeout does not try
    /// them again.
    ///
    /// A record that arrives during or after the stop starts the agent again.
    ///
    /// On the agent's own threads, as in [`on_report`](crate::AgentBuilder::on_report), it stops
    /// nothing and returns false: the thread would wait for itself.
    pub fn stop(&self) -> bool {
        let core = self.core();
        core.stop(core.shared.config.settings.shutdown_timeout)
    }

    /// Like [`stop`](Self::stop), with `timeout` instead of the shutdown timeout.
    pub fn stop_within(&self, timeout: Duration) -> bool {
        self.core().stop(timeout)
    }

    /// Stops for good. Records that can neither be delivered nor saved within the shutdown
    /// timeout are counted as lost. This makes room for callers that wait for it, so they are
    /// not refused while the process ends. Records that arrive while it delivers are delivered
    /// too. Those that arrive during that second delivery are not.
    pub fn close(&self) {
        self.close_within(self.core().shared.config.settings.shutdown_timeout);
    }

    /// Like [`close`](Self::close), with `timeout` instead of the shutdown timeout.
    pub fn close_within(&self, timeout: Duration) {
        if self.may_wait() {
            self.core().close(timeout);
        }
    }

    /// Returns a guard that closes the agent when it is dropped, for example at the end of
    /// `main`. Use it for an agent in a `static`, which Rust never drops. Return an [`ExitCode`]
    /// from `main`: [`std::process::exit`] and [`std::process::abort`] drop nothing, so queued
    /// records are lost without a message. If you must call them, call [`close`](Self::close) first.
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    /// use std::sync::LazyLock;
    ///
    /// use guard_agent::{Agent, SecurityEvent};
    ///
    /// static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    ///     let built = Agent::builder("an-api-key-of-yours").build();
    ///     built.expect("a valid configuration")
    /// });
    ///
    /// fn main() -> ExitCode {
    ///     let _delivers = AGENT.close_on_drop();
    ///     let sent = AGENT.send_event(&SecurityEvent::new("ip_banned"));
    ///     if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    /// }
    /// ```
    ///
    /// [`ExitCode`]: std::process::ExitCode
    #[must_use = "it closes the agent where it is dropped"]
    pub fn close_on_drop(&self) -> CloseOnDrop {
        CloseOnDrop(self.clone())
    }

    /// Returns the rules in force; `None` if the backend has none, or none could be fetched. The
    /// first call starts following the rules and waits for an answer, at most the request
    /// timeout. Once rules are known, it returns at once. If they are older than their time to
    /// live and no held request would report a change, the backend is asked in the background.
    pub fn rules(&self) -> Option<Arc<Rules>> {
        let shared = self.follow_rules();
        let wall = Timestamp::try_from(shared.clock().wall()).unwrap_or_default();
        let patience = if self.may_wait() {
            shared.config.settings.timeout + Duration::from_secs(1)
        } else {
            Duration::ZERO
        };
        shared.rules.ask(shared.clock().now(), wall, patience)
    }

    /// Notifies about rules that come into force, and follows the rules from now on.
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
        self.follow_rules().rules.updates()
    }

    /// The current statistics.
    pub fn stats(&self) -> Stats {
        let core = self.core();
        Stats::of(&core.shared, core.is_running())
    }

    /// Runs `call`, for packages built on this crate whose callers must not see a panic. If it
    /// panics, that is counted as an internal error and reported, and the result is `None`.
    pub fn guarded<T>(&self, call: impl FnOnce(&Self) -> T) -> Option<T> {
        self.shared().guarded_call(|| call(self))
    }

    /// The install id, sent with every request.
    pub fn install_id(&self) -> String {
        self.core().shared.install_id.clone()
    }

    /// Applies another configuration. Records and statistics are kept. A running worker is
    /// replaced.
    pub(crate) fn adopt(&self, config: Config) {
        let core = self.core();
        let (old, new) = (&core.shared.config.settings, &config.settings);
        let install_id = if old.install_id == new.install_id {
            core.shared.install_id.clone()
        } else {
            install_id::resolve(None, new.install_id.as_deref()).id
        };
        let next = Arc::new(Core::new(core.shared.reconfigured(config, install_id)));
        next.replace(&core, || self.inner.core.store(Arc::clone(&next)));
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.core().shared)
    }

    fn ensure_running(&self) {
        self.ensure_running_after(&self.core(), None);
    }

    /// Starts the worker after a record was added to `core`, unless it runs or the agent has
    /// stopped more than `stops` times. It must come after the record: a worker that is ending
    /// might not see the record.
    fn ensure_running_after(&self, core: &Core, stops: Option<u64>) {
        if core.is_running() || core.ensure_running(stops) {
            return;
        }
        // Another configuration came into force meanwhile.
        while !self.core().ensure_running(stops) {}
    }

    /// True if this thread may wait for the agent. The agent's own threads may not.
    pub(crate) fn may_wait(&self) -> bool {
        !threads::is_own(&self.core().shared)
    }

    fn follow_rules(&self) -> Arc<Shared> {
        let shared = self.shared();
        shared.rules.want();
        self.ensure_running();
        shared
    }

    /// The core of this process. After a fork it is a new one.
    fn core(&self) -> Guard<Arc<Core>> {
        let core = self.inner.core.load();
        if core.fork_generation == fork::fork_generation() {
            return core;
        }
        self.renew(Guard::into_inner(core));
        self.inner.core.load()
    }

    /// Replaces the parent's core by a new one.
    fn renew(&self, of_parent: Arc<Core>) {
        let shared = &of_parent.shared;
        let fresh = Core::new(Shared::new(
            shared.config.clone(),
            shared.install_id.clone(),
        ));
        // The thread that asked for rules may not exist here.
        if shared.rules.is_wanted() {
            fresh.shared.rules.want();
        }
        let cores = &self.inner.core;
        let seen = cores.compare_and_swap(&of_parent, Arc::new(fresh));
        // The parent's core is never touched again: threads that do not exist here may hold
        // its locks, and its worker belongs to the parent.
        if Arc::ptr_eq(&seen, &of_parent) {
            of_parent.shared.durability.release_after_fork();
            std::mem::forget(of_parent);
        }
    }
}

/// Closes an agent when it is dropped; see [`Agent::close_on_drop`].
#[derive(Debug)]
pub struct CloseOnDrop(Agent);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let core = self.core.load_full();
        let timeout = core.shared.config.settings.shutdown_timeout;
        if core.fork_generation != fork::fork_generation() {
            std::mem::forget(core);
        } else if threads::is_own(&core.shared) {
            // A hook held the last clone. The worker cannot wait for itself.
            core.let_end(timeout);
        } else {
            core.close(timeout);
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
