//! What the server remembers, as two traits: [`Control`] for projects, keys
//! and rules, [`Telemetry`] for what agents send. Nothing above them knows
//! which database answers.

mod fleet;
mod sqlite;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use guard_wire::Kind;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

pub use fleet::{AgentId, FORGET_AFTER, Follower, Heard, MAKES_WAY_AFTER, Sighting, Since};
pub use sqlite::{Lock, LockError, OpenError, Sqlite};

use crate::projects::KeyHash;
use crate::secret::Secret;

/// What every call of a store returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

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
}

/// A list ends with the record by which it holds so many bytes of JSON, also
/// before its limit.
pub const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;

/// How many different values a store counts or remembers, for each project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Types of each kind of record that have a count; the others are counted together.
    pub types: u32,
    /// Installs whose last status is kept, and processes whose rules are kept account of.
    pub installs: u32,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            types: 1000,
            installs: 10_000,
        }
    }
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

/// One version of the rules of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRules {
    /// The version.
    pub version: i64,
    /// The JSON that agents get.
    pub document: String,
    /// The JSON of the policy it was composed of.
    pub policy: String,
    /// When the bans that it gives out end.
    pub lease_ends: Option<Timestamp>,
    /// When it must be composed anew.
    pub due: Option<Timestamp>,
    /// How it came about.
    pub change: Change,
}

/// How a version of the rules came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When.
    pub created_at: Timestamp,
    /// What was done, in words.
    pub action: String,
    /// Who did it.
    pub author: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A rules document that is not published yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its JSON.
    pub document: String,
    /// Names the document that was published when it was saved.
    pub base: Option<String>,
    /// When it was saved.
    pub saved_at: Timestamp,
    /// Who saved it.
    pub author: Option<String>,
}

/// What became of a rules document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulesOutcome {
    /// It is what agents get from now on.
    Set,
    /// Another version was set since the one it was made from.
    Outdated,
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

    /// The version of the rules of a project, if any were set. Cheap.
    fn rules_version(&self, project: ProjectId) -> Answer<'_, Option<i64>>;

    /// The version `version` of the rules of a project, if it is kept: the newest
    /// thousand are, as far as they take 64 MiB; of several in a row that come from the
    /// same policy, through nobody's action, the first and the newest.
    fn rules_at(&self, project: ProjectId, version: i64) -> Answer<'_, Option<StoredRules>>;

    /// Versions before `before`, newest first, at most `limit`.
    fn rules_history(
        &self,
        project: ProjectId,
        before: i64,
        limit: u16,
    ) -> Answer<'_, Vec<(i64, Change)>>;

    /// The projects whose rules are due at `now`, or were made later than `ahead`.
    fn rules_due(&self, now: Timestamp, ahead: Timestamp) -> Answer<'_, Vec<ProjectId>>;

    /// Stores rules made from the version `from`, if that is still in force.
    fn set_rules(
        &self,
        project: ProjectId,
        from: Option<i64>,
        rules: StoredRules,
    ) -> Answer<'_, RulesOutcome>;

    /// The draft of a project, if there is one.
    fn draft(&self, project: ProjectId) -> Answer<'_, Option<Draft>>;

    /// Keeps a draft in place of the one before.
    fn save_draft(&self, project: ProjectId, draft: Draft) -> Answer<'_, ()>;

    /// Removes `draft`, unless another one was saved since.
    fn remove_draft(&self, project: ProjectId, draft: Draft) -> Answer<'_, ()>;

    /// Remembers what was heard of agents, in this order; at most
    /// [`StoreLimits::installs`] of a project, none that was unseen for [`FORGET_AFTER`].
    /// Of more, those that are new are passed over unless one of the others was unseen
    /// for [`MAKES_WAY_AFTER`].
    fn save_sightings(&self, sightings: Arc<[Sighting]>) -> Answer<'_, ()>;

    /// Moves all times at which agents were heard of: the clock was set by so much.
    fn move_agents(&self, by: SignedDuration) -> Answer<'_, ()>;

    /// The agents that ask for the rules of a project, by installation and process.
    fn followers(&self, project: ProjectId) -> Answer<'_, Vec<Follower>>;
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
    /// Those of types beyond [`StoreLimits::types`].
    #[serde(skip_serializing_if = "is_zero")]
    pub other: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
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
    /// The agents that reported, latest first, at most 100 and up to [`MAX_LIST_BYTES`].
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
    /// Up to the record by which they hold so many bytes of JSON.
    pub bytes: usize,
}

/// What agents send.
pub trait Telemetry: Send + Sync {
    /// Stores a batch, all or nothing. When it answers, the batch is committed.
    fn append(&self, batch: Batch) -> Answer<'_, Receipt>;

    /// Keeps the latest report of an installation, of at most [`StoreLimits::installs`]
    /// of a project. Of more, a new one is passed over unless one of the others was not
    /// heard of for [`MAKES_WAY_AFTER`].
    fn save_status(&self, report: StatusReport) -> Answer<'_, ()>;

    /// Commits something, as a sign that batches can be stored. A store that has no way
    /// to tell answers that they can.
    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// All that the project received, in numbers.
    fn summary(&self, project: ProjectId) -> Answer<'_, Summary>;

    /// The newest records of a kind.
    fn records(&self, project: ProjectId, kind: Kind, page: Page) -> Answer<'_, Vec<StoredRecord>>;
}
