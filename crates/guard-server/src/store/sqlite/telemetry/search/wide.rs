//! Series by a field with very many values, such as the address. A series shows few of its keys, so
//! these are found first. Then only they are counted in each bucket.

use std::collections::HashMap;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::super::rollups::WIDE;
use super::counts::{Counting, bucket};
use super::grouping::Grouping;
use super::rollup::{Only, Source};
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::query::series::{KeyCounts, SERIES_KEYS, Series};
use crate::store::Selection;

/// Whether a series by this field is counted here.
pub(super) fn is_wide(source: Option<Source>) -> bool {
    matches!(source, Some(Source::Counts(field)) if WIDE.contains(&field))
}

/// Adds the series of the most frequent keys to one that has all events in `other`.
pub(super) fn divide(
    connection: &Connection,
    selection: &Selection,
    source: Option<Source>,
    by: &Grouping,
    buckets: &Buckets,
    total: Series,
) -> rusqlite::Result<Series> {
    let groupings = std::slice::from_ref(by);
    let mut counting = Counting::new(connection, selection, groupings, source);
    let (top, _) = counting.top(SERIES_KEYS, u32::MAX)?;
    let first = top.items.iter().map(|item| item.first).min();
    let last = top.items.iter().map(|item| item.last).max();
    let Some((from, to)) = first.zip(last) else {
        return Ok(total);
    };
    let keys: Vec<_> = top.items.into_iter().map(|item| item.key).collect();
    let mut values = vec![Value::from(by.in_body())];
    for key in keys.iter().flatten() {
        values.extend(by.in_rollup(connection, selection.project, key)?);
    }
    counting.only = Some(Only {
        values,
        range: TimeRange { from, to },
    });
    let names = by.names(connection, selection.project)?;
    let mut places = HashMap::new();
    let mut counts = vec![vec![0; buckets.starts.len()]; keys.len()];
    let mut other = total.other;
    counting.run(&buckets.starts, |group, n, at, _| {
        let (Some(group), Some(bucket)) = (group.first(), bucket(buckets, at)) else {
            return;
        };
        let place = *places.entry(group.clone()).or_insert_with(|| {
            let name = names.key(group.clone());
            keys.iter().position(|key| *key == [name.clone()])
        });
        if let Some(counts) = place.and_then(|place| counts.get_mut(place)) {
            counts[bucket] += n;
            other[bucket] = other[bucket].saturating_sub(n);
        }
    })?;
    let keys = keys.into_iter().zip(counts);
    let keys = keys.map(|(key, counts)| KeyCounts {
        key: key.into_iter().next().flatten(),
        counts,
    });
    Ok(Series {
        keys: keys.collect(),
        other,
        is_approximate: total.is_approximate || top.is_approximate,
    })
}
