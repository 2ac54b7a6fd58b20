//! The interface between the agent and the store that keeps records across restarts.

#[cfg(feature = "spool")]
pub(crate) mod disk;
pub(crate) mod durability;
pub mod keyvalue;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::sync::Arc;
use std::time::{Duration, Instant};

use guard_wire::Kind;
use thiserror::Error;

#[cfg(feature = "spool")]
pub use self::disk::{DiskStore, SpoolFsync};
pub use self::durability::DurabilityStats;
#[cfg(feature = "redis")]
pub use self::redis::{
    REDIS_LEASE, REDIS_QUARANTINE, REDIS_RECORD_OVERHEAD, REDIS_TIMEOUT, RedisHealth, RedisOptions,
    RedisStore,
};

/// The minimum time between two grouped writes. Records that come in meanwhile are
/// written together. After a pause a record is written at once.
pub const GATHER: Duration = Duration::from_millis(5);

/// Keeps encoded records until they are delivered. The store is opened in the process
/// that sends, on the agent's journal thread, and called only from there. So every call
/// may block, provided that an [`appender`](Self::appender) saves records meanwhile.
/// Each call must end without help from outside.
///
/// A store either holds a record for its owner (the record is in memory) or offers it
/// through [`load`](Self::load). It offers records of processes that died, and records
/// that were [released](Self::release). After an error a call can be repeated.
pub trait Store: Send {
    /// How long records gather before they are written together. Return a longer time if
    /// each write costs more.
    fn gathering(&self) -> Duration {
        GATHER
    }

    /// Saves records in one grouped write. Returns a token for each, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then none of them counts as saved.
    fn append(&mut self, records: &[(Kind, &[u8])]) -> Result<Vec<u64>, StoreError>;

    /// An appender that saves records beside the store, on another thread and without ever
    /// waiting for the store. Records that it does not save go to [`append`](Self::append).
    fn appender(&self) -> Option<Box<dyn Appender>> {
        None
    }

    /// Forgets records: they are delivered, or counted as lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the call is then repeated with the same tokens and more.
    fn remove(&mut self, tokens: &[u64]) -> Result<(), StoreError>;

    /// Offers records again: they are no longer in memory.
    fn release(&mut self, tokens: &[u64]);

    /// Quarantines a record that the backend refuses, together with the reason.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the call is then repeated.
    fn quarantine(
        &mut self,
        token: u64,
        kind: Kind,
        bytes: &[u8],
        reason: &str,
    ) -> Result<(), StoreError>;

    /// Loads records on offer, the newest first as far as the store can tell, of about
    /// `max_bytes` but at least one. The store then holds them for their new owner.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the records stay on offer.
    fn load(&mut self, max_bytes: usize) -> Result<Vec<Stored>, StoreError>;

    /// Discards the oldest records on offer, metrics before events as far as the store
    /// can tell, until at least `bytes` are free or none is left. Returns the number of
    /// discarded events and metrics.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was discarded.
    fn discard_oldest(&mut self, bytes: u64) -> Result<[u64; 2], StoreError>;

    /// Does due maintenance: syncing, renewing leases, looking for records of processes
    /// that died. Returns when to call it again at the latest.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the call is then repeated.
    fn tick(&mut self, now: Instant) -> Result<Option<Instant>, StoreError>;

    /// Syncs all appended records, so that they survive a loss of power. Called when the
    /// process ends or the agent stops.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; records that are not synced yet may still be synced later.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Tokens of records in memory that the store has lost, for example because a server
    /// restarted without its newest data. The store no longer knows these tokens; the
    /// records are saved again.
    fn forgotten(&mut self) -> Vec<u64> {
        Vec::new()
    }

    /// A danger to the records in the store, and the remedy. Reported once.
    fn warning(&mut self) -> Option<String> {
        None
    }

    /// Contents of the store.
    fn usage(&self) -> Usage;

    /// Closes the store. Its records stay for the next process. Called once, on the
    /// thread that stops the agent.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; records that were safe are not lost.
    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }

    /// A function that the child of a fork calls to release inherited resources that it
    /// must not use, such as a lock.
    fn release_after_fork(&self) -> Option<ReleaseAfterFork> {
        None
    }
}

/// Appends records beside a [`Store`], on another thread.
pub trait Appender: Send {
    /// Appends all records or none. Returns a token for each, in order. Returns `None` if
    /// this needs more than a plain write: then [`Store::append`] does it or reports the error.
    fn append(&self, records: &[(Kind, &[u8])]) -> Option<Vec<u64>>;
}

/// Releases resources inherited by a fork. May be called at any time, even if another
/// thread was using the store during the fork.
pub type ReleaseAfterFork = Arc<dyn Fn() + Send + Sync>;

/// Opens a store, such as a directory or a connection.
pub type OpenStore = Arc<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync>;

/// A record loaded from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its token in the store.
    pub token: u64,
    /// Its kind.
    pub kind: Kind,
    /// Its JSON.
    pub bytes: Vec<u8>,
}

/// Contents of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of records that are neither delivered nor quarantined.
    pub records: u64,
    /// Bytes that these records use.
    pub bytes: u64,
    /// Number of quarantined records.
    pub quarantined: u64,
    /// True if some records are on offer.
    pub backlog: bool,
    /// Events and metrics of this process that can no longer be read.
    pub damaged: [u64; 2],
    /// Events and metrics of this process that were only in the store and that another
    /// process took over.
    pub taken: [u64; 2],
}

/// Why a store could not do an operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The store has reached its size limit.
    #[error("the spool is full: {used} of {limit} bytes")]
    Full {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Any other failure: the message names it and the remedy.
    #[error("{0}")]
    Failed(String),
    /// The store cannot be used until an operator changes something: the message says why
    /// and names the remedy. Reported once.
    #[error("{0}")]
    Unusable(String),
}
