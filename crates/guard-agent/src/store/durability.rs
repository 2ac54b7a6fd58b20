//! The saving state of an agent: whether its store works, and what it holds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{ReleaseAfterFork, Store, Usage};
use crate::sync::lock;

/// Contents and health of an agent's store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DurabilityStats {
    /// True if there is a store but it fails, so that new records are in memory only.
    pub degraded: bool,
    /// Number of failed attempts to use the store.
    pub failures: u64,
    /// Contents of the store when it was last used.
    pub usage: Usage,
}

/// Records (events, metrics) that left a store other than through the queue.
pub(crate) struct Since {
    pub(crate) damaged: [u64; 2],
    pub(crate) taken: [u64; 2],
}

/// Shared state that outlives the journal's thread and configuration changes.
#[derive(Default)]
pub(crate) struct Durability {
    /// The open store, while no journal runs.
    pub(crate) store: Mutex<Option<Box<dyn Store>>>,
    release_after_fork: Mutex<Option<ReleaseAfterFork>>,
    was_opened: AtomicBool,
    usage: Mutex<Usage>,
    failures: AtomicU64,
    degraded: AtomicBool,
}

impl Durability {
    /// Stores the usage. Returns the records that left since, other than through the queue.
    pub(crate) fn note(&self, usage: Usage) -> Since {
        let before = std::mem::replace(&mut *lock(&self.usage), usage);
        let more = |now: [u64; 2], before: [u64; 2]| {
            [0, 1].map(|kind: usize| now[kind].saturating_sub(before[kind]))
        };
        Since {
            damaged: more(usage.damaged, before.damaged),
            taken: more(usage.taken, before.taken),
        }
    }

    /// Notes that a store was opened.
    pub(crate) fn opened(&self, store: &dyn Store) {
        *lock(&self.release_after_fork) = store.release_after_fork();
        self.was_opened.store(true, Ordering::Release);
    }

    /// True if a store was ever opened, and so may have records of this process.
    pub(crate) fn was_opened(&self) -> bool {
        self.was_opened.load(Ordering::Acquire)
    }

    /// Releases resources that the child of a fork inherited. Waits for no lock, because
    /// the thread that holds it may not exist here.
    pub(crate) fn release_after_fork(&self) {
        if let Ok(mut release_after_fork) = self.release_after_fork.try_lock()
            && let Some(release_after_fork) = release_after_fork.take()
        {
            release_after_fork();
        }
    }

    /// Closes the store, if there is one and no journal runs.
    pub(crate) fn close(&self) {
        let store = lock(&self.store).take();
        if let Some(Err(_)) = store.map(Store::close) {
            self.fail();
        }
    }

    pub(crate) fn fail(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.degraded.store(true, Ordering::Relaxed);
    }

    pub(crate) fn mark_recovered(&self) {
        self.degraded.store(false, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> DurabilityStats {
        DurabilityStats {
            degraded: self.degraded.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            usage: *lock(&self.usage),
        }
    }
}
