//! The worker: a dedicated thread with its own runtime.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use tokio::sync::watch;

use crate::journal::thread::{JournalThread, report_hanging};
use crate::shared::Shared;
use crate::tenure::{Tenure, report_endless};
use crate::threads::END_GRACE;

/// One part in this many of the time for the end is reserved for saving undelivered records.
const SAVING_SHARE: u32 = 4;

/// A running worker.
pub(crate) struct Worker {
    /// Closed when the thread ends.
    ended: Receiver<()>,
    journal: Option<JournalThread>,
    stop: watch::Sender<Option<Instant>>,
}

impl Worker {
    /// Starts the thread. If the worker panics, it clears `running`. The new threads first wait
    /// for the end of those that they replace, so that the caller does not.
    pub(crate) fn start(
        shared: Arc<Shared>,
        running: Arc<AtomicBool>,
        replaced: Option<Self>,
    ) -> io::Result<Self> {
        let (worker_before, journal_before) = replaced
            .map(|replaced| {
                // Told now, so that they end even if this start fails.
                replaced.stop.send_replace(Some(shared.clock().now()));
                replaced.journal.iter().for_each(JournalThread::let_end);
                (replaced.ended, replaced.journal)
            })
            .unzip();
        let (stop, stopped) = watch::channel(None);
        let (end, ended) = channel();
        let tenure = Tenure::prepare(Arc::clone(&shared), running, stopped, Some(end))?;
        let journal = match &shared.config.store {
            Some(open) => {
                let before = journal_before.flatten();
                Some(JournalThread::start(
                    Arc::clone(&shared),
                    open.clone(),
                    before,
                )?)
            }
            None => None,
        };
        tenure.begin(worker_before)?;
        Ok(Self {
            ended,
            journal,
            stop,
        })
    }

    /// Ends the worker. It delivers as much as possible until `deadline`, and saves the rest if
    /// there is a store. Returns shortly after the deadline at the latest.
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

    /// Makes the worker deliver as much as possible until `deadline` and end by itself.
    pub(crate) fn let_end(self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        if let Some(journal) = self.journal {
            journal.let_end();
        }
    }
}

/// The threads that did not end in time.
#[must_use]
#[derive(Default)]
pub(crate) struct LeftBehind {
    worker: bool,
    journal: bool,
}

impl LeftBehind {
    /// Reports the threads that did not end.
    pub(crate) fn report(self, shared: &Shared) {
        if self.worker {
            report_endless(shared);
        }
        if self.journal {
            report_hanging(shared);
        }
    }
}
