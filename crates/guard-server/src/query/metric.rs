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

/// What is known of the values of some metrics, without a sketch for quantiles.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    /// How many metrics there are.
    pub n: u64,
    /// How many of them have a value.
    pub valued: u64,
    /// The sum of the values.
    pub total: f64,
    /// The least value.
    pub least: Option<f64>,
    /// The greatest value.
    pub greatest: Option<f64>,
}

impl Moments {
    /// Adds the metrics of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.valued += other.valued;
        self.total += other.total;
        self.least = merged(self.least, other.least, f64::min);
        self.greatest = merged(self.greatest, other.greatest, f64::max);
    }

    /// Adds `n` metrics with this value.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of metrics are far below 2^53"
    )]
    pub fn add(&mut self, value: Option<f64>, n: u64) {
        self.merge(&match value {
            None => Self {
                n,
                ..Self::default()
            },
            Some(value) => Self {
                n,
                valued: n,
                total: value * n as f64,
                least: Some(value),
                greatest: Some(value),
            },
        });
    }

    /// A statistic. `estimate` is asked for a quantile if there are values; the sketches of engines
    /// differ. `None` if there is nothing to compute it from.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of metrics are far below 2^53"
    )]
    pub fn stat(&self, stat: Stat, estimate: impl FnOnce(f64) -> Option<f64>) -> Option<f64> {
        if stat == Stat::Count {
            return Some(self.n as f64);
        }
        if self.valued == 0 {
            return None;
        }
        match stat {
            Stat::Count => None,
            Stat::Sum => Some(self.total),
            Stat::Avg => Some(self.total / self.valued as f64),
            Stat::Min => self.least,
            Stat::Max => self.greatest,
            Stat::P50 | Stat::P95 | Stat::P99 => {
                let estimate = estimate(stat.quantile()?)?;
                // The exact quantile is one of the values.
                Some(estimate.clamp(self.least?, self.greatest?))
            }
        }
    }
}

fn merged(a: Option<f64>, b: Option<f64>, of: impl Fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(of(a, b)),
        (a, b) => a.or(b),
    }
}

/// The key of the metrics whose own key is beyond the most keys that an engine tells apart.
pub const OTHER: &str = "(other)";

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
