//! The answers to queries by plain loops over records in memory. Engines are tested against them.

use std::collections::BTreeSet;

use guard_wire::timestamp;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::buckets::Buckets;
use super::filter::{Field, Filter, Subject};
use super::group::{Key, key_of};
use super::metric::{KeyValues, MetricTopItem, Stat};
use super::series::{KeyCounts, SERIES_KEYS, Series};
use super::top::{Top, TopItem};
use super::{TimeRange, range::whole_microseconds};

/// A record in memory.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) at: Timestamp,
    pub(crate) install: Option<String>,
    pub(crate) body: Map<String, Value>,
}

impl Known {
    pub(crate) fn new(body: Map<String, Value>, install: Option<String>) -> Self {
        let at = body["timestamp"].as_str().and_then(timestamp::parse);
        Self {
            at: whole_microseconds(at.unwrap()),
            install,
            body,
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            body: &self.body,
            timestamp: Some(self.at),
            install_id: self.install.as_deref(),
        }
    }
}

/// The records that a query is about, newest first.
pub(crate) fn selected<'a>(
    records: &'a [Known],
    range: TimeRange,
    filter: &Filter,
) -> Vec<&'a Known> {
    let records = records.iter().filter(|record| range.contains(record.at));
    let mut found: Vec<_> = records
        .filter(|record| filter.matches(record.subject()))
        .collect();
    found.sort_by_key(|record| std::cmp::Reverse(record.at));
    found
}

pub(crate) fn series(records: &[&Known], by: Option<&Field>, buckets: &Buckets) -> Series {
    let place = |record: &Known| {
        let after = buckets
            .starts
            .iter()
            .filter(|start| **start <= record.at)
            .count();
        after - 1
    };
    let count = |of: &dyn Fn(&Known) -> bool| {
        let mut counts = vec![0; buckets.starts.len()];
        for record in records.iter().filter(|record| of(record)) {
            counts[place(record)] += 1;
        }
        counts
    };
    let Some(by) = by else {
        let other = count(&|_| true);
        return Series {
            other,
            ..Series::default()
        };
    };
    let keys = ranked(records, |record| key_of(by, record.subject()));
    let (shown, rest) = keys.split_at(keys.len().min(SERIES_KEYS));
    let key = |record: &Known| key_of(by, record.subject());
    Series {
        keys: shown
            .iter()
            .map(|wanted| KeyCounts {
                key: wanted.clone(),
                counts: count(&|record| key(record) == *wanted),
            })
            .collect(),
        other: count(&|record| rest.contains(&key(record))),
        is_approximate: false,
    }
}

pub(crate) fn top(records: &[&Known], by: &[Field], limit: usize) -> Top {
    let key = |record: &Known| -> Vec<Key> {
        by.iter()
            .map(|field| key_of(field, record.subject()))
            .collect()
    };
    let keys = ranked(records, key);
    let of = |wanted: &Vec<Key>| {
        records
            .iter()
            .filter(|record| key(record) == *wanted)
            .collect::<Vec<_>>()
    };
    let items = keys.iter().take(limit).map(|wanted| {
        let found = of(wanted);
        TopItem {
            key: wanted.clone(),
            count: found.len() as u64,
            first: found.iter().map(|record| record.at).min().unwrap(),
            last: found.iter().map(|record| record.at).max().unwrap(),
        }
    });
    let items: Vec<_> = items.collect();
    let shown: u64 = items.iter().map(|item| item.count).sum();
    Top {
        items,
        distinct: keys.len() as u64,
        other: records.len() as u64 - shown,
        is_approximate: false,
    }
}

/// The keys of the records, the most frequent first, then by key.
fn ranked<K: Ord + Clone>(records: &[&Known], key: impl Fn(&Known) -> K) -> Vec<K> {
    let keys: Vec<_> = records.iter().map(|record| key(record)).collect();
    let distinct: BTreeSet<_> = keys.iter().cloned().collect();
    let mut distinct: Vec<_> = distinct.into_iter().collect();
    distinct.sort_by_key(|wanted| {
        let n = keys.iter().filter(|key| *key == wanted).count();
        (std::cmp::Reverse(n), wanted.clone())
    });
    distinct
}

/// The exact statistic of some metrics.
fn stat(records: &[&&Known], stat: Stat) -> Option<f64> {
    let values = records
        .iter()
        .filter_map(|record| record.body["value"].as_f64());
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a test has few records")]
    let n = values.len() as f64;
    match stat {
        #[expect(clippy::cast_precision_loss, reason = "a test has few records")]
        Stat::Count => Some(records.len() as f64),
        _ if values.is_empty() => None,
        Stat::Sum => Some(values.iter().sum()),
        Stat::Avg => Some(values.iter().sum::<f64>() / n),
        Stat::Min => values.first().copied(),
        Stat::Max => values.last().copied(),
        Stat::P50 | Stat::P95 | Stat::P99 => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank"
            )]
            let rank = (stat.quantile().unwrap() * n).ceil() as usize;
            Some(values[rank.max(1) - 1])
        }
    }
}

pub(crate) fn metric_series(
    records: &[&Known],
    by: Option<&Field>,
    buckets: &Buckets,
    wanted: Stat,
) -> Vec<KeyValues> {
    let key = |record: &Known| by.and_then(|by| key_of(by, record.subject()));
    let mut keys = ranked(records, key);
    keys.truncate(SERIES_KEYS);
    let values = |wanted_key: &Key, at: usize| {
        let found = records
            .iter()
            .filter(|record| key(record) == *wanted_key && buckets.index(record.at) == Some(at));
        stat(&found.collect::<Vec<_>>(), wanted)
    };
    keys.into_iter()
        .map(|of| KeyValues {
            count: records.iter().filter(|record| key(record) == of).count() as u64,
            values: (0..buckets.starts.len())
                .map(|at| values(&of, at))
                .collect(),
            key: of,
        })
        .collect()
}

pub(crate) fn metric_top(
    records: &[&Known],
    by: Option<&Field>,
    wanted: Stat,
    limit: usize,
) -> Vec<MetricTopItem> {
    let key = |record: &Known| by.and_then(|by| key_of(by, record.subject()));
    let items = ranked(records, key).into_iter().map(|of| {
        let found: Vec<_> = records.iter().filter(|record| key(record) == of).collect();
        MetricTopItem {
            value: stat(&found, wanted),
            count: found.len() as u64,
            key: of,
        }
    });
    let mut items: Vec<_> = items.collect();
    items.sort_by(|a, b| {
        let by_value = b.value.partial_cmp(&a.value).unwrap();
        by_value.then_with(|| a.key.cmp(&b.key))
    });
    items.truncate(limit);
    items
}
