//! Queries of people about events and metrics.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{BoxFuture, Cursor, ProjectId};
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::query::filter::{Field, Filter};
use crate::query::metric::{KeyValues, METRIC_DIMENSIONS, MetricTopItem, Stat};
use crate::query::series::Series;
use crate::query::top::Top;

/// The records that a query is about.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The project.
    pub project: ProjectId,
    /// When they happened.
    pub range: TimeRange,
    /// What they must match.
    pub filter: Arc<Filter>,
}

/// A part of a list of events, or of metrics.
#[derive(Debug, Clone)]
pub struct EventQuery {
    /// The records.
    pub selection: Selection,
    /// Only records after this position of the list.
    pub after: Option<Cursor>,
    /// Whether the list begins with the oldest record instead of the newest.
    pub is_oldest_first: bool,
    /// The most records.
    pub limit: u16,
    /// Stop at the event that brings the total to this many bytes of JSON.
    pub bytes: usize,
    /// Stop after this many bodies were read to compare them with the filter.
    pub compare: u32,
}

/// A stored event, or metric.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Identifies it in its project, and is its position in a list.
    pub id: Cursor,
    /// When it happened.
    pub timestamp: Timestamp,
    /// When it came.
    pub received_at: Timestamp,
    /// The install that sent it, if the request named it.
    pub install_id: Option<String>,
    /// The JSON object as it was sent.
    pub body: Box<RawValue>,
}

/// A part of a list of events, or of metrics.
#[derive(Debug, Default)]
pub struct EventSlice {
    /// The records.
    pub events: Vec<StoredEvent>,
    /// Where the next slice begins. `None` if there are no more. The next slice may be empty.
    pub next: Option<Cursor>,
}

/// A statistic of a metric.
#[derive(Debug, Clone)]
pub struct MetricQuery {
    /// The metrics.
    pub selection: Selection,
    /// The type of metric.
    pub metric: &'static str,
    /// The statistic.
    pub stat: Stat,
    /// What the metrics are grouped by.
    pub by: Option<Field>,
}

impl MetricQuery {
    /// A field that it names and by which metrics are not added up as they come in. Only single
    /// metrics answer such a query.
    pub fn single_field(&self) -> Option<String> {
        let by = self.by.as_ref();
        let is_single =
            |by: &&Field| !matches!(by, Field::Named(name) if METRIC_DIMENSIONS.contains(name));
        let [endpoint, method, status] = METRIC_DIMENSIONS;
        let filtered = ["metric_type", endpoint, method, status];
        by.filter(is_single)
            .map(ToString::to_string)
            .or_else(|| self.selection.filter.other_field(&filtered))
    }
}

/// Queries of people about events and metrics.
///
/// Answers about the same selection agree with each other. A query ends with
/// [`StoreError::TimedOut`](super::StoreError::TimedOut) when it takes too long, and stops soon
/// after its future is dropped.
pub trait Search: Send + Sync {
    /// A part of a list of events.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidCursor`](super::StoreError::InvalidCursor) for a cursor that this
    /// engine did not make.
    fn events(&self, query: EventQuery) -> BoxFuture<'_, EventSlice>;

    /// The same of the metrics that are still kept one by one.
    fn metrics(&self, query: EventQuery) -> BoxFuture<'_, EventSlice>;

    /// One event.
    fn event(&self, project: ProjectId, id: Cursor) -> BoxFuture<'_, Option<StoredEvent>>;

    /// How many events there are in each bucket, by key. The buckets cover the selection's range.
    fn series(
        &self,
        selection: Selection,
        by: Option<Field>,
        buckets: Buckets,
    ) -> BoxFuture<'_, Series>;

    /// The `limit` most frequent keys of the events, grouped by these fields.
    fn top(&self, selection: Selection, by: Vec<Field>, limit: usize) -> BoxFuture<'_, Top>;

    /// A statistic of a metric in each bucket, for the keys with the most records. Too many keys
    /// count as one, `(other)`.
    fn metric_series(&self, query: MetricQuery, buckets: Buckets) -> BoxFuture<'_, Vec<KeyValues>>;

    /// The `limit` keys for which a statistic of a metric is largest.
    fn metric_top(&self, query: MetricQuery, limit: usize) -> BoxFuture<'_, Vec<MetricTopItem>>;
}
