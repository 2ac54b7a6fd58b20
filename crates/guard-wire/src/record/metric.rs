//! Metrics: one measurement each.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::value::{Field, Value, set};

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
    /// Bytes transferred.
    BandwidthUsage,
    /// Threat level of the traffic.
    ThreatLevel,
    /// Requests blocked.
    BlockRate,
    /// Cache hits.
    CacheHitRate,
}

impl MetricType {
    /// All types.
    pub const ALL: [MetricType; 7] = [
        MetricType::RequestCount,
        MetricType::ResponseTime,
        MetricType::ErrorRate,
        MetricType::BandwidthUsage,
        MetricType::ThreatLevel,
        MetricType::BlockRate,
        MetricType::CacheHitRate,
    ];

    /// The name in JSON.
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

    /// The type with this name in JSON.
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
    fields: Vec<Field<'static>>,
}

impl SecurityMetric {
    /// A metric measured now.
    pub fn new(metric_type: MetricType, value: f64) -> Self {
        let mut fields = Vec::with_capacity(5);
        fields.push(("timestamp".into(), Value::Time(Timestamp::now())));
        fields.push(("metric_type".into(), Value::from(metric_type.as_str())));
        fields.push(("value".into(), Value::Float(value)));
        Self { fields }
    }

    /// Sets when it was measured, if not now.
    #[must_use]
    pub fn timestamp(mut self, at: Timestamp) -> Self {
        set(&mut self.fields, "timestamp".into(), Value::Time(at));
        self
    }

    /// The route that was measured.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<Cow<'static, str>>) -> Self {
        set(
            &mut self.fields,
            "endpoint".into(),
            Value::Str(endpoint.into()),
        );
        self
    }

    /// Adds a tag, or replaces the one with that name.
    #[must_use]
    pub fn tag(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let value = Value::Str(value.into());
        match self.fields.iter_mut().find(|(known, _)| known == "tags") {
            Some((_, Value::Map(tags))) => set(tags, name.into(), value),
            _ => {
                let tags = Value::Map(vec![(name.into(), value)]);
                self.fields.push(("tags".into(), tags));
            }
        }
        self
    }

    /// The fields, for the encoder.
    pub fn fields(&self) -> &[Field<'static>] {
        &self.fields
    }
}
