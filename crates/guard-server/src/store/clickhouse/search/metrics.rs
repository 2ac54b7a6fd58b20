//! Statistics of metrics.

use std::collections::HashMap;
use std::sync::Arc;

use guard_wire::Kind;
use jiff::Timestamp;
use serde::Deserialize;

use super::counts::start;
use super::ranking::Ranking;
use super::run::Run;
use super::scan::Scan;
use super::sketch::{Sketch, index_of};
use crate::query::buckets::Buckets;
use crate::query::filter::{Field, Filter, Node, Test};
use crate::query::group::Key;
use crate::query::metric::{KeyValues, MetricTopItem, Moments, OTHER, Stat};
use crate::query::series::SERIES_KEYS;
use crate::store::{MetricQuery, Selection, StoreError};

/// The most keys that are told apart.
const MAX_KEYS: usize = 10_000;

/// The metrics of a bucket with the same key.
#[derive(Debug, clickhouse::Row, Deserialize)]
struct Cell {
    /// Whether these are the rows of which only the body tells whether they match, and their key.
    unclear: u8,
    key: Option<String>,
    /// Where the bucket begins, in microseconds.
    start: i64,
    n: u64,
    valued: u64,
    total: f64,
    least: Option<f64>,
    greatest: Option<f64>,
    /// How many values there are of each index of a sketch, if it is asked for.
    sketch: Vec<(i32, u64)>,
}

/// What is known of the values of some metrics.
#[derive(Debug, Default)]
struct Values {
    moments: Moments,
    sketch: Sketch,
}

impl Values {
    fn merge(&mut self, cell: &Cell) {
        self.moments.merge(&Moments {
            n: cell.n,
            valued: cell.valued,
            total: cell.total,
            least: cell.least,
            greatest: cell.greatest,
        });
        for (index, n) in &cell.sketch {
            self.sketch.add(*index, *n);
        }
    }

    /// Adds `n` metrics with this value.
    fn add(&mut self, value: Option<f64>, n: u64) {
        self.moments.add(value, n);
        if let Some(value) = value {
            self.sketch.add_value(value, n);
        }
    }

    fn stat(&self, stat: Stat) -> Option<f64> {
        self.moments
            .stat(stat, |quantile| self.sketch.quantile(quantile))
    }
}

/// A statistic in each bucket, of the keys with the most metrics.
pub(super) async fn series(
    run: &Run<'_>,
    query: &MetricQuery,
    buckets: &Buckets,
) -> Result<Vec<KeyValues>, StoreError> {
    let selection = of_type(query);
    let mut scan = Scan::new(Kind::Metric, &selection, query.by.clone());
    let ranking = Ranking::new(run, &scan, SERIES_KEYS).await?;
    let chosen = match query.by {
        None => vec![None],
        Some(_) => ranking.chosen(),
    };
    let start = start(buckets, &mut scan);
    let wanted = format!("NOT unclear AND has({}, k)", scan.params.keys(&chosen));
    let sql = sql(&scan, query.stat, &start, &wanted);
    let mut found = HashMap::<Key, HashMap<usize, Values>>::new();
    let bucket = |at| {
        Timestamp::from_microsecond(at)
            .ok()
            .and_then(|at| buckets.index(at))
    };
    for cell in run.all::<Cell>(&sql, &scan.params).await? {
        let Some(bucket) = bucket(cell.start) else {
            continue;
        };
        let values = found.entry(cell.key.clone()).or_default();
        values.entry(bucket).or_default().merge(&cell);
    }
    for row in &ranking.unclear {
        let key = row.keys.first().unwrap_or(&None);
        let Some(bucket) = bucket(row.at).filter(|_| chosen.contains(key)) else {
            continue;
        };
        let values = found.entry(key.clone()).or_default();
        values
            .entry(bucket)
            .or_default()
            .add(row.value, ranking.every);
    }
    let none = Values::default().stat(query.stat);
    let keys = found.into_iter().map(|(key, cells)| {
        let mut values = vec![none; buckets.starts.len()];
        for (bucket, cell) in &cells {
            values[*bucket] = cell.stat(query.stat);
        }
        let count = cells.values().map(|cell| cell.moments.n).sum();
        KeyValues { key, count, values }
    });
    let mut keys: Vec<_> = keys.collect();
    keys.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key)));
    Ok(keys)
}

/// The keys with the largest statistic.
pub(super) async fn top(
    run: &Run<'_>,
    query: &MetricQuery,
    limit: usize,
) -> Result<Vec<MetricTopItem>, StoreError> {
    let selection = of_type(query);
    let scan = Scan::new(Kind::Metric, &selection, query.by.clone());
    let sql = sql(&scan, query.stat, "toInt64(0)", "1");
    let mut found = HashMap::<Key, Values>::new();
    let mut unclear = 0;
    let mut rows = run.rows::<Cell>(&sql, &scan.params)?;
    while let Some(cell) = rows.next().await? {
        if cell.unclear > 0 {
            unclear = cell.n;
            continue;
        }
        let key = within(&found, cell.key.clone());
        found.entry(key).or_default().merge(&cell);
    }
    drop(rows);
    let (unclear, every) = scan.unclear(run, unclear).await?;
    for row in unclear {
        let key = within(&found, row.keys.into_iter().next().flatten());
        found.entry(key).or_default().add(row.value, every);
    }
    let items = found.into_iter().map(|(key, values)| MetricTopItem {
        key,
        value: values.stat(query.stat),
        count: values.moments.n,
    });
    let mut items: Vec<_> = items.collect();
    let order = |item: &MetricTopItem| item.value.unwrap_or(f64::NEG_INFINITY);
    items.sort_by(|a, b| {
        let by_value = order(b).total_cmp(&order(a));
        by_value.then_with(|| a.key.cmp(&b.key))
    });
    items.truncate(limit);
    Ok(items)
}

/// The key itself, if it is known or there is room for one more.
fn within(found: &HashMap<Key, Values>, key: Key) -> Key {
    if found.len() < MAX_KEYS || found.contains_key(&key) {
        key
    } else {
        Some(OTHER.to_owned())
    }
}

/// The metrics that a query is about.
fn of_type(query: &MetricQuery) -> Selection {
    let of_type = Node::Field(
        Field::Named("metric_type"),
        Test::Equals(query.metric.to_owned()),
    );
    let nodes = vec![of_type, query.selection.filter.root.clone()];
    Selection {
        filter: Arc::new(Filter {
            root: Node::All(nodes),
        }),
        ..query.selection.clone()
    }
}

/// The values of the metrics by key and bucket, as far as they are `wanted`. The most frequent keys
/// come first, so that they are the ones that are told apart.
fn sql(scan: &Scan<'_>, stat: Stat, start: &str, wanted: &str) -> String {
    let (index, sketch) = match stat.quantile() {
        Some(_) => (index_of("value"), "groupArrayIf((i, v), v > 0)"),
        None => (
            "toInt32(0)".to_owned(),
            "CAST([], 'Array(Tuple(Int32, UInt64))')",
        ),
    };
    let key = scan.by.first().map_or("NULL", |by| by.key.as_str());
    format!(
        "SELECT unclear, k AS key, start, sum(c) AS n, sum(v) AS valued, sum(t) AS total, \
         min(l) AS least, max(g) AS greatest, {sketch} AS sketch FROM (\
         SELECT {unclear} AS unclear, CAST(if(unclear, NULL, {key}), 'Nullable(String)') AS k, \
         {start} AS start, {index} AS i, count() AS c, count(value) AS v, \
         ifNull(sum(value), 0) AS t, min(value) AS l, max(value) AS g \
         FROM {rows} AND {wanted} GROUP BY unclear, k, start, i) \
         GROUP BY unclear, k, start ORDER BY unclear DESC, n DESC",
        unclear = scan.is_unclear(),
        rows = scan.once(),
    )
}
