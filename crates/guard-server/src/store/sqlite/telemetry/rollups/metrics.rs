//! Metrics per minute and hour.

use std::collections::BTreeMap;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sketches_ddsketch::{Config, DDSketch};

use super::super::super::unreadable;
use super::{ABSENT, HOUR, MINUTE, start};
use crate::store::ProjectId;

/// Metrics of one type and minute that have endpoint, method and status in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct MetricGroup {
    metric_type: i64,
    start: i64,
    /// Endpoint, method, status.
    values: [i64; 3],
}

/// The spans of sums. Those of all metrics of a type, whatever their endpoint, method and status,
/// have a negative span.
pub(in super::super) const SPANS: [i64; 4] = [MINUTE, HOUR, -MINUTE, -HOUR];

impl MetricGroup {
    /// The group of a metric with this timestamp, type, and endpoint, method and status.
    pub(in super::super) fn new(
        timestamp: i64,
        metric_type: i64,
        values: [Option<i64>; 3],
    ) -> Self {
        Self {
            metric_type,
            start: start(timestamp, MINUTE),
            values: values.map(|value| value.unwrap_or(ABSENT)),
        }
    }

    /// The group of the sum over a span.
    pub(in super::super) const fn over(self, span: i64) -> Self {
        let length = span.abs();
        Self {
            start: self.start.div_euclid(length) * length,
            values: if span < 0 { [ABSENT; 3] } else { self.values },
            ..self
        }
    }
}

/// Metrics to add to those stored.
#[derive(Debug, Default)]
pub(in super::super) struct MetricRollups {
    minutes: BTreeMap<MetricGroup, Vec<Option<f64>>>,
}

impl MetricRollups {
    pub(in super::super) fn add(&mut self, group: MetricGroup, value: Option<f64>) {
        self.minutes.entry(group).or_default().push(value);
    }

    pub(in super::super) fn save(
        self,
        connection: &Connection,
        project: ProjectId,
    ) -> rusqlite::Result<()> {
        let mut sums = BTreeMap::<_, Vec<_>>::new();
        for (group, values) in self.minutes {
            for span in SPANS {
                let sum: &mut Vec<_> = sums.entry((span, group.over(span))).or_default();
                sum.extend_from_slice(&values);
            }
        }
        for ((span, group), values) in sums {
            let stored = Rollup::stored(connection, project, span, group)?;
            let mut sum = stored.unwrap_or_else(Rollup::empty);
            for value in values {
                sum.add(value);
            }
            sum.save(connection, project, span, group)?;
        }
        Ok(())
    }
}

/// A row of the sums.
pub(super) struct Rollup {
    n: i64,
    valued: i64,
    total: f64,
    least: Option<f64>,
    greatest: Option<f64>,
    sketch: DDSketch,
}

impl Rollup {
    pub(super) fn empty() -> Self {
        Self {
            n: 0,
            valued: 0,
            total: 0.0,
            least: None,
            greatest: None,
            sketch: DDSketch::new(Config::defaults()),
        }
    }

    /// Reads the columns `n, valued, total, least, greatest, sketch`.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let sketch = row.get_ref(5)?.as_blob()?;
        Ok(Self {
            n: row.get(0)?,
            valued: row.get(1)?,
            total: row.get(2)?,
            least: row.get(3)?,
            greatest: row.get(4)?,
            sketch: DDSketch::from_java_bytes(sketch)
                .map_err(|error| unreadable(5, Type::Blob, error))?,
        })
    }

    fn add(&mut self, value: Option<f64>) {
        self.n += 1;
        if let Some(value) = value {
            self.valued += 1;
            self.total += value;
            self.least = Some(self.least.map_or(value, |least| least.min(value)));
            self.greatest = Some(self.greatest.map_or(value, |most| most.max(value)));
            self.sketch.add(value);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) -> rusqlite::Result<()> {
        self.n += other.n;
        self.valued += other.valued;
        self.total += other.total;
        self.least = self.least.into_iter().chain(other.least).reduce(f64::min);
        let greatest = self.greatest.into_iter().chain(other.greatest);
        self.greatest = greatest.reduce(f64::max);
        self.sketch
            .merge(&other.sketch)
            .map_err(|error| unreadable(5, Type::Blob, error))
    }

    fn stored(
        connection: &Connection,
        project: ProjectId,
        span: i64,
        group: MetricGroup,
    ) -> rusqlite::Result<Option<Self>> {
        let [endpoint, method, status] = group.values;
        let (metric_type, start) = (group.metric_type, group.start);
        connection
            .prepare_cached(
                "SELECT n, valued, total, least, greatest, sketch FROM metric_rollups
                 WHERE project = ?1 AND span = ?2 AND type = ?3 AND start = ?4
                 AND endpoint = ?5 AND method = ?6 AND status = ?7",
            )?
            .query_row(
                params![
                    project.0,
                    span,
                    metric_type,
                    start,
                    endpoint,
                    method,
                    status
                ],
                Self::of,
            )
            .optional()
    }

    pub(super) fn save(
        &self,
        connection: &Connection,
        project: ProjectId,
        span: i64,
        group: MetricGroup,
    ) -> rusqlite::Result<()> {
        let [endpoint, method, status] = group.values;
        // An infinite sum is stored as it is; NaN would become NULL.
        let total = if self.total.is_nan() { 0.0 } else { self.total };
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO metric_rollups
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                project.0,
                span,
                group.metric_type,
                group.start,
                endpoint,
                method,
                status,
                self.n,
                self.valued,
                total,
                self.least,
                self.greatest,
                self.sketch.to_java_bytes(),
            ])
            .map(drop)
    }
}
