//! Follows the events of a project in their order of arrival, and counts them.

use serde_json::{Map, Value};

use super::super::Round;
use super::super::fill::fill;
use super::super::watch::{Arrival, Source};
use super::ProjectWatch;
use crate::query::filter;
use crate::store::{ArrivalQuery, Cursor, Project, StoreError, StoredEvent, Stores};

/// Events that are read at once.
const SLICE: u16 = 1000;
/// Bytes of events that are read at once.
const SLICE_BYTES: usize = 4 << 20;
/// After this many slices, counts are read from the store instead.
const MAX_SLICES: usize = 500;

impl ProjectWatch {
    /// Reads what arrived after `begin`. Returns the new position.
    pub(super) async fn follow_events(
        &mut self,
        stores: &Stores,
        project: &Project,
        begin: &Cursor,
        round: Round<'_>,
        limit: usize,
    ) -> Result<Option<Cursor>, StoreError> {
        let mut position = begin.clone();
        for watch in &mut self.watches {
            if let Err(error) = fill(watch, stores, project.id, round.reading.now, limit).await {
                // It is tried again in the next round.
                tracing::debug!(%error, alert = watch.stored.id, "cannot read the counts of an alert");
            }
        }
        for _ in 0..MAX_SLICES {
            if self.routes.is_empty() {
                position = stores.arrivals.now(project.id).await?;
                break;
            }
            let query = ArrivalQuery {
                project: project.id,
                after: position,
                until: None,
                limit: SLICE,
                bytes: SLICE_BYTES,
            };
            let slice = match stores.arrivals.arrivals(query).await {
                Err(StoreError::ExpiredCursor | StoreError::InvalidCursor) => {
                    return self.start_over(stores, project).await;
                }
                slice => slice?,
            };
            for arrived in &slice.events {
                self.arrived(&arrived.event, round, limit);
            }
            position = slice.next;
            if slice.is_complete {
                let has_moved = position != *begin || self.position.is_none();
                self.position = Some(position.clone());
                return Ok(has_moved.then_some(position));
            }
        }
        if self.routes.is_empty() {
            self.position = Some(position);
            return Ok(None);
        }
        self.start_over(stores, project).await
    }

    /// Reads counts from the store in the next round, because events cannot be followed from here.
    async fn start_over(
        &mut self,
        stores: &Stores,
        project: &Project,
    ) -> Result<Option<Cursor>, StoreError> {
        let position = stores.arrivals.now(project.id).await?;
        for watch in &mut self.watches {
            if let Source::Events(counts) = &mut watch.source {
                counts.filled_at = None;
            }
        }
        self.position = Some(position.clone());
        Ok(Some(position))
    }

    fn arrived(&mut self, event: &StoredEvent, round: Round<'_>, limit: usize) {
        let Ok(body) = serde_json::from_str::<Map<String, Value>>(event.body.get()) else {
            return;
        };
        let record = filter::Subject {
            body: &body,
            timestamp: Some(event.timestamp),
            install_id: event.install_id.as_deref(),
        };
        let arrival = Arrival {
            record,
            timestamp: event.timestamp,
            received_at: event.received_at,
            now: round.reading.now,
            limit,
        };
        for number in self.index.matching(record) {
            for watch in &self.routes[number] {
                self.watches[*watch].arrived(arrival);
            }
        }
    }
}
