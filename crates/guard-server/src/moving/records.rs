//! Moves the records of a project, page by page.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use guard_wire::Kind;
use jiff::Timestamp;
use tokio::time::sleep;

use super::MovingError;
use crate::ingest::record;
use crate::query::TimeRange;
use crate::query::filter::Filter;
use crate::store::{
    Batch, Cursor, EventQuery, KindCounts, Move, MovedUntil, NewRecord, Project, ProjectId,
    Selection, StoreError, StoredEvent, Stores,
};

/// The most records of a page.
const PAGE: u16 = 5000;
/// A page ends with the record that brings it to this many bytes.
const PAGE_BYTES: usize = 8 << 20;
/// How often a page is tried while the target is busy, and the pause in between.
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_secs(2);

/// All records of a project.
pub(super) fn everything(project: ProjectId) -> Selection {
    Selection {
        project,
        range: TimeRange {
            from: Timestamp::MIN,
            to: Timestamp::MAX,
        },
        filter: Arc::new(Filter::everything()),
    }
}

/// A page of the list of a project, the oldest records first.
pub(super) fn page(selection: Selection, after: Option<Cursor>, limit: u16) -> EventQuery {
    EventQuery {
        selection,
        after,
        is_oldest_first: true,
        limit,
        bytes: PAGE_BYTES,
        compare: u32::MAX,
    }
}

/// The way of the records of a project.
pub(super) struct Transfer<'a> {
    pub(super) from: &'a Stores,
    pub(super) to: &'a Stores,
    pub(super) moving: &'a Move<'a>,
    pub(super) project: &'a Project,
}

impl Transfer<'_> {
    /// Moves all records. Returns how many there are.
    pub(super) async fn run(
        &self,
        progress: &mut (impl FnMut(&str, u64) + Send),
    ) -> Result<KindCounts, MovingError> {
        let mut moved = KindCounts::default();
        for kind in [Kind::Event, Kind::Metric] {
            *moved.of_mut(kind) = self.kind(kind, progress).await?;
        }
        Ok(moved)
    }

    async fn kind(
        &self,
        kind: Kind,
        progress: &mut (impl FnMut(&str, u64) + Send),
    ) -> Result<u64, MovingError> {
        let project = self.project.id;
        let end = self.from.arrivals.now(project).await;
        let source = end.map_err(MovingError::Source)?.to_string();
        let earlier = self.moving.moved(project, kind.as_str()).await?;
        // If a server ran since, records may have come with earlier times: begin again. Those that are
        // there count once.
        let mut until = earlier
            .filter(|it| it.source == source)
            .unwrap_or(MovedUntil {
                source,
                ..MovedUntil::default()
            });
        while !until.is_done {
            let after = until.position.as_deref().map(str::parse).transpose();
            let query = page(
                everything(project),
                after.map_err(MovingError::Source)?,
                PAGE,
            );
            let slice = match kind {
                Kind::Event => self.from.search.events(query),
                Kind::Metric => self.from.search.metrics(query),
            };
            let slice = slice.await.map_err(MovingError::Source)?;
            until.records += slice.events.len() as u64;
            until.position = slice.next.as_ref().map(ToString::to_string);
            until.is_done = slice.next.is_none();
            self.store(kind, slice.events).await?;
            self.moving.note(project, kind.as_str(), &until).await?;
            progress(kind.as_str(), until.records);
        }
        Ok(until.records)
    }

    /// Stores a page. It is tried for a minute, while the target is busy or away.
    async fn store(&self, kind: Kind, stored: Vec<StoredEvent>) -> Result<(), MovingError> {
        let mut attempts = 0;
        loop {
            let batches = self.batches(kind, &stored)?;
            let appends = batches
                .into_iter()
                .map(|batch| self.to.telemetry.append(batch, u32::MAX));
            match try_join_all(appends).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Busy | StoreError::Unavailable) if attempts < ATTEMPTS => {
                    attempts += 1;
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(MovingError::Target(error)),
            }
        }
    }

    /// The records by the time at which they came and the install that sent them.
    fn batches(&self, kind: Kind, stored: &[StoredEvent]) -> Result<Vec<Batch>, MovingError> {
        let mut batches = HashMap::<_, Batch>::new();
        for record in stored {
            let new = self.record(kind, record)?;
            let sender = (record.received_at, record.install_id.as_deref());
            let batch = batches.entry(sender).or_insert_with(|| Batch {
                project: self.project.id,
                received_at: record.received_at,
                install_id: record.install_id.clone(),
                events: Vec::new(),
                metrics: Vec::new(),
                invalid: KindCounts::default(),
            });
            match kind {
                Kind::Event => batch.events.push(new),
                Kind::Metric => batch.metrics.push(new),
            }
        }
        Ok(batches.into_values().collect())
    }

    /// The record as an agent would send it. One without a key gets one from its place, so that it
    /// counts once too.
    fn record(&self, kind: Kind, stored: &StoredEvent) -> Result<NewRecord, MovingError> {
        let mut record = record::read(kind, &stored.body).map_err(|error| MovingError::Record {
            project: self.project.name.clone(),
            why: error.to_string(),
        })?;
        let place = || format!("moved from {}", stored.id);
        record.idempotency_key.get_or_insert_with(place);
        record.timestamp = stored.timestamp;
        Ok(record)
    }
}
