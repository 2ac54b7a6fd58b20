//! The journal's thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::Journal;
use crate::queue::Saver;
use crate::shared::Shared;
use crate::store::OpenStore;
use crate::sync::lock;
use crate::threads::{self, END_GRACE};

/// A running journal.
pub(crate) struct JournalThread {
    thread: Thread,
    stopping: Arc<AtomicBool>,
    /// Closed when the thread ends.
    ended: Receiver<()>,
}

impl JournalThread {
    /// Starts the thread. It first waits for the end of the journal that it replaces, if any.
    pub(crate) fn start(
        shared: Arc<Shared>,
        open: OpenStore,
        replaced: Option<Self>,
    ) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let (end, ended) = channel();
        let theirs = Arc::clone(&shared);
        let handle = threads::spawn("guard-agent-journal", &shared, move || {
            if replaced.is_some_and(|it| !it.stop(END_GRACE)) {
                report_hanging(&theirs);
            }
            let work = || run(&theirs, open, &told);
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                theirs.durability.fail();
                theirs.error("spool", "journal", || {
                    "the journal failed; records are kept in memory until the next start; \
                     please report this"
                        .to_owned()
                });
            }
            drop(end);
        })?;
        let thread = handle.thread().clone();
        Ok(Self {
            thread,
            stopping,
            ended,
        })
    }

    /// Saves everything and waits at most `patience` for that. Returns true if it ended.
    pub(crate) fn stop(self, patience: Duration) -> bool {
        self.let_end();
        self.ended.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
    }

    /// Makes the thread save everything and end. Does not wait for it.
    pub(crate) fn let_end(&self) {
        self.stopping.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Reports that a journal did not end in time.
pub(crate) fn report_hanging(shared: &Shared) {
    shared.error("spool", "journal_end", || {
        let left = shared.queue.unsaved();
        format!(
            "the spool does not answer; {left} record(s) are not saved; see whether the disk or \
             Redis hangs"
        )
    });
}

fn run(shared: &Arc<Shared>, open: OpenStore, stopping: &AtomicBool) {
    let kept = lock(&shared.durability.store).take();
    let mut journal = Journal::new(Arc::clone(shared), open, kept);
    shared.queue.set_listener(Saver::Journal, thread::current());
    let mut stepped = Instant::now();
    let mut next = journal.step(shared.clock().now());
    while !stopping.load(Ordering::Acquire) {
        wait(shared, next);
        if next.is_none_or(|next| !is_due(shared, next)) {
            gather(stepped, journal.gathering(), stopping);
        }
        stepped = Instant::now();
        next = journal.step(shared.clock().now());
    }
    let store = journal.finish(shared.clock().now());
    shared.queue.remove_listener(Saver::Journal);
    *lock(&shared.durability.store) = store;
}

fn is_due(shared: &Shared, at: Instant) -> bool {
    shared.clock().now() >= at
}

/// Waits until the thread is notified or work is due.
fn wait(shared: &Shared, next: Option<Instant>) {
    // A store that waits by parking may have consumed the wake-up.
    if shared.queue.is_notified(Saver::Journal) {
        return;
    }
    match next {
        Some(at) => thread::park_timeout(at.saturating_duration_since(shared.clock().now())),
        None => thread::park(),
    }
}

/// Lets more records gather until enough time has passed since the last step.
pub(super) fn gather(stepped: Instant, time: Duration, stopping: &AtomicBool) {
    // A store that waits by parking can also cause a wake-up here.
    while let Some(left) = time.checked_sub(stepped.elapsed())
        && !stopping.load(Ordering::Acquire)
    {
        thread::park_timeout(left);
    }
}
