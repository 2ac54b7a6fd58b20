//! The data that agents send: events and metrics.

mod columns;
mod retention;

use std::collections::BTreeMap;

use guard_wire::Kind;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

pub use self::columns::{Column, Columns, TextField};
pub use self::retention::{DiskRoom, Expired, Expiry};
use super::{BoxFuture, ProjectId};
use crate::monitoring::StoreMeters;
use crate::projects::Usage;

/// A record to store: the columns for searching, and the whole object.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecord {
    /// Makes the record unique within its project and kind. A record without a key is always
    /// stored.
    pub idempotency_key: Option<String>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// `event_type` or `metric_type`.
    pub type_name: String,
    /// The client's address; events only.
    pub ip: Option<String>,
    /// The path that it concerns.
    pub endpoint: Option<String>,
    /// The measured value; metrics only.
    pub value: Option<f64>,
    /// The other fields that engines keep in columns.
    pub columns: Columns,
    /// The JSON object as received, including unknown keys.
    pub body: String,
}

/// A number for each kind of record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct KindCounts {
    /// For events.
    pub events: u64,
    /// For metrics.
    pub metrics: u64,
}

impl KindCounts {
    /// The number for `kind`.
    pub const fn of(self, kind: Kind) -> u64 {
        match kind {
            Kind::Event => self.events,
            Kind::Metric => self.metrics,
        }
    }

    /// A mutable reference to the number for `kind`.
    pub const fn of_mut(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Event => &mut self.events,
            Kind::Metric => &mut self.metrics,
        }
    }
}

/// The content of one request.
#[derive(Debug)]
pub struct Batch {
    /// The project.
    pub project: ProjectId,
    /// When it came.
    pub received_at: Timestamp,
    /// The install that sent it, if it said so.
    pub install_id: Option<String>,
    /// Its valid events.
    pub events: Vec<NewRecord>,
    /// Its valid metrics.
    pub metrics: Vec<NewRecord>,
    /// How many records were left out.
    pub invalid: KindCounts,
}

impl Batch {
    /// The valid records of `kind`.
    pub fn records(&self, kind: Kind) -> &[NewRecord] {
        match kind {
            Kind::Event => &self.events,
            Kind::Metric => &self.metrics,
        }
    }
}

/// The receipt for a committed batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// How many records were already stored under the same idempotency key. `None` if the engine
    /// detects duplicates only later.
    pub duplicates: Option<KindCounts>,
}

/// The number of stored records of one kind.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct KindSummary {
    /// The total.
    pub total: u64,
    /// By `event_type` or `metric_type`.
    pub by_type: BTreeMap<String, u64>,
    /// The records of types beyond the limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub other: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The counts of a project's records.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordCounts {
    /// Stored events.
    pub events: KindSummary,
    /// Stored metrics.
    pub metrics: KindSummary,
    /// Repeated records that were not stored again, as far as the engine counts them.
    pub duplicates: KindCounts,
    /// Records that were left out of their batch.
    pub invalid: KindCounts,
}

impl RecordCounts {
    /// A mutable reference to the counts of `kind`.
    pub const fn of_mut(&mut self, kind: Kind) -> &mut KindSummary {
        match kind {
            Kind::Event => &mut self.events,
            Kind::Metric => &mut self.metrics,
        }
    }
}

/// Events and metrics.
pub trait Telemetry: Send + Sync {
    /// Stores a batch, all or nothing. The batch is committed when this returns. At most
    /// `max_types` types of each kind are counted by name; the others are counted together.
    fn append(&self, batch: Batch, max_types: u32) -> BoxFuture<'_, Receipt>;

    /// Commits something to show that batches can be stored. An engine that cannot check this
    /// returns success.
    fn probe(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// What the store measures about itself.
    fn meters(&self) -> StoreMeters {
        StoreMeters::default()
    }

    /// Removes a part of what has expired, with its counts. Each call takes the writer for a short
    /// time only.
    fn expire(&self, project: ProjectId, expiry: Expiry) -> BoxFuture<'_, Expired>;

    /// Removes the oldest records of a project, whatever their age: about as many as take `bytes`
    /// bytes, or a part of them.
    fn expire_oldest(&self, project: ProjectId, bytes: u64) -> BoxFuture<'_, Expired>;

    /// Removes a part of the records of removed projects. Returns whether there is more.
    /// An engine that also has the projects does this in
    /// [`Projects::sweep`](super::Projects::sweep).
    fn sweep(&self, projects: Vec<ProjectId>) -> BoxFuture<'_, bool> {
        let _ = projects;
        Box::pin(async { Ok(false) })
    }

    /// Returns a part of the room that is not in use to the disk, but keeps `keep` bytes for new
    /// records. Returns whether there is more.
    /// An engine that does this by itself returns false.
    fn compact(&self, keep: u64) -> BoxFuture<'_, bool> {
        let _ = keep;
        Box::pin(async { Ok(false) })
    }

    /// The room of the store on its disk, as far as it knows.
    fn disk_room(&self) -> BoxFuture<'_, DiskRoom> {
        Box::pin(async { Ok(DiskRoom::default()) })
    }

    /// How much room the data of a project takes.
    fn usage(&self, project: ProjectId) -> BoxFuture<'_, Usage>;

    /// The counts of a project's records.
    fn counts(&self, project: ProjectId) -> BoxFuture<'_, RecordCounts>;
}
