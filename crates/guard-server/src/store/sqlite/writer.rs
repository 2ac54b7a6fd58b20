//! The single writer thread. Jobs that wait at the same time share a commit, so they pay the cost
//! of durability once. Each job is answered after that commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::headroom::Headroom;
use super::health::Health;
use crate::store::StoreError;

/// How many jobs may wait.
const MAX_JOBS: usize = 1024;
/// How many bytes all waiting jobs may hold.
const MAX_BYTES: u32 = 64 * 1024 * 1024;
/// The most jobs in one commit. This limits how long the first one waits.
const MAX_GROUP: usize = 128;

/// Sends the result of a job after its commit.
type Acknowledge = Box<dyn FnOnce() + Send>;
type Work = Box<dyn FnOnce(&Connection) -> rusqlite::Result<Acknowledge> + Send>;

struct Job {
    work: Work,
    /// Released when the job is dropped.
    room: OwnedSemaphorePermit,
}

/// Counts the writes that were rolled back. What a job remembers of the database, for the jobs after
/// it, holds only while the count stays the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Rollbacks(Arc<AtomicU64>);

impl Rollbacks {
    /// The count so far.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The handle of the writer thread. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` only during drop.
    jobs: Option<SyncSender<Job>>,
    room: Arc<Semaphore>,
    health: Arc<Health>,
    rollbacks: Rollbacks,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, which owns `connection`.
    pub(super) fn start(
        connection: Connection,
        health: Arc<Health>,
        headroom: Arc<Headroom>,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(MAX_JOBS);
        let noted = Arc::clone(&health);
        let rollbacks = Rollbacks::default();
        let counted = rollbacks.clone();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_all(connection, &waiting, &noted, &headroom, &counted))?;
        Ok(Self {
            jobs: Some(jobs),
            room: Arc::new(Semaphore::new(MAX_BYTES as usize)),
            health,
            rollbacks,
            thread: Some(thread),
        })
    }

    /// The count of writes that were rolled back.
    pub(super) fn rollbacks(&self) -> Rollbacks {
        self.rollbacks.clone()
    }

    /// Runs `work` in a transaction, and returns its result after the commit. `bytes` is roughly
    /// the memory that the work holds.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        // A job larger than the whole limit takes all of it; otherwise it would never fit.
        let bytes = u32::try_from(bytes).map_or(MAX_BYTES, |bytes| bytes.clamp(1, MAX_BYTES));
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(bytes)
            .map_err(|_| StoreError::Busy)?;
        let _waiting = self.health.meters.write_waits();
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let result = work(connection)?;
            Ok(Box::new(move || {
                // The client may be gone. Its work is committed anyway.
                let _ = answer.send(result);
            }))
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Unavailable)?;
        jobs.try_send(Job { work, room })
            .map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Unavailable,
            })?;
        answered.await.map_err(|_| self.health.error())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writing thread had failed");
        }
    }
}

fn write_all(
    mut connection: Connection,
    waiting: &Receiver<Job>,
    health: &Health,
    headroom: &Headroom,
    rollbacks: &Rollbacks,
) {
    while let Ok(first) = waiting.recv() {
        // A write to a file that is no longer at its path would be lost. Dropping a job reports
        // that to its caller.
        if !health.in_place() || health.obstacle().is_some() {
            continue;
        }
        let group = std::iter::once(first).chain(waiting.try_iter().take(MAX_GROUP - 1));
        let (begun, mut bytes) = (Instant::now(), 0);
        // A panic rolls the transaction back, as an error does. The thread survives both.
        let write = || write_group(&mut connection, group, &mut bytes, health, rollbacks);
        let outcome = catch_unwind(AssertUnwindSafe(write));
        if !matches!(outcome, Ok(Ok(_))) {
            rollbacks.add();
        }
        match outcome {
            Ok(Ok(done)) => {
                // Only now is it certain that the file was in place during the commit.
                if health.in_place() {
                    health.committed(bytes);
                    health.meters.committed(done.len(), begun.elapsed());
                    done.into_iter().for_each(|acknowledge| acknowledge());
                }
            }
            Ok(Err(error)) => {
                health.write_failed(&error, bytes);
                if headroom.give_up(&error) {
                    // The log is then used again from its beginning, which takes no more of the disk.
                    // If there is no room even for that, the next write tells.
                    let _ = connection.query_row("PRAGMA wal_checkpoint", [], |_| Ok(()));
                }
            }
            Err(_) => tracing::error!("a write panicked"),
        }
    }
    drop(connection);
    health.remove_stale_log();
}

/// Runs the jobs of `group` in one transaction, and adds their sizes to `bytes`. If one job fails,
/// only that job is rolled back. If this function returns an error, nothing was written.
fn write_group(
    connection: &mut Connection,
    group: impl Iterator<Item = Job>,
    bytes: &mut usize,
    health: &Health,
    rollbacks: &Rollbacks,
) -> rusqlite::Result<Vec<Acknowledge>> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut done = Vec::new();
    for job in group {
        let size = job.room.num_permits();
        *bytes += size;
        let savepoint = transaction.savepoint()?;
        match (job.work)(&savepoint) {
            Ok(acknowledge) => {
                savepoint.commit()?;
                done.push(acknowledge);
            }
            // SQLite itself ends the transaction after some errors, such as a full disk.
            Err(error) if savepoint.is_autocommit() => return Err(error),
            Err(error) => {
                rollbacks.add();
                health.write_failed(&error, size);
                *bytes -= size;
                savepoint.finish()?;
            }
        }
    }
    transaction.commit()?;
    Ok(done)
}
