//! Events and metrics in SQLite.
//!
//! # Tables
//!
//! Times are microseconds since the epoch (`timestamp`, `received_at`), seconds (`start`) or days
//! (`seen`, `day`).
//!
//! ```sql
//! -- Dictionaries. `field` is a `NameField`. `id` counts from 1 within (project, field). Each field
//! -- has a limit; `seen` is the day of the last use, so that retention can remove unused names.
//! CREATE TABLE names (project, field, id, text, seen, PRIMARY KEY (project, field, id)) WITHOUT ROWID;
//! CREATE UNIQUE INDEX names_text ON names (project, field, text);
//!
//! -- `key` is a 64-bit hash of the idempotency key (random for a record without one).
//! CREATE TABLE events (project, timestamp, key,
//!     chunk, position,                         -- where the body is
//!     install,                                 -- name: `X-Agent-Install-Id`, or NULL
//!     type, action, method, status, country, endpoint,
//!     address, reason, user_agent, response_time, rule_type, decorator, handler, pattern,
//!     score, rule, rule_version, service, environment, guard_project,
//!     recent, correlation, trace,              -- the enrichment in `metadata`
//!     PRIMARY KEY (project, timestamp, key)) WITHOUT ROWID;
//!
//! CREATE TABLE metrics (project, timestamp, key, chunk, position, install,
//!     type, endpoint, method, status, value,
//!     score, rule, rule_version, service, environment, guard_project,
//!     recent, correlation, trace,              -- the enrichment in `tags`
//!     PRIMARY KEY (project, timestamp, key)) WITHOUT ROWID;
//!
//! -- The bodies of the records of one batch and kind, up to a limit, compressed together.
//! -- `live` counts the rows that still point to the chunk. `id` grows with every batch.
//! CREATE TABLE chunks (id INTEGER PRIMARY KEY, project, kind, received_at, live);
//! -- A trigger removes the bodies with their chunk.
//! CREATE TABLE bodies (id INTEGER PRIMARY KEY, data BLOB);
//!
//! -- For readers that follow events in order of arrival. `identity` is in their cursors. `chunk` and
//! -- `position` are the last place from which an event was removed.
//! CREATE TABLE arrivals (project PRIMARY KEY, identity, chunk, position);
//!
//! -- How many events had `value` in `field`, per hour (`span` 3600). Fields: type, action, method,
//! -- status, country, endpoint. Those with more values, which are address, reason and user_agent,
//! -- are counted per hour and day (86400).
//! -- Each field counts each event once, so the sum over a field's values is the total.
//! CREATE TABLE event_counts (project, span, field, start, value, n,
//!     PRIMARY KEY (project, span, field, start, value)) WITHOUT ROWID;
//!
//! -- The same counts per minute, without address, reason and user_agent. `counts` has all fields and
//! -- values (`rollups/minutes.rs`).
//! CREATE TABLE event_minutes (project, start, counts BLOB, PRIMARY KEY (project, start)) WITHOUT ROWID;
//!
//! -- Events per hour by all of these at once: for groups with a filter on another of these fields.
//! -- `event_quarters` is the same per six hours.
//! CREATE TABLE event_hours (project, start, type, action, method, status, country, endpoint, n,
//!     PRIMARY KEY (project, start, type, action, method, status, country, endpoint)) WITHOUT ROWID;
//!
//! -- Metrics per minute and per hour. `n` counts records, `valued` those with a value. The sums of
//! -- all metrics of a type have the spans -60 and -3600, and -1 for the other fields.
//! CREATE TABLE metric_rollups (project, span, type, start, endpoint, method, status,
//!     n, valued, total, least, greatest, sketch BLOB,
//!     PRIMARY KEY (project, span, type, start, endpoint, method, status)) WITHOUT ROWID;
//! ```
//!
//! # What a column holds
//!
//! | | a value | absent or null | only the body tells |
//! |---|---|---|---|
//! | dictionary (`type`, `endpoint`, `reason`, ...) | id of the name, 1 and up | NULL | 0 |
//! | `status` | the integer, 1 and up | NULL | 0 |
//! | `address` | blob of 4 or 16 bytes if the text is the canonical form of an address; the id of a name for other text, such as `system` | NULL | 0 |
//! | `score`, `recent` | the integer, 0 and up | NULL | -1 |
//! | `response_time`, and `value` of a metric | the number; `response_time` 0 and up | NULL | -1 (only `response_time`) |
//! | `correlation`, `trace` | 64-bit hash of the text (`key_hash`) | NULL | 0 |
//!
//! "Only the body tells" stands for a value that is no text (or no number, for number columns), and
//! for a name beyond the dictionary's limit. A filter must then read the body. Rollups count absent
//! values under -1, because a key cannot be NULL; 0 stands for "other" there.
//!
//! The columns `endpoint`, `method` and `status` of a metric come from its `tags` if the record
//! itself has none. Columns of an event never come from `tags`.
//!
//! # Order and identity
//!
//! A record that is sent again has the same timestamp and key, so the primary key is the unique
//! index, the time index and the order of the pages at once. Lists go by
//! `timestamp DESC, chunk DESC, position DESC`: for equal timestamps, by arrival. This triple is the
//! cursor and the public id; it never changes while the record exists. Readers that follow what is
//! committed go by chunk and position: chunk ids grow with every commit, so a reader that saw chunk N
//! has seen all chunks before it. Ids are never used again. From a body in a chunk, the record's time
//! leads to its row, if it has one (`search/arrivals.rs`).

mod append;
mod bodies;
mod convert;
mod leb128;
mod names;
mod prepare;
mod records;
mod retention;
mod rollups;
mod search;
mod tallies;

use std::sync::{Arc, PoisonError};

pub(super) use self::append::{Appending, append};
pub(super) use self::convert::convert;
pub(super) use self::names::Names;
pub(super) use self::prepare::prepare;
use self::retention::Removing;
pub(super) use self::retention::room;
pub(super) use self::rollups::fill;
#[cfg(test)]
pub(super) use self::rollups::of_field;
use super::Sqlite;
use crate::monitoring::StoreMeters;
use crate::projects::Usage;
use crate::store::{
    Batch, BoxFuture, DiskRoom, Expired, Expiry, ProjectId, Receipt, RecordCounts, StoreError,
    Telemetry,
};

impl Sqlite {
    fn remove(
        &self,
        remove: impl FnOnce(&mut Removing<'_>) -> rusqlite::Result<Expired> + Send + 'static,
    ) -> BoxFuture<'_, Expired> {
        let (names, rollbacks) = (Arc::clone(&self.names), self.writer.rollbacks());
        let speeds = Arc::clone(&self.speeds);
        Box::pin(self.writer.write(0, move |connection| {
            let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
            names.follow(rollbacks.count());
            remove(&mut Removing::new(connection, &mut names, &speeds))
        }))
    }
}

impl Telemetry for Sqlite {
    fn append(&self, batch: Batch, max_types: u32) -> BoxFuture<'_, Receipt> {
        Box::pin(async move {
            self.takes_records()?;
            let batch = tokio::task::spawn_blocking(move || prepare(batch)).await;
            let batch = batch.map_err(|_| StoreError::Unavailable)??;
            let (names, rollbacks) = (Arc::clone(&self.names), self.writer.rollbacks());
            let how = Appending {
                types: max_types,
                is_counted: true,
            };
            let write = self.writer.write(batch.bytes, move |connection| {
                let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
                names.follow(rollbacks.count());
                append(connection, &mut names, &batch, how)
            });
            write.await
        })
    }

    fn probe(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.probe())
    }

    fn meters(&self) -> StoreMeters {
        self.health.meters.clone()
    }

    fn expire(&self, project: ProjectId, expiry: Expiry) -> BoxFuture<'_, Expired> {
        self.remove(move |removing| removing.expired(project, expiry))
    }

    fn expire_oldest(&self, project: ProjectId, bytes: u64) -> BoxFuture<'_, Expired> {
        self.remove(move |removing| removing.oldest(project, bytes))
    }

    fn compact(&self, keep: u64) -> BoxFuture<'_, bool> {
        let speeds = Arc::clone(&self.speeds);
        Box::pin(self.writer.write(0, move |connection| {
            retention::compact(connection, keep, &speeds.pages)
        }))
    }

    fn disk_room(&self) -> BoxFuture<'_, DiskRoom> {
        let headroom = Arc::clone(&self.headroom);
        Box::pin(self.blocking(move |readers| {
            headroom.restore();
            readers.check_again();
            let disk = rustix::fs::statvfs(&readers.path).ok();
            let room = readers.with(|connection| retention::room(connection))?;
            Ok(DiskRoom {
                free: disk
                    .as_ref()
                    .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
                total: disk.map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize)),
                ..room
            })
        }))
    }

    fn usage(&self, project: ProjectId) -> BoxFuture<'_, Usage> {
        Box::pin(self.usage(project))
    }

    fn counts(&self, project: ProjectId) -> BoxFuture<'_, RecordCounts> {
        Box::pin(self.read(move |connection| tallies::counts(connection, project)))
    }
}

#[cfg(test)]
mod tests;
