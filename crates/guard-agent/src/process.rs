//! The agent in one process: starts and ends its worker.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::queue::Left;
use crate::shared::Shared;
use crate::sync::lock;
use crate::worker::{LeftBehind, Worker};
use crate::{batching, fork, threads};

/// The agent in one process.
pub(crate) struct Core {
    pub(crate) fork_generation: u32,
    pub(crate) shared: Arc<Shared>,
    /// True if the worker was started and not stopped. Read without the lock.
    running: Arc<AtomicBool>,
    worker: Mutex<Option<Worker>>,
    /// Another core has taken over, so this one starts no worker any more. Set under the lock.
    is_retired: AtomicBool,
    /// Time when the last stop ended that left records behind.
    gave_up: Mutex<Option<Instant>>,
}

impl Core {
    pub(crate) fn new(shared: Shared) -> Self {
        if shared.config.store.is_some() {
            batching::enable_persistence(&shared);
        }
        Self {
            fork_generation: fork::fork_generation(),
            shared: Arc::new(shared),
            running: Arc::default(),
            worker: Mutex::new(None),
            is_retired: AtomicBool::new(false),
            gave_up: Mutex::new(None),
        }
    }

    /// Starts the worker unless it runs or the agent has stopped more than `stops` times. Returns
    /// true if this core is still in use.
    pub(crate) fn ensure_running(&self, stops: Option<u64>) -> bool {
        // The thread that holds the lock may be waiting for the agent's own threads.
        if self.is_running() || threads::is_own(&self.shared) {
            return true;
        }
        let mut worker = lock(&self.worker);
        let is_wanted = stops.is_none_or(|stops| self.shared.queue.releases() == stops);
        let started = if is_wanted {
            self.start(&mut worker)
        } else {
            Ok(())
        };
        drop(worker);
        self.report_start(started);
        !self.is_retired.load(Ordering::Acquire)
    }

    /// Starts the worker. Called under the lock. The caller then passes the outcome to
    /// [`report_start`](Self::report_start), after it has released the lock, because a report
    /// may call the agent.
    fn start(&self, worker: &mut Option<Worker>) -> io::Result<()> {
        if self.is_running() || self.is_retired.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some(failed) = worker.take() {
            // The failure was already reported.
            let _ = failed.stop(&self.shared, self.shared.clock().now());
        }
        self.start_after(None, worker)
    }

    /// Starts the worker, in place of another one if there is one.
    fn start_after(&self, replaced: Option<Worker>, worker: &mut Option<Worker>) -> io::Result<()> {
        self.running.store(true, Ordering::Release);
        let (shared, running) = (Arc::clone(&self.shared), Arc::clone(&self.running));
        let started = Worker::start(shared, running, replaced);
        if started.is_err() {
            self.running.store(false, Ordering::Release);
        }
        *worker = Some(started?);
        Ok(())
    }

    fn report_start(&self, started: io::Result<()>) {
        if let Err(error) = started {
            self.shared.error("worker", "worker_start", || {
                format!("the worker cannot start: {error}; records queue up until it can")
            });
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Ends the worker. It may deliver until `deadline`.
    fn end_worker(&self, worker: &mut Option<Worker>, deadline: Instant) -> LeftBehind {
        let ended = worker.take();
        let behind = ended.map(|ended| ended.stop(&self.shared, deadline));
        self.running.store(false, Ordering::Release);
        behind.unwrap_or_default()
    }

    /// Takes over from another core after `publish` has made this one current. The old worker ends
    /// and this core's worker starts, if the old one ran. Waits for neither.
    pub(crate) fn replace(&self, old: &Self, publish: impl FnOnce()) {
        // Held until the old worker has the command to stop, so that a record starts no other worker.
        let mut worker = lock(&self.worker);
        publish();
        let replaced = {
            let mut worker = lock(&old.worker);
            old.is_retired.store(true, Ordering::Release);
            old.running.store(false, Ordering::Release);
            worker.take()
        };
        let started = match replaced {
            Some(replaced) => self.start_after(Some(replaced), &mut worker),
            None => Ok(()),
        };
        drop(worker);
        self.report_start(started);
    }

    /// Delivers as much as possible within `timeout` and ends the worker. Returns true if none of
    /// the records queued before are left.
    pub(crate) fn stop(&self, timeout: Duration) -> bool {
        let shared = &self.shared;
        if threads::is_own(shared) || self.has_just_given_up() {
            return false;
        }
        let left = self.end(shared.clock().now() + timeout, false).before;
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

    /// Delivers as much as possible within `timeout`, ends the worker, and counts the rest as lost.
    pub(crate) fn close(&self, timeout: Duration) {
        let shared = &self.shared;
        let deadline = shared.clock().now() + timeout;
        let mut remedy = "end the backend after its applications, or set spool_dir";
        if !self.has_just_given_up() {
            let left = self.end(deadline, true);
            if left.before == 0 && left.is_late {
                self.end(deadline, true);
                remedy = "end what sends before the process ends";
            }
        }
        let lost = shared.queue.abandon();
        if lost > 0 {
            shared.error("worker", "stopped", || {
                format!(
                    "the process ended before {lost} record(s) could be delivered: lost; {remedy}"
                )
            });
        }
        shared.durability.close();
    }

    /// Delivers as much as possible until `deadline` and ends the worker. Unless it is for good,
    /// callers that wait for room give up, and records that came meanwhile start the worker again.
    fn end(&self, deadline: Instant, for_good: bool) -> Left {
        let queue = &self.shared.queue;
        if queue.fill().items > 0 {
            self.ensure_running(None);
        }
        // Held to the end, so that records queued meanwhile start no other worker.
        let mut worker = lock(&self.worker);
        let mark = queue.mark();
        let behind = self.end_worker(&mut worker, deadline);
        if !for_good {
            queue.release();
        }
        // A caller that queues a record after this check sees that no worker runs.
        let left = queue.left_since(&mark);
        let started = if left.is_late && !for_good {
            self.start(&mut worker)
        } else {
            Ok(())
        };
        drop(worker);
        behind.report(&self.shared);
        self.report_start(started);
        left
    }

    /// True if a stop has just left records behind and no worker was started since. A program may
    /// stop the agent several times while it ends, but waits only once.
    fn has_just_given_up(&self) -> bool {
        let now = self.shared.clock().now();
        let within = self.shared.config.settings.shutdown_timeout;
        !self.is_running()
            && lock(&self.gave_up).is_some_and(|at| now.saturating_duration_since(at) < within)
    }

    /// Makes the worker end by itself within `timeout`, without waiting for it.
    pub(crate) fn let_end(&self, timeout: Duration) {
        if let Some(worker) = lock(&self.worker).take() {
            worker.let_end(self.shared.clock().now() + timeout);
        }
    }
}
