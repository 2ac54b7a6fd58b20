//! The thread that appends what comes in, beside a journal that waits for the disk.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::thread::gather;
use super::{by_groups, records};
use crate::queue::Saver;
use crate::shared::Shared;
use crate::store::{Appender, GATHER};
use crate::threads;

/// A running writer.
pub(super) struct Writer {
    thread: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
}

impl Writer {
    /// From now on what comes in is saved by a thread of its own.
    pub(super) fn start(shared: &Arc<Shared>, appender: Box<dyn Appender>) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (told, theirs) = (Arc::clone(&stopping), Arc::clone(shared));
        let thread = threads::spawn("guard-agent-writer", shared, move || {
            let work = || run(&theirs, appender.as_ref(), &told);
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                theirs.queue.dismiss(Saver::Writer);
                // What it had in hand, too.
                theirs.queue.mark_unsaved();
                theirs.error("spool", "writer", || {
                    "the writer failed; the journal saves what comes in; please report this"
                        .to_owned()
                });
            }
        })?;
        shared.queue.attend(Saver::Writer, thread.thread().clone());
        Ok(Self { thread, stopping })
    }

    /// Waits until it has appended what it has in hand.
    pub(super) fn stop(self, shared: &Shared) {
        self.stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // If it failed, that is said, and its records are with the journal.
        let _ = self.thread.join();
        shared.queue.dismiss(Saver::Writer);
    }
}

fn run(shared: &Shared, appender: &dyn Appender, stopping: &AtomicBool) {
    let mut stepped = Instant::now();
    loop {
        write(shared, appender);
        while !shared.queue.calls(Saver::Writer) {
            if stopping.load(Ordering::Acquire) {
                return;
            }
            thread::park();
        }
        gather(stepped, GATHER, stopping);
        stepped = Instant::now();
    }
}

/// Appends what is there, and leaves to the journal what takes more than that.
fn write(shared: &Shared, appender: &dyn Appender) {
    let queue = &shared.queue;
    queue.answer_call(Saver::Writer);
    // What ends it is the journal's from then on.
    let _ = by_groups(queue, Saver::Writer, |group| {
        match appender.append(&records(&group)) {
            Some(tokens) => {
                queue.saved(&group, &tokens);
                Ok(())
            }
            None => {
                queue.not_saved(group);
                Err(())
            }
        }
    });
}
