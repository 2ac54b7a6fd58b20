//! The worker: one thread with a runtime of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::journal::thread::JournalThread;
use crate::shared::Shared;
use crate::tenure::Tenure;

/// How long after its deadline a worker may still take to end. Beyond it hangs
/// in something that is not ours, and is left alone.
const END_GRACE: Duration = Duration::from_millis(200);

/// The part of the time for the end, one in so many, that is kept for saving what
/// cannot be delivered.
const SAVING_SHARE: u32 = 4;

/// A running worker.
pub(crate) struct Worker {
    /// Closed when the thread ends.
    ended: Receiver<()>,
    journal: Option<JournalThread>,
    stop: watch::Sender<Option<Instant>>,
}

impl Worker {
    /// Starts the thread, which lowers `running` should it fail.
    pub(crate) fn start(shared: Arc<Shared>, running: Arc<AtomicBool>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(None);
        let (end, ended) = channel();
        let tenure = Tenure::prepare(Arc::clone(&shared), running, stopped, Some(end))?;
        let journal = match &shared.config.store {
            Some(open) => Some(JournalThread::start(Arc::clone(&shared), open.clone())?),
            None => None,
        };
        tenure.begin()?;
        Ok(Self {
            ended,
            journal,
            stop,
        })
    }

    /// Ends the worker: it delivers what it can until `deadline`, and saves the
    /// rest if there is a store. Returns soon after that at the latest.
    pub(crate) fn stop(self, shared: &Shared, deadline: Instant) -> LeftBehind {
        let left = || deadline.saturating_duration_since(shared.clock().now());
        let saving = self.journal.as_ref().map(|_| left() / SAVING_SHARE);
        let sending = left() - saving.unwrap_or_default();
        self.stop.send_replace(Some(shared.clock().now() + sending));
        let wait = self.ended.recv_timeout(sending + END_GRACE);
        let journal = self.journal.is_some_and(|it| !it.stop(left() + END_GRACE));
        LeftBehind {
            worker: wait == Err(RecvTimeoutError::Timeout),
            journal,
        }
    }

    /// Has the worker deliver what it can until `deadline`, and end by itself.
    pub(crate) fn let_end(self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        if let Some(journal) = self.journal {
            journal.let_end();
        }
    }
}

/// What did not end in its time.
#[must_use]
#[derive(Default)]
pub(crate) struct LeftBehind {
    worker: bool,
    journal: bool,
}

impl LeftBehind {
    /// Reports it.
    pub(crate) fn tell(self, shared: &Shared) {
        if self.worker {
            shared.error("worker", "worker_end", || {
                "the worker does not end and is left behind; please report this".to_owned()
            });
        }
        if self.journal {
            shared.error("spool", "journal_end", || {
                let left = shared.queue.unsaved();
                format!(
                    "the spool does not answer; {left} record(s) are not saved; see whether the \
                     disk or Redis hangs"
                )
            });
        }
    }
}
