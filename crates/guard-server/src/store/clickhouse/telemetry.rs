//! Stores batches, and tells what is stored.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use clickhouse::Row;
use guard_wire::Kind;
use jiff::Timestamp;
use serde::Deserialize;

use super::ClickHouse;
use super::client::{QUERY_TIME, since};
use super::retention::{ROW_BYTES, SCAN_TIME};
use super::rows::Rows;
use crate::monitoring::StoreMeters;
use crate::projects::Usage;
use crate::store::{
    Batch, BoxFuture, DiskRoom, Expired, Expiry, KindCounts, KindSummary, ProjectId, Receipt,
    RecordCounts, StoreError, Telemetry,
};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Over how many days the growth is measured.
const WEEK: i64 = 7;

impl Telemetry for ClickHouse {
    fn append(&self, batch: Batch, max_types: u32) -> BoxFuture<'_, Receipt> {
        Box::pin(async move {
            self.types.store(max_types, Ordering::Relaxed);
            let is_complete = batch.invalid == KindCounts::default();
            let left_out = (!is_complete).then_some((batch.project.0, batch.invalid));
            let rows = tokio::task::spawn_blocking(move || Rows::of(batch)).await;
            let rows = rows.map_err(|_| StoreError::Unavailable)??;
            self.writer.write(rows, left_out).await?;
            // Copies are found when records are read.
            Ok(Receipt { duplicates: None })
        })
    }

    /// Stores a count of nothing, in the order of all writes.
    fn probe(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let nothing = Some((0, KindCounts::default()));
            self.writer.write(Rows::default(), nothing).await
        })
    }

    fn meters(&self) -> StoreMeters {
        self.writer.meters.clone()
    }

    fn expire(&self, project: ProjectId, expiry: Expiry) -> BoxFuture<'_, Expired> {
        Box::pin(self.expire_before(project, expiry))
    }

    fn expire_oldest(&self, project: ProjectId, bytes: u64) -> BoxFuture<'_, Expired> {
        Box::pin(self.expire_bytes(project, bytes))
    }

    /// Hides all that is left. A batch that comes later is hidden too.
    fn sweep(&self, projects: Vec<ProjectId>) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            self.hide(&projects).await?;
            Ok(false)
        })
    }

    /// Takes hidden records off the disk.
    fn compact(&self, _: u64) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            self.delete_hidden().await?;
            Ok(false)
        })
    }

    /// What the tables take. Which disk they use, and how full it may get, is up to ClickHouse.
    fn disk_room(&self) -> BoxFuture<'_, DiskRoom> {
        Box::pin(async move {
            let query = self.engine.query(
                "SELECT sum(bytes_on_disk) FROM system.parts \
                 WHERE active AND database = currentDatabase()",
            );
            Ok(DiskRoom {
                used: self.engine.row(query, QUERY_TIME).await?,
                ..DiskRoom::default()
            })
        })
    }

    fn usage(&self, project: ProjectId) -> BoxFuture<'_, Usage> {
        Box::pin(self.usage_of(project))
    }

    fn counts(&self, project: ProjectId) -> BoxFuture<'_, RecordCounts> {
        Box::pin(async move {
            let mut counts = RecordCounts {
                invalid: self.left_out(project).await?,
                ..RecordCounts::default()
            };
            for kind in Kind::ALL {
                *counts.of_mut(kind) = self.summary(project, kind).await?;
            }
            Ok(counts)
        })
    }
}

#[derive(Debug, Row, Deserialize)]
struct TypeCount {
    name: String,
    records: u64,
}

#[derive(Debug, Row, Deserialize)]
struct Size {
    bytes: u64,
    week: u64,
    first: i64,
}

impl ClickHouse {
    /// The types that came first have a name.
    async fn summary(&self, project: ProjectId, kind: Kind) -> Result<KindSummary, StoreError> {
        let text = format!(
            "SELECT {column} AS name, count() AS records FROM {table} FINAL \
             WHERE project = {{project:Int64}} AND {since} GROUP BY name ORDER BY min(arrival)",
            column = match kind {
                Kind::Event => "event_type",
                Kind::Metric => "metric_type",
            },
            table = kind.key(),
            since = since(kind),
        );
        let query = self.engine.query(&text).param("project", project.0);
        let types: Vec<TypeCount> = self.engine.rows(query, SCAN_TIME).await?;
        let named = usize::try_from(self.types.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let mut summary = KindSummary {
            total: types.iter().map(|it| it.records).sum(),
            by_type: BTreeMap::new(),
            other: types.iter().skip(named).map(|it| it.records).sum(),
        };
        let named = types.into_iter().take(named);
        summary.by_type = named.map(|it| (it.name, it.records)).collect();
        Ok(summary)
    }

    async fn left_out(&self, project: ProjectId) -> Result<KindCounts, StoreError> {
        let query = self
            .engine
            .query("SELECT sum(events), sum(metrics) FROM left_out WHERE project = {project:Int64}")
            .param("project", project.0);
        let (events, metrics) = self.engine.row(query, QUERY_TIME).await?;
        Ok(KindCounts { events, metrics })
    }

    async fn usage_of(&self, project: ProjectId) -> Result<Usage, StoreError> {
        let (mut usage, mut week, mut days) = (Usage::default(), 0, 1);
        let now = Timestamp::now().as_microsecond();
        for kind in Kind::ALL {
            let size = self.size(project, kind).await?;
            let share = self.disk_share(kind).await?;
            usage.bytes += scaled(size.bytes, share);
            week += scaled(size.week, share);
            if size.week > 0 {
                days = days.max(1 + (now - size.first).max(0) / MICROS_PER_DAY);
            }
        }
        usage.bytes_per_day = week.div_ceil(days.unsigned_abs());
        let query = self
            .engine
            .query("SELECT min(free_space) FROM system.disks");
        usage.free = Some(self.engine.row(query, QUERY_TIME).await?);
        Ok(usage)
    }

    /// The bytes of a project's records of a kind as they were sent: of all, and of those of the
    /// newest week; and when the first one of these came.
    async fn size(&self, project: ProjectId, kind: Kind) -> Result<Size, StoreError> {
        let text = format!(
            "WITH own AS (SELECT size, received_at FROM {table} \
                WHERE project = {{project:Int64}} AND {since}), \
             (SELECT max(received_at) - INTERVAL {WEEK} DAY FROM own) AS start \
             SELECT sum(size) + {ROW_BYTES} * count() AS bytes, \
             sumIf(size, received_at > start) + {ROW_BYTES} * countIf(received_at > start) AS week, \
             toUnixTimestamp64Micro(minIf(received_at, received_at > start)) AS first FROM own",
            table = kind.key(),
            since = since(kind),
        );
        let query = self.engine.query(&text).param("project", project.0);
        self.engine.row(query, SCAN_TIME).await
    }

    /// How many bytes of the disk each byte of a record takes.
    async fn disk_share(&self, kind: Kind) -> Result<f64, StoreError> {
        let query = self
            .engine
            .query(
                "SELECT ifNull((SELECT sum(bytes_on_disk) FROM system.parts WHERE active \
                    AND database = currentDatabase() AND table = {table:String} \
                    AND part_type = 'Wide') \
                 / (SELECT sum(data_uncompressed_bytes) FROM system.columns \
                    WHERE database = currentDatabase() AND table = {table:String} AND name = 'body'), 0) AS share",
            )
            .param("table", kind.key());
        let share: f64 = self.engine.row(query, QUERY_TIME).await?;
        // Small parts do not tell the sizes of their columns.
        Ok(if share.is_normal() { share } else { 1.0 })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an estimate of bytes"
)]
fn scaled(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share) as u64
}
