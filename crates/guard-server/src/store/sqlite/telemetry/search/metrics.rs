//! Statistics of metrics: from rollups for whole minutes, from rows for the rest. Rows alone answer
//! queries about fields that rollups do not have.

use std::collections::HashMap;
use std::ops::ControlFlow;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::{Type, Value, ValueRef};
use rusqlite::{Connection, params_from_iter};
use sketches_ddsketch::{Config, DDSketch};

use super::super::super::unreadable;
use super::super::names;
use super::condition::Compiler;
use super::grouping::{GroupKey, Grouping};
use super::rollup::{Part, metric_parts};
use super::scan::{Order, Scan};
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::query::filter::{Field, Filter, Node, Test};
use crate::query::group::Key;
use crate::query::metric::{KeyValues, MetricTopItem, Moments, OTHER, Stat};
use crate::query::series::SERIES_KEYS;
use crate::store::{MetricQuery, Selection, TextField};

const MICROS: i64 = 1_000_000;
/// The most values that are computed for an answer: keys times buckets.
const MAX_VALUES: usize = 50_000;
/// The most keys that are told apart.
const MAX_KEYS: usize = 10_000;

/// The key itself, if it is known or there is room for one more.
fn within<T>(groups: &HashMap<GroupKey, T>, key: GroupKey, buckets: usize) -> GroupKey {
    let room = (MAX_VALUES / buckets.max(1)).clamp(SERIES_KEYS, MAX_KEYS);
    if groups.len() < room || groups.contains_key(&key) {
        key
    } else {
        GroupKey::Text(OTHER.into())
    }
}

/// What is known of the values of some metrics.
struct Values {
    moments: Moments,
    sketch: Option<DDSketch>,
}

impl Values {
    fn new(stat: Stat) -> Self {
        Self {
            moments: Moments::default(),
            sketch: stat.quantile().map(|_| DDSketch::new(Config::defaults())),
        }
    }

    fn merge(&mut self, other: &Self) -> rusqlite::Result<()> {
        self.moments.merge(&other.moments);
        if let (Some(sketch), Some(other)) = (&mut self.sketch, &other.sketch) {
            sketch
                .merge(other)
                .map_err(|error| unreadable(0, Type::Blob, error))?;
        }
        Ok(())
    }

    fn add(&mut self, value: Option<f64>) {
        self.moments.add(value, 1);
        if let (Some(sketch), Some(value)) = (&mut self.sketch, value) {
            sketch.add(value);
        }
    }

    /// What to ask a sketch for. It takes the value at `share * (n - 1)`, rounded down, counted from
    /// 0. The quantile is the least value that a share of all values does not exceed: the one at
    /// `ceil(quantile * n)`, counted from 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of metrics are far below 2^53"
    )]
    fn share(&self, quantile: f64) -> f64 {
        let n = self.moments.valued as f64;
        let place = (quantile * n).ceil() - 1.0;
        ((place + 0.25) / (n - 1.0).max(1.0)).clamp(0.0, 1.0)
    }

    fn stat(&self, stat: Stat) -> Option<f64> {
        self.moments.stat(stat, |quantile| {
            self.sketch.as_ref()?.quantile(self.share(quantile)).ok()?
        })
    }
}

/// A statistic in each bucket.
pub(super) fn series(
    connection: &Connection,
    query: &MetricQuery,
    buckets: &Buckets,
) -> rusqlite::Result<Vec<KeyValues>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut cells = HashMap::<GroupKey, HashMap<usize, Values>>::new();
    let grouping = each(&snapshot, query, &buckets.starts, |key, at, values| {
        let at = Timestamp::from_microsecond(at).ok();
        let Some(bucket) = at.and_then(|at| buckets.index(at)) else {
            return Ok(());
        };
        let key = within(&cells, key, buckets.starts.len());
        let cells = cells.entry(key).or_default();
        let cell = cells
            .entry(bucket)
            .or_insert_with(|| Values::new(query.stat));
        cell.merge(values)
    })?;
    let mut keys = Vec::new();
    for (key, cells) in named(&snapshot, query, grouping.as_ref(), cells)? {
        let mut merged = HashMap::<usize, Values>::new();
        for (bucket, values) in cells.iter().flatten() {
            let cell = merged
                .entry(*bucket)
                .or_insert_with(|| Values::new(query.stat));
            cell.merge(values)?;
        }
        let none = Values::new(query.stat).stat(query.stat);
        let mut values = vec![none; buckets.starts.len()];
        for (bucket, cell) in &merged {
            values[*bucket] = cell.stat(query.stat);
        }
        let count = merged.values().map(|cell| cell.moments.n).sum();
        keys.push(KeyValues { key, count, values });
    }
    keys.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key)));
    keys.truncate(SERIES_KEYS);
    Ok(keys)
}

/// The keys with the largest statistic.
pub(super) fn top(
    connection: &Connection,
    query: &MetricQuery,
    limit: usize,
) -> rusqlite::Result<Vec<MetricTopItem>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut groups = HashMap::<GroupKey, Values>::new();
    let grouping = each(&snapshot, query, &[], |key, _, values| {
        let key = within(&groups, key, 1);
        let group = groups.entry(key).or_insert_with(|| Values::new(query.stat));
        group.merge(values)
    })?;
    let mut items = Vec::new();
    for (key, groups) in named(&snapshot, query, grouping.as_ref(), groups)? {
        let mut all = Values::new(query.stat);
        for values in &groups {
            all.merge(values)?;
        }
        items.push(MetricTopItem {
            key,
            value: all.stat(query.stat),
            count: all.moments.n,
        });
    }
    let order = |item: &MetricTopItem| item.value.unwrap_or(f64::NEG_INFINITY);
    items.sort_by(|a, b| {
        order(b)
            .total_cmp(&order(a))
            .then_with(|| a.key.cmp(&b.key))
    });
    items.truncate(limit);
    Ok(items)
}

/// Gives keys their text. Keys of equal text come together.
fn named<T>(
    connection: &Connection,
    query: &MetricQuery,
    grouping: Option<&Grouping>,
    groups: HashMap<GroupKey, T>,
) -> rusqlite::Result<HashMap<Key, Vec<T>>> {
    let names = grouping.map(|by| by.names(connection, query.selection.project));
    let names = names.transpose()?;
    let mut named = HashMap::<Key, Vec<T>>::new();
    for (key, value) in groups {
        let key = names.as_ref().and_then(|names| names.key(key));
        named.entry(key).or_default().push(value);
    }
    Ok(named)
}

/// Calls `visit` with the key, the time in microseconds and the values of metrics.
fn each(
    connection: &Connection,
    query: &MetricQuery,
    starts: &[Timestamp],
    mut visit: impl FnMut(GroupKey, i64, &Values) -> rusqlite::Result<()>,
) -> rusqlite::Result<Option<Grouping>> {
    let grouping = query.by.clone().map(|by| Grouping::new(Kind::Metric, by));
    let range = query.selection.range;
    let parts = match query.single_field() {
        None => metric_parts(range, starts),
        Some(_) => vec![Part::Rows(range)],
    };
    for part in parts {
        match part {
            Part::Rows(range) => rows(connection, query, range, grouping.as_ref(), &mut visit)?,
            Part::Rollups(span, range) => {
                rollups(
                    connection,
                    query,
                    (span, range),
                    grouping.as_ref(),
                    &mut visit,
                )?;
            }
        }
    }
    Ok(grouping)
}

fn rows(
    connection: &Connection,
    query: &MetricQuery,
    range: TimeRange,
    by: Option<&Grouping>,
    visit: &mut impl FnMut(GroupKey, i64, &Values) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let of_type = Node::Field(
        Field::Named("metric_type"),
        Test::Equals(query.metric.to_owned()),
    );
    let nodes = vec![of_type, query.selection.filter.root.clone()];
    let selection = Selection {
        project: query.selection.project,
        range,
        filter: std::sync::Arc::new(Filter {
            root: Node::All(nodes),
        }),
    };
    let scan = Scan::new(connection, Kind::Metric, &selection)?;
    let columns = ["value", by.map_or("NULL", Grouping::column)];
    let is_added_up = query.single_field().is_none();
    scan.each(&columns, Order::Any, u32::MAX, |hit, reader| {
        let mut values = Values::new(query.stat);
        values.add(match hit.column(0)? {
            ValueRef::Real(value) => Some(value),
            _ => None,
        });
        let key = match by {
            None => GroupKey::Missing,
            Some(by) if is_added_up && is_in_body(by, hit.column(1)?) => {
                GroupKey::Text(OTHER.into())
            }
            Some(by) => by.key(hit, 1, reader)?,
        };
        visit(key, hit.place.timestamp, &values)?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(())
}

/// Rollups keep no bodies, so such keys are one for all metrics.
fn is_in_body(by: &Grouping, value: ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Integer(number) if number == by.in_body())
}

fn rollups(
    connection: &Connection,
    query: &MetricQuery,
    (span, range): (i64, TimeRange),
    by: Option<&Grouping>,
    visit: &mut impl FnMut(GroupKey, i64, &Values) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let Some((sql, params)) = sql(connection, query, (span, range), by)? else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(params))?;
    while let Some(row) = rows.next()? {
        let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
        let sketch = match query.stat.quantile() {
            Some(_) => Some(
                DDSketch::from_java_bytes(row.get_ref(7)?.as_blob()?)
                    .map_err(|error| unreadable(7, Type::Blob, error))?,
            ),
            None => None,
        };
        let moments = Moments {
            n: unsigned(row.get(2)?),
            valued: unsigned(row.get(3)?),
            total: row.get(4)?,
            least: row.get(5)?,
            greatest: row.get(6)?,
        };
        let values = Values { moments, sketch };
        let key = match by {
            None => GroupKey::Missing,
            Some(by) => by
                .of_rollup(row.get_ref(1)?)?
                .unwrap_or_else(|| GroupKey::Text(OTHER.into())),
        };
        visit(key, row.get::<_, i64>(0)? * MICROS, &values)?;
    }
    Ok(())
}

/// The SQL for rollups, and its parameters. `None` if the project has no metrics of the type.
fn sql(
    connection: &Connection,
    query: &MetricQuery,
    part: (i64, TimeRange),
    by: Option<&Grouping>,
) -> rusqlite::Result<Option<(String, Vec<Value>)>> {
    let project = query.selection.project;
    let metric_type = names::id(connection, project, TextField::MetricType, query.metric)?;
    metric_type
        .map(|metric_type| rollup_sql(query, part, by, metric_type, connection))
        .transpose()
}

/// The SQL for the rollups of a type.
pub(super) fn rollup_sql(
    query: &MetricQuery,
    (span, range): (i64, TimeRange),
    by: Option<&Grouping>,
    metric_type: i64,
    connection: &Connection,
) -> rusqlite::Result<(String, Vec<Value>)> {
    let project = query.selection.project;
    let mut compiler = Compiler {
        connection,
        project,
        kind: Kind::Metric,
        is_rollup: true,
        params: vec![
            project.0.into(),
            range.from.as_second().into(),
            range.to.as_second().into(),
        ],
    };
    // The sums of all metrics of a type have a negative span.
    let is_total = by.is_none() && query.selection.filter.is_everything();
    let span = if is_total { -span } else { span };
    let condition = compiler.filter(&query.selection.filter)?;
    let key = by.map_or("NULL", Grouping::column);
    let sketch = if query.stat.quantile().is_some() {
        "sketch"
    } else {
        "NULL"
    };
    let sql = format!(
        "SELECT start, {key}, n, valued, total, least, greatest, {sketch} FROM metric_rollups
         WHERE project = ?1 AND span = {span} AND type = {metric_type}
         AND start >= ?2 AND start < ?3 AND {}",
        condition.surely
    );
    Ok((sql, compiler.params))
}
