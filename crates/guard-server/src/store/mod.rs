//! What the server keeps: one trait for each concern ([`Projects`], [`RulesStore`],
//! [`Fleet`], [`Telemetry`]), and the engines behind them. Callers see only the traits.
//! What to keep and what to remove is decided above, and passed in.
//!
//! `conformance` is the test suite that every engine passes.

#[cfg(test)]
mod conformance;
mod cursor;
mod fleet;
mod projects;
mod rules;
mod sqlite;
mod telemetry;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;

pub use self::cursor::Cursor;
pub use self::fleet::{
    AgentId, AgentReport, AgentSignal, CheckIn, Fleet, Room, RuleSubscriber, Since, StatusReport,
    SubscriberPolicy,
};
pub use self::projects::Projects;
pub use self::rules::{Change, Draft, KeepVersions, RulesOutcome, RulesStore, StoredRules};
pub use self::sqlite::{Lock, LockError, OpenError, Sqlite};
pub use self::telemetry::{
    Batch, KindCounts, KindSummary, NewRecord, Page, Receipt, RecordCounts, RecordPage, Telemetry,
};
pub use crate::projects::{Project, ProjectId, ProjectSettings};

/// What every call of a store returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store could not answer. Agents keep their records: ask again later.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum StoreError {
    /// More is waiting to be written than the store takes at once.
    #[error("the store is busy")]
    Busy,
    /// The database failed, for example on a full disk; the log says how.
    #[error("the store is unavailable")]
    Unavailable,
    /// The file of the database is no longer where it was opened.
    #[error("the database was moved, removed or replaced")]
    Misplaced,
    /// A part of the database cannot be read.
    #[error("the database is damaged")]
    Damaged,
    /// A list was asked for from a place that this store did not name.
    #[error("this is no place in the list; take it from the answer before, or leave it out")]
    InvalidCursor,
}

/// The stores of a server. They may be parts of one database, or different ones.
#[derive(Clone)]
pub struct Stores {
    /// Projects and their keys.
    pub projects: Arc<dyn Projects>,
    /// The rules of projects.
    pub rules: Arc<dyn RulesStore>,
    /// The agents of projects.
    pub fleet: Arc<dyn Fleet>,
    /// Events and metrics.
    pub telemetry: Arc<dyn Telemetry>,
}

impl Stores {
    /// One engine for every concern.
    pub fn of<S: Projects + RulesStore + Fleet + Telemetry + 'static>(store: Arc<S>) -> Self {
        Self {
            projects: Arc::clone(&store) as Arc<dyn Projects>,
            rules: Arc::clone(&store) as Arc<dyn RulesStore>,
            fleet: Arc::clone(&store) as Arc<dyn Fleet>,
            telemetry: store,
        }
    }
}

/// Opens the database at `path` for a server, and makes it if it is missing.
///
/// # Errors
///
/// [`OpenError`] when it cannot be used.
pub fn open(path: &Path) -> Result<Stores, OpenError> {
    Ok(Stores::of(Arc::new(Sqlite::open(path)?)))
}

/// Opens the database at `path` beside a server that may be running; never makes one.
///
/// # Errors
///
/// [`OpenError`] when it is not there or cannot be used.
pub fn open_existing(path: &Path) -> Result<Stores, OpenError> {
    Ok(Stores::of(Arc::new(Sqlite::open_existing(path)?)))
}
