//! The parts that answers have in common.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::query::buckets::Buckets;
use crate::query::group::Key;
use crate::query::series::Series;
use crate::query::top::Top;
use crate::query::{TimeRange, Utc};
use crate::store::StoredEvent;

/// An event in an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventItem {
    /// Identifies it in its project.
    pub id: String,
    /// When it came.
    pub received_at: Utc,
    /// The install that sent it.
    #[schema(required = true)]
    pub install_id: Option<String>,
    /// The event as it was sent.
    #[schema(value_type = Object)]
    pub event: Box<RawValue>,
}

impl From<StoredEvent> for EventItem {
    fn from(event: StoredEvent) -> Self {
        Self {
            id: event.id.to_string(),
            received_at: Utc(event.received_at),
            install_id: event.install_id,
            event: on_one_line(event.body),
        }
    }
}

/// A metric in an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricItem {
    /// Identifies it in its project.
    pub id: String,
    /// When it came.
    pub received_at: Utc,
    /// The install that sent it.
    #[schema(required = true)]
    pub install_id: Option<String>,
    /// The metric as it was sent.
    #[schema(value_type = Object)]
    pub metric: Box<RawValue>,
}

impl From<StoredEvent> for MetricItem {
    fn from(metric: StoredEvent) -> Self {
        Self {
            id: metric.id.to_string(),
            received_at: Utc(metric.received_at),
            install_id: metric.install_id,
            metric: on_one_line(metric.body),
        }
    }
}

/// Leaves out line breaks between the parts of an object, so that it can be a line of a file.
fn on_one_line(json: Box<RawValue>) -> Box<RawValue> {
    let is_break = |byte| matches!(byte, b'\n' | b'\r');
    if !json.get().bytes().any(is_break) {
        return json;
    }
    // Within text they are escaped.
    let line = json.get().replace(['\n', '\r'], "");
    RawValue::from_string(line).unwrap_or(json)
}

/// A range in an answer.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct RangeAnswer {
    /// The first moment.
    pub from: Utc,
    /// The first moment after it.
    pub to: Utc,
}

impl From<TimeRange> for RangeAnswer {
    fn from(range: TimeRange) -> Self {
        Self {
            from: Utc(range.from),
            to: Utc(range.to),
        }
    }
}

/// The buckets of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct BucketsAnswer {
    /// The length of each, in seconds.
    pub interval_s: i64,
    /// Where each begins.
    pub buckets: Vec<Utc>,
    /// Whether the last one is not complete.
    pub partial: bool,
}

impl BucketsAnswer {
    /// The buckets of a range at `now`.
    pub fn new(buckets: &Buckets, range: TimeRange, now: jiff::Timestamp) -> Self {
        Self {
            interval_s: buckets.interval_s,
            buckets: buckets.starts.iter().copied().map(Utc).collect(),
            partial: buckets.is_partial(range, now),
        }
    }
}

/// A series of counts in an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeriesAnswer {
    /// The buckets.
    #[serde(flatten)]
    pub buckets: BucketsAnswer,
    /// The most frequent keys.
    pub series: Vec<CountsAnswer>,
    /// The counts of all others.
    pub other: Vec<u64>,
    /// The number of all events.
    pub total: u64,
    /// Whether the counts of the keys are not exact.
    #[serde(skip_serializing_if = "is_false")]
    pub approximate: bool,
}

/// The counts of one key in an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountsAnswer {
    /// The key.
    #[schema(value_type = Option<String>, required = true)]
    pub key: Key,
    /// One count for each bucket.
    pub counts: Vec<u64>,
}

impl SeriesAnswer {
    /// A series in its buckets.
    pub fn new(series: Series, buckets: BucketsAnswer) -> Self {
        let total = series.total();
        let counts = series.keys.into_iter().map(|key| CountsAnswer {
            key: key.key,
            counts: key.counts,
        });
        Self {
            buckets,
            series: counts.collect(),
            other: series.other,
            total,
            approximate: series.is_approximate,
        }
    }
}

/// The most frequent keys in an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopAnswer {
    /// The keys, most events first.
    pub items: Vec<TopItemAnswer>,
    /// How many keys there are.
    pub distinct: u64,
    /// The events of keys that are not listed.
    pub other: u64,
    /// The number of all events.
    pub total: u64,
    /// Whether the counts are not exact.
    #[serde(skip_serializing_if = "is_false")]
    pub approximate: bool,
}

/// One of the most frequent keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopItemAnswer {
    /// The key.
    #[schema(value_type = Option<String>, required = true)]
    pub key: Key,
    /// How many events have it.
    pub count: u64,
    /// The first of them.
    pub first: Utc,
    /// The last of them.
    pub last: Utc,
}

impl From<Top> for TopAnswer {
    fn from(top: Top) -> Self {
        let total = top.total();
        let items = top.items.into_iter().map(|item| TopItemAnswer {
            key: item.key.into_iter().next().flatten(),
            count: item.count,
            first: Utc(item.first),
            last: Utc(item.last),
        });
        Self {
            items: items.collect(),
            distinct: top.distinct,
            other: top.other,
            total,
            approximate: top.is_approximate,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) const fn is_false(flag: &bool) -> bool {
    !*flag
}
