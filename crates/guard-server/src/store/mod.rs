//! What the server stores: one trait for each concern ([`Projects`], [`People`], [`Audit`], [`RulesStore`],
//! [`Fleet`], [`Telemetry`]), and the engines that implement them. Callers see only the traits. The layers
//! above decide what to keep and what to remove, and pass that in.
//!
//! `conformance` is the test suite that every engine passes.

mod alerts;
mod arrivals;
mod audit;
mod clickhouse;
#[cfg(test)]
mod conformance;
mod cursor;
#[cfg(test)]
mod engines;
mod fleet;
mod location;
mod losses;
mod moving;
mod node;
mod people;
mod postgres;
mod progress;
mod projects;
mod rules;
mod search;
mod sqlite;
mod telemetry;
mod views;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;

pub use self::alerts::{
    AlertCommit, AlertLimits, AlertUpdate, Alerts, HistoryPage, NewHistory, NewNotification,
    OutboxEntry, OutboxSize, StoredAlert, StoredChannel, StoredState,
};
pub use self::arrivals::{ArrivalQuery, ArrivalSlice, Arrivals, ArrivedEvent};
pub use self::audit::{Audit, AuditFilter, AuditPage};
pub use self::clickhouse::{
    ClickHouse, Cluster, ClusterError, Endpoint, EndpointError, OpenError as ClickHouseError,
};
pub use self::cursor::Cursor;
pub use self::fleet::{
    AgentId, AgentReport, AgentSignal, CheckIn, Fleet, Room, RuleSubscriber, Since, StatusReport,
    SubscriberPolicy,
};
pub use self::location::{Location, LocationError, Shared, StoresError};
pub use self::losses::{LossCount, LossReport, Losses};
pub use self::moving::{Move, MoveError, MovedUntil};
pub use self::node::{MAX_NODES, Node};
pub use self::people::People;
pub use self::postgres::{OpenError as PostgresError, Postgres};
pub use self::progress::Progress;
pub use self::projects::{AddOutcome, Projects};
pub use self::rules::{Change, Draft, KeepVersions, RulesOutcome, RulesStore, StoredRules};
pub use self::search::{EventQuery, EventSlice, MetricQuery, Search, Selection, StoredEvent};
pub use self::sqlite::{
    BackupError, BackupReport, Inspection, Lock, LockError, OpenError, Sqlite, back_up, inspect,
    restore,
};
pub use self::telemetry::{
    Batch, Column, Columns, DiskRoom, Expired, Expiry, KindCounts, KindSummary, NewRecord, Receipt,
    RecordCounts, Telemetry, TextField,
};
pub use self::views::{StoredView, Views};
pub use crate::projects::{Project, ProjectId, ProjectSettings};

/// The result of every store call.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store call failed. Agents keep their records and send them again later.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The write queue is full.
    #[error("the store is busy")]
    Busy,
    /// The database failed, for example because the disk is full. The log has the details.
    #[error("the store is unavailable")]
    Unavailable,
    /// The disk is full. Records are refused; other changes are tried.
    #[error("the disk is full")]
    Full,
    /// The database file is no longer where it was opened.
    #[error("the database was moved, removed or replaced")]
    Misplaced,
    /// A part of the database cannot be read.
    #[error("the database is damaged")]
    Damaged,
    /// A query took too long.
    #[error("the query took too long")]
    TimedOut,
    /// The cursor was not made by this store.
    #[error("this is no place in the list; take it from the answer before, or leave it out")]
    InvalidCursor,
    /// Events after this position were removed, so they cannot be read from there.
    #[error("events that arrived after this position were removed; begin without it")]
    ExpiredCursor,
}

/// The stores of a server. They may be parts of one database or separate databases.
#[derive(Clone)]
pub struct Stores {
    /// Projects and their keys.
    pub projects: Arc<dyn Projects>,
    /// People, their sessions, and tokens.
    pub people: Arc<dyn People>,
    /// The audit log.
    pub audit: Arc<dyn Audit>,
    /// The rules of projects.
    pub rules: Arc<dyn RulesStore>,
    /// The agents of projects.
    pub fleet: Arc<dyn Fleet>,
    /// Events and metrics.
    pub telemetry: Arc<dyn Telemetry>,
    /// Queries of people about events and metrics.
    pub search: Arc<dyn Search>,
    /// Events in order of arrival.
    pub arrivals: Arc<dyn Arrivals>,
    /// The records that agents and the server lost.
    pub losses: Arc<dyn Losses>,
    /// Saved views.
    pub views: Arc<dyn Views>,
    /// Alerts, and the notifications about them.
    pub alerts: Arc<dyn Alerts>,
    /// How this server stands among those that use the same stores.
    pub node: Node,
}

impl Stores {
    /// Uses one engine for every concern, for a server that shares it with no other.
    pub fn of<S>(store: Arc<S>) -> Self
    where
        S: Projects
            + People
            + Audit
            + RulesStore
            + Fleet
            + Telemetry
            + Search
            + Arrivals
            + Losses
            + Views
            + Alerts
            + 'static,
    {
        Self::split(Arc::clone(&store), store, Node::alone())
    }

    /// Uses one engine for events and metrics, and another one for everything else.
    pub fn split<C, T>(control: Arc<C>, telemetry: Arc<T>, node: Node) -> Self
    where
        C: Projects + People + Audit + RulesStore + Fleet + Losses + Views + Alerts + 'static,
        T: Telemetry + Search + Arrivals + 'static,
    {
        Self {
            projects: Arc::clone(&control) as Arc<dyn Projects>,
            people: Arc::clone(&control) as Arc<dyn People>,
            audit: Arc::clone(&control) as Arc<dyn Audit>,
            rules: Arc::clone(&control) as Arc<dyn RulesStore>,
            fleet: Arc::clone(&control) as Arc<dyn Fleet>,
            losses: Arc::clone(&control) as Arc<dyn Losses>,
            views: Arc::clone(&control) as Arc<dyn Views>,
            alerts: control,
            search: Arc::clone(&telemetry) as Arc<dyn Search>,
            arrivals: Arc::clone(&telemetry) as Arc<dyn Arrivals>,
            telemetry,
            node,
        }
    }

    /// Asks every engine whether it can store something.
    ///
    /// # Errors
    ///
    /// [`StoreError`] of the one that cannot.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let (control, telemetry) = tokio::join!(self.projects.probe(), self.telemetry.probe());
        control.and(telemetry)
    }

    /// Removes a part of the records of projects that were removed lately, if another engine than
    /// that of the projects has them. Returns whether there is more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a store fails.
    pub async fn sweep_records(&self) -> Result<bool, StoreError> {
        let removed = self.projects.removed_projects().await?;
        Ok(!removed.is_empty() && self.telemetry.sweep(removed).await?)
    }
}

/// Opens the database at `path` for a server, and creates it if it is missing.
///
/// # Errors
///
/// [`OpenError`] if it cannot be used.
pub fn open(path: &Path) -> Result<Stores, OpenError> {
    open_with(path, &Progress::default())
}

/// The same as [`open`]. Tells `progress` how far it is: the database of an older server is converted,
/// which may take minutes. If the process ends meanwhile, the next call goes on.
///
/// # Errors
///
/// [`OpenError`] if it cannot be used.
pub fn open_with(path: &Path, progress: &Progress) -> Result<Stores, OpenError> {
    Ok(Stores::of(Arc::new(Sqlite::open_with(path, progress)?)))
}

/// Opens the existing database at `path` while a server may be running. Never creates one.
///
/// # Errors
///
/// [`OpenError`] if it does not exist or cannot be used.
pub fn open_existing(path: &Path) -> Result<Stores, OpenError> {
    Ok(Stores::of(Arc::new(Sqlite::open_existing(path)?)))
}
