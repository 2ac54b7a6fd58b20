//! The rows that a query is about.

use guard_wire::Kind;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::client::since;
use super::condition::{Compiler, Condition};
use super::grouping::Grouping;
use super::params::Params;
use super::run::Run;
use crate::query::filter::Subject;
use crate::query::group::{Key, key_of};
use crate::store::{Selection, StoreError};

/// The times that queries are about, in seconds: what the column can hold, 1900 to 2299.
const TIMES: [i64; 2] = [-2_208_988_800, 10_413_792_000];
/// The most bodies that are read to count records. If it takes more, some of the records stand for
/// all, and the answer says that it is approximate.
pub(super) const MAX_BODIES: u64 = 400_000;

/// The rows of a selection.
pub(super) struct Scan<'a> {
    pub(super) kind: Kind,
    pub(super) selection: &'a Selection,
    pub(super) params: Params,
    pub(super) condition: Condition,
    /// How the rows are grouped.
    pub(super) by: Vec<Grouping>,
    range: String,
}

/// A record of which only the body tells whether it matches, or which keys it has.
#[derive(Debug)]
pub(super) struct Unclear {
    /// Microseconds since the epoch.
    pub(super) at: i64,
    pub(super) keys: Vec<Key>,
    /// The value of a metric.
    pub(super) value: Option<f64>,
}

#[derive(Debug, clickhouse::Row, Deserialize)]
struct BodyRow {
    at: i64,
    install: Option<String>,
    number: Option<f64>,
    body: String,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        kind: Kind,
        selection: &'a Selection,
        by: impl IntoIterator<Item = crate::query::filter::Field>,
    ) -> Self {
        let mut params = Params::default();
        let [first, end] = TIMES.map(|second| second * 1_000_000);
        let mut time = |at: Timestamp| params.time(at.as_microsecond().clamp(first, end));
        let range = format!(
            "project = {{project:Int64}} AND timestamp >= {} AND timestamp < {} AND {}",
            time(selection.range.from),
            time(selection.range.to),
            since(kind)
        );
        let mut compiler = Compiler {
            kind,
            params: &mut params,
        };
        let condition = compiler.filter(&selection.filter);
        let by = by.into_iter();
        let by = by.map(|field| Grouping::new(kind, field, &mut params));
        Self {
            kind,
            selection,
            condition,
            by: by.collect(),
            params,
            range,
        }
    }

    /// The table and the rows that may match, each record once.
    ///
    /// `FINAL` makes a record that was sent twice one row, whichever nodes took it. The filter is
    /// asked before that, so that it reads less: the copies of a record have the same content.
    pub(super) fn once(&self) -> String {
        let (table, range) = (self.kind.key(), &self.range);
        format!(
            "{table} FINAL PREWHERE {} WHERE {range}",
            self.condition.maybe
        )
    }

    /// The same, with a row for each time that a record was sent.
    pub(super) fn each(&self) -> String {
        let (table, range) = (self.kind.key(), &self.range);
        format!("{table} WHERE {range} AND {}", self.condition.maybe)
    }

    /// Whether only the body of a row tells if it matches, or which keys it has.
    pub(super) fn is_unclear(&self) -> String {
        let decided =
            (!self.condition.is_exact()).then(|| format!("NOT {}", self.condition.surely));
        let unclear = self.by.iter().filter_map(|by| by.is_unclear.clone());
        let any: Vec<_> = decided.into_iter().chain(unclear).collect();
        if any.is_empty() {
            return "toUInt8(0)".to_owned();
        }
        format!("toUInt8({})", any.join(" OR "))
    }

    /// Reads the bodies of the `n` unclear rows, or of some of them. Returns those that match, and
    /// how many rows each of them stands for.
    pub(super) async fn unclear(
        &self,
        run: &Run<'_>,
        n: u64,
    ) -> Result<(Vec<Unclear>, u64), StoreError> {
        let every = n / MAX_BODIES + 1;
        if n == 0 {
            return Ok((Vec::new(), every));
        }
        let number = match self.kind {
            Kind::Event => "NULL",
            Kind::Metric => "value",
        };
        let sql = format!(
            "SELECT toUnixTimestamp64Micro(timestamp) AS at, \
             CAST(install_id, 'Nullable(String)') AS install, \
             CAST({number}, 'Nullable(Float64)') AS number, body \
             FROM {} AND {} AND toUInt64(key) % {every} = 0",
            self.once(),
            self.is_unclear(),
        );
        let mut found = Vec::new();
        let mut rows = run.rows::<BodyRow>(&sql, &self.params)?;
        while let Some(row) = rows.next().await? {
            let body = serde_json::from_str::<Map<String, Value>>(&row.body).unwrap_or_default();
            let subject = Subject {
                body: &body,
                timestamp: Timestamp::from_microsecond(row.at).ok(),
                install_id: row.install.as_deref(),
            };
            if self.selection.filter.matches(subject) {
                found.push(Unclear {
                    at: row.at,
                    keys: self
                        .by
                        .iter()
                        .map(|by| key_of(&by.field, subject))
                        .collect(),
                    value: row.number,
                });
            }
        }
        Ok((found, every))
    }
}
