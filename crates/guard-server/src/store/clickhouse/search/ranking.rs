//! Which keys have the most records.

use std::collections::HashMap;

use serde::Deserialize;

use super::run::Run;
use super::scan::{Scan, Unclear};
use crate::query::group::Key;
use crate::query::series::{MAX_GROUPS, SERIES_KEYS};
use crate::store::StoreError;

/// The records with the same keys.
#[derive(Debug, clickhouse::Row, Deserialize)]
pub(super) struct Group {
    /// Whether these are the rows of which only the body tells whether they match, and their keys.
    unclear: u8,
    pub(super) keys: Vec<Key>,
    pub(super) n: u64,
    /// The times of the first and the last, in microseconds.
    pub(super) since: i64,
    pub(super) until: i64,
    /// How many groups there are, and how many records in them.
    groups: u64,
    total: u64,
}

/// The groups of a selection with the most records.
#[derive(Default)]
pub(super) struct Ranking {
    pub(super) groups: Vec<Group>,
    /// How many other groups there are, and how many records in them.
    pub(super) cut: (u64, u64),
    pub(super) unclear: Vec<Unclear>,
    /// How many rows each of `unclear` stands for.
    pub(super) every: u64,
}

impl Ranking {
    /// Ranks the groups. If bodies have to be read, any group may be among the first.
    pub(super) async fn new(
        run: &Run<'_>,
        scan: &Scan<'_>,
        limit: usize,
    ) -> Result<Self, StoreError> {
        let limit = limit.min(MAX_GROUPS);
        let mut ranking = Self::of_columns(run, scan, limit).await?;
        let Some(first) = ranking.groups.first().filter(|group| group.unclear > 0) else {
            return Ok(ranking);
        };
        let n = first.n;
        if ranking.cut.0 > 0 && limit < MAX_GROUPS {
            ranking = Self::of_columns(run, scan, MAX_GROUPS).await?;
        }
        ranking.groups.remove(0);
        (ranking.unclear, ranking.every) = scan.unclear(run, n).await?;
        Ok(ranking)
    }

    async fn of_columns(run: &Run<'_>, scan: &Scan<'_>, limit: usize) -> Result<Self, StoreError> {
        let keys: Vec<_> = (0..scan.by.len()).map(|at| format!("k{at}")).collect();
        let named = scan.by.iter().zip(&keys);
        let named = named.map(|(by, name)| format!("if(unclear, NULL, {}) AS {name}, ", by.key));
        let order = keys.iter().map(|name| format!(", {name} ASC NULLS FIRST"));
        let sql = format!(
            "SELECT unclear, CAST([{keys}], 'Array(Nullable(String))') AS keys, n, since, until, \
             count() OVER () AS groups, sum(n) OVER () AS total FROM (\
             SELECT {named}{unclear} AS unclear, count() AS n, \
             toUnixTimestamp64Micro(min(timestamp)) AS since, \
             toUnixTimestamp64Micro(max(timestamp)) AS until \
             FROM {rows} GROUP BY unclear{grouped}) \
             ORDER BY unclear DESC, n DESC{order} LIMIT {limit}",
            keys = keys.join(", "),
            named = named.collect::<String>(),
            unclear = scan.is_unclear(),
            rows = scan.once(),
            grouped = keys
                .iter()
                .map(|name| format!(", {name}"))
                .collect::<String>(),
            order = order.collect::<String>(),
            limit = limit + 1,
        );
        let mut groups = run.all::<Group>(&sql, &scan.params).await?;
        if groups.first().is_none_or(|group| group.unclear == 0) {
            groups.truncate(limit);
        }
        let (all, total) = groups
            .first()
            .map_or((0, 0), |group| (group.groups, group.total));
        let shown: u64 = groups.iter().map(|group| group.n).sum();
        Ok(Self {
            cut: (all - groups.len() as u64, total - shown),
            groups,
            unclear: Vec::new(),
            every: 1,
        })
    }

    /// Whether the counts are not exact.
    pub(super) fn is_approximate(&self) -> bool {
        self.every > 1 || !self.unclear.is_empty() && self.cut.0 > 0
    }

    /// The keys of a series: those with the most records.
    pub(super) fn chosen(&self) -> Vec<Key> {
        let mut totals = HashMap::<&Key, u64>::new();
        let clear = self.groups.iter();
        let clear = clear.filter_map(|group| Some((group.keys.first()?, group.n)));
        let unclear = self.unclear.iter();
        let unclear = unclear.filter_map(|row| Some((row.keys.first()?, self.every)));
        for (key, n) in clear.chain(unclear) {
            *totals.entry(key).or_default() += n;
        }
        let mut totals: Vec<_> = totals.into_iter().collect();
        totals.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        totals.truncate(SERIES_KEYS);
        totals.into_iter().map(|(key, _)| key.clone()).collect()
    }
}
