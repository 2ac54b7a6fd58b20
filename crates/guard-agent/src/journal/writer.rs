//! The thread that appends new records while the journal waits for the disk.

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
    /// Starts a dedicated thread that saves new records from now on.
    pub(super) fn start(shared: &Arc<Shared>, appender: Box<dyn Appender>) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (told, theirs) = (Arc::clone(&stopping), Arc::clone(shared));
        let thread = threads::spawn("guard-agent-writer", shared, move || {
            let work = || run(&theirs, appender.as_ref(), &told);
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                theirs.queue.remove_listener(Saver::Writer);
                // Including the records it was saving.
                theirs.queue.mark_unsaved();
                theirs.error("spool", "writer", || {
                    "the writer failed; the journal saves what comes in; please report this"
                        .to_owned()
                });
            }
        })?;
        shared
            .queue
            .set_listener(Saver::Writer, thread.thread().clone());
        Ok(Self { thread, stopping })
    }

    /// Waits until the records being saved are appended.
    pub(super) fn stop(self, shared: &Shared) {
        self.stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A failed writer was already reported, and the journal has its records.
        let _ = self.thread.join();
        shared.queue.remove_listener(Saver::Writer);
    }
}

fn run(shared: &Shared, appender: &dyn Appender, stopping: &AtomicBool) {
    let mut stepped = Instant::now();
    loop {
        write(shared, appender);
        while !shared.queue.is_notified(Saver::Writer) {
            if stopping.load(Ordering::Acquire) {
                return;
            }
            thread::park();
        }
        gather(stepped, GATHER, stopping);
        stepped = Instant::now();
    }
}

/// Appends unsaved records. The journal handles those that need more than an append.
fn write(shared: &Shared, appender: &dyn Appender) {
    let queue = &shared.queue;
    queue.clear_notified(Saver::Writer);
    // If the writer stops, the journal takes over.
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
