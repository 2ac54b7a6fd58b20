//! Metrics: one measured number each.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::value::{Field, Value};

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    /// Requests served.
    RequestCount,
    /// Time to answer, in seconds.
    ResponseTime,
    /// Requests answered with an error.
    ErrorRate,
    /// Bytes moved.
    BandwidthUsage,
    /// How threatening the traffic is.
    ThreatLevel,
    /// Requests blocked.
    BlockRate,
    /// Cache hits.
    CacheHitRate,
}

impl MetricType {
    /// All seven.
    pub const ALL: [MetricType; 7] = [
        MetricType::RequestCount,
        MetricType::ResponseTime,
        MetricType::ErrorRate,
        MetricType::BandwidthUsage,
        MetricType::ThreatLevel,
        MetricType::BlockRate,
        MetricType::CacheHitRate,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            MetricType::RequestCount => "request_count",
            MetricType::ResponseTime => "response_time",
            MetricType::ErrorRate => "error_rate",
            MetricType::BandwidthUsage => "bandwidth_usage",
            MetricType::ThreatLevel => "threat_level",
            MetricType::BlockRate => "block_rate",
            MetricType::CacheHitRate => "cache_hit_rate",
        }
    }

    /// The type with this name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// All names, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

/// A metric, built field by field.
///
/// ```
/// use guard_wire::{MetricType, SecurityMetric};
///
/// let metric = SecurityMetric::new(MetricType::ResponseTime, 0.012)
///     .endpoint("/items")
///     .tag("method", "GET");
/// assert_eq!(metric.fields().len(), 5);
/// ```
#[derive(Debug, Clone)]
pub struct SecurityMetric {
    timestamp: Timestamp,
    metric_type: MetricType,
    value: f64,
    endpoint: Option<Cow<'static, str>>,
    tags: BTreeMap<Cow<'static, str>, Cow<'static, str>>,
}

impl SecurityMetric {
    /// A metric measured now.
    pub fn new(metric_type: MetricType, value: f64) -> Self {
        Self {
            timestamp: Timestamp::now(),
            metric_type,
            value,
            endpoint: None,
            tags: BTreeMap::new(),
        }
    }

    /// When it was measured, if not now.
    #[must_use]
    pub fn timestamp(mut self, at: Timestamp) -> Self {
        self.timestamp = at;
        self
    }

    /// The route it was measured at.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<Cow<'static, str>>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// The fields, as the encoder takes them.
    pub fn fields(&self) -> Vec<Field<'_>> {
        let tags = self
            .tags
            .iter()
            .map(|(name, value)| (Cow::Borrowed(&**name), Value::from(&**value)))
            .collect();
        vec![
            ("timestamp".into(), Value::Time(self.timestamp)),
            ("metric_type".into(), Value::from(self.metric_type.as_str())),
            ("value".into(), Value::Float(self.value)),
            (
                "endpoint".into(),
                self.endpoint.as_deref().map_or(Value::Null, Value::from),
            ),
            ("tags".into(), Value::Map(tags)),
        ]
    }
}
