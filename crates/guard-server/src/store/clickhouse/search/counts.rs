//! Counts of events by key.

use guard_wire::Kind;
use jiff::Timestamp;
use serde::Deserialize;

use super::ranking::Ranking;
use super::run::Run;
use super::scan::Scan;
use crate::query::buckets::Buckets;
use crate::query::filter::Field;
use crate::query::group::Key;
use crate::query::series::{MAX_GROUPS, SERIES_KEYS, Series, SeriesCounter};
use crate::query::top::{Top, TopCounter};
use crate::store::{Selection, StoreError};

/// The most frequent keys of a selection.
pub(super) async fn top(
    run: &Run<'_>,
    selection: &Selection,
    by: Vec<Field>,
    limit: usize,
) -> Result<Top, StoreError> {
    let scan = Scan::new(Kind::Event, selection, by);
    let ranking = Ranking::new(run, &scan, limit).await?;
    let mut counter = TopCounter::default();
    for group in &ranking.groups {
        counter.add(group.keys.clone(), group.n, group.since, group.until);
    }
    for row in &ranking.unclear {
        counter.add(row.keys.clone(), ranking.every, row.at, row.at);
    }
    let mut top = counter.finish(limit, Ok::<_, StoreError>)?;
    top.distinct += ranking.cut.0;
    top.other += ranking.cut.1;
    top.is_approximate |= ranking.is_approximate() || ranking.cut.0 > 0 && limit > MAX_GROUPS;
    Ok(top)
}

/// The events of a bucket with one of the chosen keys.
#[derive(Debug, clickhouse::Row, Deserialize)]
struct Cell {
    unclear: u8,
    /// Where the bucket begins, in microseconds.
    start: i64,
    /// The place of the key among the chosen ones, counted from 1. 0 is any other.
    place: u64,
    n: u64,
}

/// Counts the events of a selection in buckets.
pub(super) async fn series(
    run: &Run<'_>,
    selection: &Selection,
    by: Option<Field>,
    buckets: &Buckets,
) -> Result<Series, StoreError> {
    let mut scan = Scan::new(Kind::Event, selection, by);
    let mut chosen = Vec::new();
    let mut ranking = Ranking::default();
    if !scan.by.is_empty() {
        ranking = Ranking::new(run, &scan, SERIES_KEYS).await?;
        chosen = ranking.chosen();
    }
    let cells = cells(run, &mut scan, &chosen, buckets).await?;
    if scan.by.is_empty() {
        let unclear = cells.iter().filter(|cell| cell.unclear > 0);
        (ranking.unclear, ranking.every) =
            scan.unclear(run, unclear.map(|cell| cell.n).sum()).await?;
    }
    let mut counter = SeriesCounter::new(buckets.starts.len());
    let mut add = |key: Option<&Key>, at, n| {
        let bucket = Timestamp::from_microsecond(at).ok();
        let Some(bucket) = bucket.and_then(|at| buckets.index(at)) else {
            return;
        };
        match key {
            Some(key) => counter.add(key.clone(), bucket, n),
            None => counter.add_other(bucket, n),
        }
    };
    for cell in cells.iter().filter(|cell| cell.unclear == 0) {
        let place = usize::try_from(cell.place).unwrap_or(0);
        let key = place.checked_sub(1).and_then(|at| chosen.get(at));
        add(key, cell.start, cell.n);
    }
    for row in &ranking.unclear {
        let key = row.keys.first().filter(|key| chosen.contains(key));
        add(key, row.at, ranking.every);
    }
    let mut series = counter.finish(Ok::<_, StoreError>)?;
    series.is_approximate |= ranking.is_approximate();
    Ok(series)
}

async fn cells(
    run: &Run<'_>,
    scan: &mut Scan<'_>,
    chosen: &[Key],
    buckets: &Buckets,
) -> Result<Vec<Cell>, StoreError> {
    let place = match scan.by.first() {
        Some(by) if !chosen.is_empty() => {
            format!("indexOf({}, {})", scan.params.keys(chosen), by.key)
        }
        _ => "toUInt64(0)".to_owned(),
    };
    let sql = format!(
        "SELECT {unclear} AS unclear, {start} AS start, if(unclear, 0, {place}) AS place, \
         count() AS n FROM {rows} GROUP BY unclear, start, place",
        start = start(buckets, scan),
        unclear = scan.is_unclear(),
        rows = scan.once(),
    );
    run.all(&sql, &scan.params).await
}

/// Where the bucket of a row begins, in microseconds.
pub(super) fn start(buckets: &Buckets, scan: &mut Scan<'_>) -> String {
    let starts = buckets.starts.iter().map(|start| start.as_microsecond());
    let starts = scan.params.numbers(starts.collect());
    format!("roundDown(toUnixTimestamp64Micro(timestamp), {starts})")
}
