//! What happened around an event.

use std::sync::Arc;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::EventItem;
use super::filters::{and, has, metadata, named};
use crate::query::filter::{Field, Filter, Subject};
use crate::query::group::key_of;
use crate::query::{MAX_LIST_BYTES, TimeRange};
use crate::store::{Cursor, EventQuery, ProjectId, Search, Selection, StoreError, StoredEvent};

/// The most events in each list.
const LIMIT: usize = 20;
/// The most events in a query: one of them may be the event itself.
const LIMITED: u16 = 21;
/// How far before and after an event its address and its correlation key are looked for.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How far before and after an event other events are its neighbours in time.
const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// The most bodies that are compared for one list.
const COMPARED: u32 = 20_000;
/// The key that events of one behaviour share.
const CORRELATION_KEY: &str = "guard.behavior.correlation_key";

/// An event and what happened around it.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventDetail {
    /// The event.
    #[serde(flatten)]
    pub item: EventItem,
    /// What happened around it.
    pub neighbours: Neighbours,
}

/// The events around an event, newest first, without itself.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Neighbours {
    /// With the same address, within a day.
    pub address: Vec<EventItem>,
    /// With the same correlation key, within a day.
    pub correlation: Vec<EventItem>,
    /// In the minute before and the minute after.
    pub minute: Vec<EventItem>,
}

/// The event with this id, and its neighbours.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn event_detail(
    search: &dyn Search,
    project: ProjectId,
    id: Cursor,
) -> Result<Option<EventDetail>, StoreError> {
    let Some(event) = search.event(project, id).await? else {
        return Ok(None);
    };
    let around = Around {
        search,
        project,
        event: &event,
    };
    let neighbours = Neighbours {
        address: around.alike(named("ip_address")).await?,
        correlation: around.alike(metadata(CORRELATION_KEY)).await?,
        minute: around.list(None, MINUTE).await?,
    };
    Ok(Some(EventDetail {
        item: event.into(),
        neighbours,
    }))
}

struct Around<'a> {
    search: &'a dyn Search,
    project: ProjectId,
    event: &'a StoredEvent,
}

impl Around<'_> {
    /// The events with the same value in a field, if the event has one.
    async fn alike(&self, field: Field) -> Result<Vec<EventItem>, StoreError> {
        let body = serde_json::from_str::<Value>(self.event.body.get()).unwrap_or_default();
        let key = body.as_object().and_then(|body| {
            let subject = Subject {
                body,
                timestamp: Some(self.event.timestamp),
                install_id: None,
            };
            key_of(&field, subject)
        });
        match key.filter(|key| !key.is_empty()) {
            Some(key) => self.list(Some((field, key)), DAY).await,
            None => Ok(Vec::new()),
        }
    }

    async fn list(
        &self,
        alike: Option<(Field, String)>,
        span: SignedDuration,
    ) -> Result<Vec<EventItem>, StoreError> {
        let at = self.event.timestamp;
        let micro = SignedDuration::from_micros(1);
        let selection = Selection {
            project: self.project,
            range: TimeRange {
                from: at.saturating_sub(span).unwrap_or(at),
                to: at.saturating_add(span + micro).unwrap_or(at),
            },
            filter: Arc::new(Filter::everything()),
        };
        let selection = match alike {
            Some((field, key)) => and(&selection, has(field, &Some(key))),
            None => selection,
        };
        let later = TimeRange {
            from: at,
            ..selection.range
        };
        let earlier = TimeRange {
            to: at,
            ..selection.range
        };
        let mut later = self.part(&selection, later, true).await?;
        later.retain(|event| event.id != self.event.id);
        let earlier = self.part(&selection, earlier, false).await?;
        // Half of the list is later than the event, or more if few are earlier.
        later.truncate((LIMIT / 2).max(LIMIT.saturating_sub(earlier.len())));
        let found = later.into_iter().rev().chain(earlier).take(LIMIT);
        Ok(found.map(EventItem::from).collect())
    }

    async fn part(
        &self,
        selection: &Selection,
        range: TimeRange,
        is_oldest_first: bool,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let query = EventQuery {
            selection: Selection {
                range,
                ..selection.clone()
            },
            after: None,
            is_oldest_first,
            limit: LIMITED,
            bytes: MAX_LIST_BYTES / 16,
            compare: COMPARED,
        };
        Ok(self.search.events(query).await?.events)
    }
}
