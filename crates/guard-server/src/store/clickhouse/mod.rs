//! Telemetry in ClickHouse: events and metrics of several nodes.
//!
//! # Tables
//!
//! `schema/` has the columns of `events` and `metrics`. Both are `ReplacingMergeTree`s by
//! `(project, timestamp, key)`, in partitions by day. Days before 2020 and after 2100 share one.
//!
//! | column | what it holds |
//! |---|---|
//! | `key` | the first 128 bits of SHA-256 of the idempotency key; random for a record without one |
//! | `arrival` | its place in the order of arrival: `count * 16 + slot - 1`, where a node counts in its slot |
//! | `version` | the inverse of `arrival`: of two copies, the one that arrived first stays |
//! | `event_type`, `endpoint`, ... | the field if it is a text, or NULL |
//! | `ip_address` | the text, or the canonical form of an address |
//! | `status_code`, `threat_score`, ... | the field if it is a number that [`Columns`] takes, or NULL |
//! | `untyped` | the fields whose value has another type, by [`Untyped`] number: the value as JSON |
//! | `metadata`, `tags` | the keys of the object of this name, each with its value as JSON |
//! | `body` | the record as it was sent |
//! | `size` | the bytes of `body` |
//!
//! An object with enrichment in nested objects has it in the columns as well. JSON in `untyped`,
//! `metadata` and `tags` is as `serde_json` writes it, without spaces: a group by such a field has
//! this text as key (a string without its quotes).
//!
//! `cutoffs` has what was removed from a project: records before a time (microseconds), by kind,
//! and for each slot the last arrival that was removed. Records before the cutoff are hidden at
//! once by [`since`], and leave the disk later (`sweep`). `left_out` counts records that were not
//! valid.
//!
//! # Once over nodes
//!
//! A record that is sent again, to any node, has the same sort key. Every read uses `FINAL` or
//! looks at all copies of a key, so it counts once at once, and not only after a merge.
//!
//! # Order of arrival
//!
//! A node inserts one after the other, and each insert is one block of one partition, so what a
//! slot wrote becomes visible in the order of its arrivals. An insert whose outcome is unknown is
//! repeated, with the same rows, before the next one. A position is the last arrival of each slot.
//!
//! # Time
//!
//! All times are UTC by their type, and every query sets `session_timezone`.
//!
//! [`Columns`]: crate::store::Columns

mod arrivals;
mod client;
mod due;
mod endpoint;
mod open;
mod place;
mod position;
mod retention;
mod rows;
mod schema;
mod search;
mod telemetry;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

pub use self::endpoint::{Endpoint, EndpointError};
pub use self::open::OpenError;
pub use self::schema::{Cluster, ClusterError};

use self::arrivals::Newest;
use self::client::{Engine, QUERY_TIME};
use self::due::Due;
use self::search::Searches;
use self::writer::{PAUSE, SlotNow, Writer};
use super::StoreError;

/// The numbers of fields in `untyped`, besides those of [`TextField`](crate::store::TextField).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Untyped {
    /// `status_code` of an event, `status` of a metric.
    Status = 19,
    /// An `ip_address` whose text is not the canonical form of the address.
    Address = 20,
    /// `response_time`.
    ResponseTime = 21,
    /// `guard.threat_score`.
    Score = 22,
    /// `guard.rule.version`.
    RuleVersion = 23,
    /// `guard.behavior.recent_event_count`.
    Recent = 24,
    /// `guard.behavior.correlation_key`.
    Correlation = 25,
    /// `traceparent`.
    Trace = 26,
}

/// The types of records that have a name in counts, until a batch says how many do.
const TYPES: u32 = 1000;

/// The store of events and metrics of several nodes.
#[derive(Debug)]
pub struct ClickHouse {
    engine: Engine,
    cluster: Option<Cluster>,
    writer: Writer,
    newest: Newest,
    /// How many types have a name in counts.
    types: AtomicU32,
    /// When hidden records are taken off the disk.
    deleting: Due,
    searches: Searches,
}

impl ClickHouse {
    /// Opens the database, and makes it and its tables if they are missing. On a `cluster`, all its
    /// replicas hold them.
    ///
    /// `slot` tells the number of this node, from 1 to 16, which no other node has at the same time.
    /// While it tells none, nothing can be stored.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if ClickHouse cannot be used.
    pub async fn open(
        endpoint: Endpoint,
        cluster: Option<Cluster>,
        slot: impl Fn() -> Option<u16> + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        Self::start(endpoint, cluster, Arc::new(slot), PAUSE).await
    }

    /// Looks at the database, and changes nothing. Returns what it is.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if ClickHouse cannot be used.
    pub async fn inspect(endpoint: &Endpoint) -> Result<String, OpenError> {
        open::inspect(endpoint).await
    }

    /// The same as [`open`](Self::open) with another pause between inserts.
    async fn start(
        endpoint: Endpoint,
        cluster: Option<Cluster>,
        slot: SlotNow,
        pause: Duration,
    ) -> Result<Self, OpenError> {
        let engine = open::open(&Arc::new(endpoint), cluster.as_ref()).await?;
        Ok(Self {
            writer: Writer::start(engine.clone(), slot, pause),
            engine,
            cluster,
            newest: Newest::default(),
            types: AtomicU32::new(TYPES),
            deleting: Due::default(),
            searches: Searches::default(),
        })
    }

    fn on_cluster(&self) -> String {
        schema::filled("{on_cluster}", self.cluster.as_ref())
    }

    /// Waits until the replica that answers has what the others had at the time of the call. Parts
    /// come to it in any order, and readers in order of arrival would miss some.
    async fn sync_replica(&self) -> Result<(), StoreError> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let sync = self
            .engine
            .statement("SYSTEM SYNC REPLICA events LIGHTWEIGHT");
        self.engine.execute(sync, QUERY_TIME).await
    }
}
