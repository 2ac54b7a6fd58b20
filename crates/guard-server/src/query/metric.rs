//! Statistics of metrics.

use guard_wire::MetricType;

use super::QueryError;
use super::group::Key;

/// A statistic of the values of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stat {
    /// How many records there are.
    Count,
    /// The sum of the values.
    Sum,
    /// Their mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The value that half of them do not exceed.
    P50,
    /// The value that 95 % of them do not exceed.
    P95,
    /// The value that 99 % of them do not exceed.
    P99,
}

impl Stat {
    const ALL: [(&'static str, Self); 8] = [
        ("count", Self::Count),
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
        ("p50", Self::P50),
        ("p95", Self::P95),
        ("p99", Self::P99),
    ];

    /// The statistic of this name.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if there is none.
    pub fn parse(name: &str) -> Result<Self, QueryError> {
        let mut all = Self::ALL.into_iter();
        let found = all.find_map(|(known, stat)| (known == name).then_some(stat));
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            let detail = format!("stat is {name:?}; give one of {}", names.join(", "));
            QueryError::new("invalid_stat", "stat", detail)
        })
    }

    /// The share of values that it is not below, for quantiles.
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.50),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            _ => None,
        }
    }
}

/// The type of metric of this name.
///
/// # Errors
///
/// [`QueryError`] if there is none.
pub fn metric_type(name: &str) -> Result<MetricType, QueryError> {
    MetricType::parse(name).ok_or_else(|| {
        let detail = format!(
            "metric is {name:?}; give request_count, response_time, error_rate, bandwidth_usage, \
             threat_level, block_rate or cache_hit_rate"
        );
        QueryError::new("invalid_metric", "metric", detail)
    })
}

/// The fields by which metrics are added up as they come in. A query that names no others is answered
/// for as long as the sums are kept; any other query only for as long as single metrics are.
pub const METRIC_DIMENSIONS: [&str; 3] = ["endpoint", "method", "status"];

/// The values of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyValues {
    /// The key.
    pub key: Key,
    /// How many records it has.
    pub count: u64,
    /// One value for each bucket; `None` if there is nothing to compute it from.
    pub values: Vec<Option<f64>>,
}

/// The value of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricTopItem {
    /// The key.
    pub key: Key,
    /// The value; `None` if none of its records has one.
    pub value: Option<f64>,
    /// How many records it has.
    pub count: u64,
}
