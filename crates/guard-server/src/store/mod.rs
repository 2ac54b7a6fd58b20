//! What the server remembers, as two traits: [`Control`] for projects, keys
//! and rules, [`Telemetry`] for what agents send. Nothing above them knows
//! which database answers.

mod sqlite;

use std::collections::BTreeMap;
use std::pin::Pin;

use guard_wire::Kind;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

pub use sqlite::{OpenError, Sqlite};

use crate::auth::KeyHash;
use crate::secret::Secret;

/// What every call of a store returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store could not answer. Both pass: ask again later.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum StoreError {
    /// More is waiting to be written than the store takes at once.
    #[error("the store is busy")]
    Busy,
    /// The database failed, for example on a full disk; the log says how.
    #[error("the store is unavailable")]
    Unavailable,
}

/// Names a project within the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProjectId(pub i64);

/// A project: what an API key opens.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its number in the store.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// Opens encrypted payloads; without it they are refused.
    pub encryption_key: Option<Secret>,
    /// Checks the signatures of requests, which it makes mandatory, and signs the rules.
    pub signing_secret: Option<Secret>,
}

/// A change to a project. `None` leaves what is stored; an empty secret removes it.
#[derive(Debug, Default)]
pub struct ProjectSettings {
    /// Replaces the project's keys.
    pub key: Option<KeyHash>,
    /// Replaces the encryption key.
    pub encryption_key: Option<Secret>,
    /// Replaces the signing secret.
    pub signing_secret: Option<Secret>,
}

/// A rules document as it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRules {
    /// Its version.
    pub version: i64,
    /// The JSON that agents get.
    pub document: String,
}

/// What became of a rules document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulesOutcome {
    /// It is what agents get from now on.
    Set,
    /// Agents would ignore it: its version is not above the `current` one.
    VersionNotAbove {
        /// The version that is stored.
        current: i64,
    },
}

/// Projects, their keys and their rules.
pub trait Control: Send + Sync {
    /// The project that `key` opens. Hashes are compared in constant time.
    fn project_of_key(&self, key: KeyHash) -> Answer<'_, Option<Project>>;

    /// The project called `name`.
    fn project_named<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Project>>;

    /// Creates the project called `name` or changes it.
    fn save_project<'a>(&'a self, name: &'a str, settings: ProjectSettings) -> Answer<'a, ()>;

    /// The rules of a project, if any were set.
    fn rules(&self, project: ProjectId) -> Answer<'_, Option<StoredRules>>;

    /// Stores rules whose version is above the stored one.
    fn set_rules(&self, project: ProjectId, rules: StoredRules) -> Answer<'_, RulesOutcome>;
}

/// One record on its way into the store: the columns that are searched, and the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Makes the record unique within its project and kind; without one it is always stored.
    pub idempotency_key: Option<String>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// `event_type` or `metric_type`.
    pub type_name: String,
    /// The client's address; events only.
    pub ip: Option<String>,
    /// The path it concerns.
    pub endpoint: Option<String>,
    /// What was measured; metrics only.
    pub value: Option<f64>,
    /// The JSON object as it came, unknown keys included.
    pub body: String,
}

/// A number for each kind of record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// For events.
    pub events: u64,
    /// For metrics.
    pub metrics: u64,
}

impl Counts {
    /// The number for `kind`.
    pub const fn of(self, kind: Kind) -> u64 {
        match kind {
            Kind::Event => self.events,
            Kind::Metric => self.metrics,
        }
    }

    /// The number for `kind`, to change it.
    pub const fn of_mut(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Event => &mut self.events,
            Kind::Metric => &mut self.metrics,
        }
    }
}

/// What one request brings.
#[derive(Debug)]
pub struct Batch {
    /// Whose it is.
    pub project: ProjectId,
    /// When it came.
    pub received_at: Timestamp,
    /// Its valid events.
    pub events: Vec<Record>,
    /// Its valid metrics.
    pub metrics: Vec<Record>,
    /// How many records were left out.
    pub invalid: Counts,
}

impl Batch {
    /// The valid records of `kind`.
    pub fn records(&self, kind: Kind) -> &[Record] {
        match kind {
            Kind::Event => &self.events,
            Kind::Metric => &self.metrics,
        }
    }
}

/// What became of a batch: it is committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Stored by this batch.
    pub stored: Counts,
    /// Already there, under the same idempotency key.
    pub duplicates: Counts,
}

/// The latest report of one installation.
#[derive(Debug)]
pub struct StatusReport {
    /// Whose it is.
    pub project: ProjectId,
    /// The installation it comes from.
    pub install_id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The JSON object as it came.
    pub body: String,
}

/// How many records of one kind were stored.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindSummary {
    /// All of them.
    pub total: u64,
    /// By `event_type` or `metric_type`.
    pub by_type: BTreeMap<String, u64>,
}

/// The latest report of one installation, as queries answer it.
#[derive(Debug, Serialize)]
pub struct AgentReport {
    /// The installation.
    pub install_id: String,
    /// When the report came.
    pub received_at: Timestamp,
    /// The report as it came.
    pub status: Box<RawValue>,
}

/// All that a project received, in numbers.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Events stored.
    pub events: KindSummary,
    /// Metrics stored.
    pub metrics: KindSummary,
    /// Records that came again and were not stored again.
    pub duplicates: Counts,
    /// Records left out of their batch.
    pub invalid: Counts,
    /// The agents that reported, latest first, at most 100.
    pub agents: Vec<AgentReport>,
}

impl Summary {
    /// What was stored of `kind`.
    pub const fn of_mut(&mut self, kind: Kind) -> &mut KindSummary {
        match kind {
            Kind::Event => &mut self.events,
            Kind::Metric => &mut self.metrics,
        }
    }
}

/// A record as it was stored.
#[derive(Debug)]
pub struct StoredRecord {
    /// Rises with every record of its kind.
    pub id: i64,
    /// The JSON object as it came.
    pub body: Box<RawValue>,
}

/// Which records of a kind to read, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Only records with a smaller id.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u16,
}

/// What agents send.
pub trait Telemetry: Send + Sync {
    /// Stores a batch, all or nothing. When it answers, the batch is committed.
    fn append(&self, batch: Batch) -> Answer<'_, Receipt>;

    /// Keeps the latest report of an installation.
    fn save_status(&self, report: StatusReport) -> Answer<'_, ()>;

    /// All that the project received, in numbers.
    fn summary(&self, project: ProjectId) -> Answer<'_, Summary>;

    /// The newest records of a kind.
    fn records(&self, project: ProjectId, kind: Kind, page: Page) -> Answer<'_, Vec<StoredRecord>>;
}
