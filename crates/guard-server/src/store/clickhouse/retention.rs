//! Removes records: hides them at once by a cutoff, and takes them off the disk later.
//!
//! To delete rows, ClickHouse writes the parts again that have them. So that is done seldom, and for
//! all projects together.

use std::time::Duration;

use clickhouse::Row;
use guard_wire::Kind;
use jiff::Timestamp;
use serde::Deserialize;

use super::ClickHouse;
use super::client::{QUERY_TIME, since};
use super::position::Arrived;
use crate::store::{Expired, Expiry, ProjectId, StoreError};

/// Roughly the bytes of a row beside its body.
pub(super) const ROW_BYTES: u64 = 60;
/// How often rows are taken off the disk.
const EVERY: Duration = Duration::from_secs(3600);
/// How long a query over all records of a project may take.
pub(super) const SCAN_TIME: Duration = Duration::from_secs(120);
/// Microseconds.
const MINUTE: i64 = 60_000_000;
/// The most projects in one condition.
const PROJECTS: usize = 200;
/// The cutoff of a removed project.
const ALL: i64 = i64::MAX;

/// The cutoffs of projects, with plain types.
const CUTOFFS: &str = "SELECT c.project AS project, toInt64(max(c.events)) AS events, \
     toInt64(max(c.metrics)) AS metrics, toInt64(max(c.rollups)) AS rollups, \
     CAST(maxMap(c.removed), 'Map(UInt8, UInt64)') AS removed FROM cutoffs AS c";

/// What was removed from a project: records before these times, in microseconds.
#[derive(Debug, Clone, Row, Deserialize)]
pub(super) struct Cutoffs {
    project: i64,
    events: i64,
    metrics: i64,
    rollups: i64,
    /// The last arrival of an event that was removed, for each slot.
    removed: Vec<(u8, u64)>,
}

impl Cutoffs {
    const fn none(project: ProjectId) -> Self {
        Self {
            project: project.0,
            events: i64::MIN,
            metrics: i64::MIN,
            rollups: i64::MIN,
            removed: Vec::new(),
        }
    }

    fn values(&self) -> String {
        let Self {
            project,
            events,
            metrics,
            rollups,
            removed,
        } = self;
        let removed = removed.iter().map(|(slot, last)| format!("{slot}:{last}"));
        let removed: Vec<_> = removed.collect();
        format!(
            "({project}, {events}, {metrics}, {rollups}, '{{{}}}')",
            removed.join(",")
        )
    }

    pub(super) fn removed(&self) -> Arrived {
        let mut arrived = Arrived::default();
        for (_, arrival) in &self.removed {
            arrived.reach(*arrival);
        }
        arrived
    }
}

/// What a cutoff would hide of a project.
#[derive(Debug, Row, Deserialize)]
struct Doomed {
    records: u64,
    bytes: u64,
    last: i64,
}

#[derive(Debug, Row, Deserialize)]
struct Minute {
    end: i64,
    bytes: u64,
}

impl ClickHouse {
    /// What was removed from a project.
    pub(super) async fn cutoffs(&self, project: ProjectId) -> Result<Cutoffs, StoreError> {
        let query = self
            .engine
            .query(&format!(
                "{CUTOFFS} WHERE project = {{project:Int64}} GROUP BY project"
            ))
            .param("project", project.0);
        let found: Vec<Cutoffs> = self.engine.rows(query, QUERY_TIME).await?;
        let found = found.into_iter().next();
        Ok(found.unwrap_or_else(|| Cutoffs::none(project)))
    }

    async fn cut(&self, cutoffs: &[Cutoffs]) -> Result<(), StoreError> {
        let rows = cutoffs.iter().map(Cutoffs::values);
        let rows: Vec<_> = rows.collect();
        let insert = format!("INSERT INTO cutoffs VALUES {}", rows.join(", "));
        let insert = self.engine.durably(self.engine.statement(&insert));
        self.engine.execute(insert, QUERY_TIME).await
    }

    pub(super) async fn expire_before(
        &self,
        project: ProjectId,
        expiry: Expiry,
    ) -> Result<Expired, StoreError> {
        let mut expired = Expired::default();
        let mut cutoffs = Cutoffs::none(project);
        let events = self.doomed(project, Kind::Event, expiry.events_before);
        let events = events.await?;
        if events.records > 0 {
            // No later than what is removed: a clock that is wrong hides no records to come.
            cutoffs.events = events.last + 1;
            cutoffs.removed = self.last_arrivals(project, cutoffs.events).await?;
            expired.add(Kind::Event, events.records, events.bytes);
        }
        let metrics = self.doomed(project, Kind::Metric, expiry.metrics_before);
        let metrics = metrics.await?;
        if metrics.records > 0 {
            cutoffs.metrics = metrics.last + 1;
            expired.add(Kind::Metric, metrics.records, metrics.bytes);
        }
        if expired.total() > 0 {
            self.cut(&[cutoffs]).await?;
        }
        Ok(expired)
    }

    /// Hides the oldest records of a project, by whole minutes, that take about `bytes` bytes.
    pub(super) async fn expire_bytes(
        &self,
        project: ProjectId,
        bytes: u64,
    ) -> Result<Expired, StoreError> {
        let minutes = |kind: Kind| {
            format!(
                "SELECT toUnixTimestamp64Micro(timestamp) AS micros, size + {ROW_BYTES} AS bytes \
                 FROM {table} WHERE project = {{project:Int64}} AND {since}",
                table = kind.key(),
                since = since(kind),
            )
        };
        let text = format!(
            "SELECT micros - positiveModulo(micros, {MINUTE}) + {MINUTE} AS end, sum(bytes) AS bytes \
             FROM ({} UNION ALL {}) GROUP BY end ORDER BY end",
            minutes(Kind::Event),
            minutes(Kind::Metric)
        );
        let query = self.engine.query(&text).param("project", project.0);
        let minutes: Vec<Minute> = self.engine.rows(query, SCAN_TIME).await?;
        let mut sum = 0_u64;
        let mut before = i64::MIN;
        for minute in minutes {
            if sum >= bytes {
                break;
            }
            sum = sum.saturating_add(minute.bytes);
            before = minute.end;
        }
        let before = Timestamp::from_microsecond(before).unwrap_or(Timestamp::MIN);
        let expiry = Expiry {
            events_before: before,
            metrics_before: before,
            rollups_before: Timestamp::MIN,
        };
        self.expire_before(project, expiry).await
    }

    async fn doomed(
        &self,
        project: ProjectId,
        kind: Kind,
        before: Timestamp,
    ) -> Result<Doomed, StoreError> {
        let text = format!(
            "SELECT count() AS records, sum(size) + {ROW_BYTES} * count() AS bytes, \
             toUnixTimestamp64Micro(max(timestamp)) AS last FROM {table} FINAL \
             WHERE project = {{project:Int64}} AND {since} \
             AND timestamp < fromUnixTimestamp64Micro({{before:Int64}}, 'UTC')",
            table = kind.key(),
            since = since(kind),
        );
        let query = self.engine.query(&text);
        let query = query
            .param("project", project.0)
            .param("before", before.as_microsecond());
        self.engine.row(query, SCAN_TIME).await
    }

    /// The last arrival in each slot of the events before a time.
    async fn last_arrivals(
        &self,
        project: ProjectId,
        before: i64,
    ) -> Result<Vec<(u8, u64)>, StoreError> {
        let text = format!(
            "SELECT toUInt8(arrival % 16) AS slot, max(arrival) AS last FROM events \
             WHERE project = {{project:Int64}} AND {since} \
             AND timestamp < fromUnixTimestamp64Micro({{before:Int64}}, 'UTC') GROUP BY slot",
            since = since(Kind::Event),
        );
        let query = self.engine.query(&text);
        let query = query.param("project", project.0).param("before", before);
        self.engine.rows(query, SCAN_TIME).await
    }

    /// Hides all records of removed projects, also those that come later.
    pub(super) async fn hide(&self, projects: &[ProjectId]) -> Result<(), StoreError> {
        let mut hidden = Vec::new();
        for project in projects {
            let cutoffs = self.cutoffs(*project).await?;
            if cutoffs.events != ALL {
                hidden.push(Cutoffs {
                    events: ALL,
                    metrics: ALL,
                    rollups: ALL,
                    ..Cutoffs::none(*project)
                });
            }
        }
        if hidden.is_empty() {
            return Ok(());
        }
        self.cut(&hidden).await
    }

    /// Begins to take hidden records off the disk, at most once an hour.
    pub(super) async fn delete_hidden(&self) -> Result<(), StoreError> {
        if !self.deleting.is_due(EVERY) {
            return Ok(());
        }
        let unfinished = self.engine.query(
            "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done",
        );
        if self.engine.row::<u64>(unfinished, QUERY_TIME).await? > 0 {
            return Ok(());
        }
        let query = self.engine.query(&format!("{CUTOFFS} GROUP BY project"));
        let cutoffs: Vec<Cutoffs> = self.engine.rows(query, QUERY_TIME).await?;
        for cutoffs in cutoffs.chunks(PROJECTS) {
            for kind in Kind::ALL {
                let before = |it: &Cutoffs| match kind {
                    Kind::Event => it.events,
                    Kind::Metric => it.metrics,
                };
                let hidden = cutoffs.iter().map(|it| {
                    let (project, before) = (it.project, before(it));
                    format!(
                        "(project = {project} AND timestamp < \
                         fromUnixTimestamp64Micro({before}, 'UTC'))"
                    )
                });
                let hidden: Vec<_> = hidden.collect();
                self.delete(kind.key(), &hidden.join(" OR ")).await?;
            }
            let gone = cutoffs.iter().filter(|it| it.events == ALL);
            let gone: Vec<_> = gone.map(|it| it.project.to_string()).collect();
            if !gone.is_empty() {
                let condition = format!("project IN ({})", gone.join(", "));
                self.delete("left_out", &condition).await?;
            }
        }
        Ok(())
    }

    /// Deletes rows in the background, if there are any.
    async fn delete(&self, table: &str, condition: &str) -> Result<(), StoreError> {
        let count = format!("SELECT count() FROM {table} WHERE {condition}");
        let found: u64 = self
            .engine
            .row(self.engine.query(&count), SCAN_TIME)
            .await?;
        if found == 0 {
            return Ok(());
        }
        let statement = format!(
            "ALTER TABLE {table} {on} DELETE WHERE {condition}",
            on = self.on_cluster(),
        );
        let statement = self.engine.statement(&statement);
        let statement = statement.with_setting("mutations_sync", "0");
        self.engine.execute(statement, QUERY_TIME).await
    }
}
