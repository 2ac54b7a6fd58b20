//! The seam between the agent and what keeps its records when the process ends.

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

/// The least time between two grouped writes: what comes in meanwhile is written
/// together. After a pause a record is written at once.
pub const GATHER: Duration = Duration::from_millis(5);

/// Keeps encoded records until they are delivered. Opened in the process that
/// sends, on the agent's journal thread, and called from there alone, so every
/// call may block, if records are saved by an [`appender`](Self::appender) meanwhile;
/// each must end on its own.
///
/// A store holds each record for its owner (it is in memory) or offers it
/// through [`load`](Self::load): records of processes that died, and records
/// that were [released](Self::release). After an error a call can be repeated.
pub trait Store: Send {
    /// How long records gather before they are written together: longer where
    /// each write costs more.
    fn gathering(&self) -> Duration {
        GATHER
    }

    /// Saves records in one grouped write; a token for each, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then none of them counts as saved.
    fn append(&mut self, records: &[(Kind, &[u8])]) -> Result<Vec<u64>, StoreError>;

    /// A way to save records beside the store, on another thread and without ever
    /// waiting for it. Whatever it does not do [`append`](Self::append) is asked for.
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

    /// Sets a record aside that the backend refuses, with the reason beside it.
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

    /// Hands out records on offer, the newest first as far as the store can
    /// tell, of about `max_bytes` but at least one. From then on the store holds
    /// them for its owner.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what is on offer stays so.
    fn load(&mut self, max_bytes: usize) -> Result<Vec<Stored>, StoreError>;

    /// Discards the oldest records on offer, metrics before events as far as the
    /// store can tell, until at least `bytes` are free or none is left. How many
    /// are lost, of events and of metrics.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing was discarded.
    fn discard_oldest(&mut self, bytes: u64) -> Result<[u64; 2], StoreError>;

    /// Does what is due: syncing, renewing leases, looking for records of
    /// processes that died. When to be called again at the latest.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the call is then repeated.
    fn tick(&mut self, now: Instant) -> Result<Option<Instant>, StoreError>;

    /// Makes all that was appended safe against the loss of power: the process
    /// ends, or the agent stops.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what is not safe yet may still become so.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Tokens of records in memory that the store has lost, for example because a
    /// server came back without its newest data. The store knows them no more; the
    /// records are saved again.
    fn forgotten(&mut self) -> Vec<u64> {
        Vec::new()
    }

    /// What endangers the records in the store, and the remedy; told once.
    fn warning(&mut self) -> Option<String> {
        None
    }

    /// What the store has.
    fn usage(&self) -> Usage;

    /// Ends the store in good order; what it has stays for the next process.
    /// Called once, on the thread that ends the agent.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing that was safe is lost by it.
    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }

    /// What the child of a fork calls to give up what it inherited and must not
    /// use, such as a lock.
    fn release_after_fork(&self) -> Option<ReleaseAfterFork> {
        None
    }
}

/// Appends records beside a [`Store`], on another thread.
pub trait Appender: Send {
    /// Appends records, all of them or none: a token for each, in order. None when this
    /// takes more than a plain write: [`Store::append`] then does it, or says why it cannot.
    fn append(&self, records: &[(Kind, &[u8])]) -> Option<Vec<u64>>;
}

/// Gives up what a fork inherited. May be called at any time, also while another
/// thread was in the store when the fork came.
pub type ReleaseAfterFork = Arc<dyn Fn() + Send + Sync>;

/// Opens a store: a directory, a connection.
pub type OpenStore = Arc<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync>;

/// A record that comes back to memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name in the store.
    pub token: u64,
    /// What it is.
    pub kind: Kind,
    /// Its JSON.
    pub bytes: Vec<u8>,
}

/// What a store has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records that are neither delivered nor set aside.
    pub records: u64,
    /// The room they take.
    pub bytes: u64,
    /// Records set aside.
    pub quarantined: u64,
    /// Whether some are on offer.
    pub backlog: bool,
    /// Records of this process, events and metrics, that cannot be read any more.
    pub damaged: [u64; 2],
    /// Records of this process, events and metrics, that rested in the store and
    /// that another process took over.
    pub taken: [u64; 2],
}

/// A store cannot do what it is asked for, now.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The store has reached the bound it was given.
    #[error("the spool is full: {used} of {limit} bytes")]
    Full {
        /// Taken.
        used: u64,
        /// Allowed.
        limit: u64,
    },
    /// Something else; says what, and the remedy.
    #[error("{0}")]
    Failed(String),
    /// The place is of a kind that cannot be used until somebody changes it; says why,
    /// and the remedy. Reported once.
    #[error("{0}")]
    Unusable(String),
}
