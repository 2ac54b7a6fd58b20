//! Metrics per minute and hour.

use std::collections::BTreeMap;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sketches_ddsketch::{Config, DDSketch};

use super::super::unreadable;
use super::event_rollups::{ABSENT, HOUR, MINUTE, start};
use crate::store::ProjectId;

/// Metrics of one type and minute that have endpoint, method and status in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MetricGroup {
    metric_type: i64,
    start: i64,
    /// Endpoint, method, status.
    values: [i64; 3],
}

impl MetricGroup {
    /// The group of a metric with this timestamp, type, and endpoint, method and status.
    pub(super) fn new(timestamp: i64, metric_type: i64, values: [Option<i64>; 3]) -> Self {
        Self {
            metric_type,
            start: start(timestamp, MINUTE),
            values: values.map(|value| value.unwrap_or(ABSENT)),
        }
    }
}

/// Metrics to add to those stored.
#[derive(Debug, Default)]
pub(super) struct MetricRollups {
    minutes: BTreeMap<MetricGroup, Vec<Option<f64>>>,
}

impl MetricRollups {
    pub(super) fn add(&mut self, group: MetricGroup, value: Option<f64>) {
        self.minutes.entry(group).or_default().push(value);
    }

    pub(super) fn save(self, connection: &Connection, project: ProjectId) -> rusqlite::Result<()> {
        let mut hours = BTreeMap::<_, Vec<_>>::new();
        for (group, values) in self.minutes {
            merge(connection, project, MINUTE, group, &values)?;
            let hour = MetricGroup {
                start: group.start.div_euclid(HOUR) * HOUR,
                ..group
            };
            hours.entry(hour).or_default().extend(values);
        }
        for (group, values) in hours {
            merge(connection, project, HOUR, group, &values)?;
        }
        Ok(())
    }
}

struct Rollup {
    n: i64,
    valued: i64,
    total: f64,
    least: Option<f64>,
    greatest: Option<f64>,
    sketch: DDSketch,
}

impl Rollup {
    fn empty() -> Self {
        Self {
            n: 0,
            valued: 0,
            total: 0.0,
            least: None,
            greatest: None,
            sketch: DDSketch::new(Config::defaults()),
        }
    }

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
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
}

fn merge(
    connection: &Connection,
    project: ProjectId,
    span: i64,
    group: MetricGroup,
    values: &[Option<f64>],
) -> rusqlite::Result<()> {
    let [endpoint, method, status] = group.values;
    let key = params![
        project.0,
        span,
        group.metric_type,
        group.start,
        endpoint,
        method,
        status
    ];
    let stored = connection
        .prepare_cached(
            "SELECT n, valued, total, least, greatest, sketch FROM metric_rollups
             WHERE project = ?1 AND span = ?2 AND type = ?3 AND start = ?4
             AND endpoint = ?5 AND method = ?6 AND status = ?7",
        )?
        .query_row(key, Rollup::of)
        .optional()?;
    let mut rollup = stored.unwrap_or_else(Rollup::empty);
    for value in values {
        rollup.add(*value);
    }
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
            rollup.n,
            rollup.valued,
            // An infinite sum is stored as it is; NaN would become NULL.
            if rollup.total.is_nan() {
                0.0
            } else {
                rollup.total
            },
            rollup.least,
            rollup.greatest,
            rollup.sketch.to_java_bytes(),
        ])
        .map(drop)
}
