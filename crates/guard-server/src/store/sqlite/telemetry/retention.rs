//! Removes old records, with their counts and bodies, in short steps.

use std::collections::BTreeMap;

use guard_wire::Kind;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::Speeds;
use super::super::pace::{Pace, Speed};
use super::append::{Address, ROW_BYTES};
use super::names::{self, IN_BODY, Names};
use super::rollups::{EventCounts, EventGroup, HOUR, SPANS, WIDE, start};
use super::tallies::{self, OTHER};
use crate::store::{DiskRoom, Expired, Expiry, ProjectId, TextField};

/// How many of the oldest records are removed at once before it is known how large they are.
const OLDEST: i64 = 16;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// One step, in the transaction of `connection`.
pub(super) struct Removing<'a> {
    connection: &'a Connection,
    names: &'a mut Names,
    events: Pace<'a>,
    metrics: Pace<'a>,
    rollups: Pace<'a>,
}

impl<'a> Removing<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        names: &'a mut Names,
        speeds: &'a Speeds,
    ) -> Self {
        Self {
            connection,
            names,
            events: speeds.events.step(),
            metrics: speeds.metrics.step(),
            rollups: speeds.rollups.step(),
        }
    }

    /// Removes what has expired, until the time of the step is over.
    pub(super) fn expired(
        &mut self,
        project: ProjectId,
        expiry: Expiry,
    ) -> rusqlite::Result<Expired> {
        let mut expired = Expired::default();
        for (kind, before) in [
            (Kind::Event, expiry.events_before),
            (Kind::Metric, expiry.metrics_before),
        ] {
            loop {
                let before = before.as_microsecond();
                let Some((n, bytes)) = self.records(project, kind, before, i64::MAX)? else {
                    return Ok(expired.unfinished());
                };
                expired.add(kind, n, bytes);
                if n == 0 {
                    break;
                }
            }
        }
        let rollups_before = start(expiry.rollups_before.as_microsecond(), HOUR);
        while let Some(part) = self.rollups.part() {
            let n = self.rollups(project, rollups_before, part)?;
            self.rollups.did(n);
            expired.rollups += n;
            if n == 0 && !self.unused_names(project, expiry, part)? {
                return Ok(expired);
            }
        }
        Ok(expired.unfinished())
    }

    /// Removes the oldest records that take `bytes` bytes, until the time of the step is over.
    pub(super) fn oldest(&mut self, project: ProjectId, bytes: u64) -> rusqlite::Result<Expired> {
        let mut expired = Expired::default();
        while expired.bytes < bytes {
            let event = self.first(project, Kind::Event)?;
            let metric = self.first(project, Kind::Metric)?;
            let kind = match (event, metric) {
                (None, None) => return Ok(expired),
                (Some(event), Some(metric)) if metric < event => Kind::Metric,
                (Some(_), _) => Kind::Event,
                (None, Some(_)) => Kind::Metric,
            };
            let enough = expired.records_for(bytes - expired.bytes);
            let enough = enough.map_or(OLDEST, |n| i64::try_from(n).unwrap_or(i64::MAX));
            let Some((n, bytes)) = self.records(project, kind, i64::MAX, enough)? else {
                return Ok(expired.unfinished());
            };
            expired.add(kind, n, bytes);
        }
        Ok(expired)
    }

    /// The time of the oldest record.
    fn first(&self, project: ProjectId, kind: Kind) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached(&format!(
                "SELECT min(timestamp) FROM {} WHERE project = ?1",
                kind.key()
            ))?
            .query_row([project.0], |row| row.get(0))
    }

    /// Removes the oldest records before `before`, at most `most`. Returns how many, and roughly
    /// their bytes. `None` if the time of the step is over.
    fn records(
        &mut self,
        project: ProjectId,
        kind: Kind,
        before: i64,
        most: i64,
    ) -> rusqlite::Result<Option<(u64, u64)>> {
        let pace = match kind {
            Kind::Event => &mut self.events,
            Kind::Metric => &mut self.metrics,
        };
        let Some(part) = pace.part() else {
            return Ok(None);
        };
        let removed = self.part(project, kind, before, part.min(most))?;
        match kind {
            Kind::Event => self.events.did(removed.0),
            Kind::Metric => self.metrics.did(removed.0),
        }
        Ok(Some(removed))
    }

    fn part(
        &self,
        project: ProjectId,
        kind: Kind,
        before: i64,
        most: i64,
    ) -> rusqlite::Result<(u64, u64)> {
        let mut removed = Removed::default();
        let columns = match kind {
            Kind::Event => "action, method, status, country, endpoint, address, reason, user_agent",
            Kind::Metric => "NULL",
        };
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT timestamp, key, chunk, type, position, {columns} FROM {} WHERE project = ?1
             AND timestamp < ?2 ORDER BY timestamp, key LIMIT ?3",
            kind.key()
        ))?;
        let mut rows = statement.query(params![project.0, before, most])?;
        while let Some(row) = rows.next()? {
            removed.add(kind, row)?;
        }
        let Some((timestamp, key)) = removed.last else {
            return Ok((0, 0));
        };
        self.connection
            .prepare_cached(&format!(
                "DELETE FROM {} WHERE project = ?1 AND timestamp <= ?2
                 AND (timestamp, key) <= (?2, ?3)",
                kind.key()
            ))?
            .execute(params![project.0, timestamp, key])?;
        removed.counts.save(self.connection, project)?;
        if kind == Kind::Event {
            self.passed(project, removed.last_arrived)?;
        }
        self.count_types(project, kind, &removed.types)?;
        let bytes = self.chunks(&removed.chunks)? + removed.n * ROW_BYTES;
        tallies::add_bytes(self.connection, project, 0, -bytes)?;
        Ok((removed.n.unsigned_abs(), bytes.unsigned_abs()))
    }

    /// Notes that readers before this chunk and position have missed events.
    fn passed(&self, project: ProjectId, (chunk, position): (i64, i64)) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE arrivals SET chunk = ?2, position = ?3
                 WHERE project = ?1 AND (chunk, position) < (?2, ?3)",
            )?
            .execute(params![project.0, chunk, position])
            .map(drop)
    }

    fn count_types(
        &self,
        project: ProjectId,
        kind: Kind,
        types: &BTreeMap<i64, i64>,
    ) -> rusqlite::Result<()> {
        let field = match kind {
            Kind::Event => TextField::EventType,
            Kind::Metric => TextField::MetricType,
        };
        for (id, n) in types {
            let name = match *id {
                IN_BODY => None,
                id => names::text(self.connection, project, field, id)?,
            };
            let name = name.as_deref().unwrap_or(OTHER);
            tallies::remove(self.connection, project, kind, name, *n)?;
        }
        Ok(())
    }

    /// Removes rows from chunks, and the chunks that become empty. Returns the bytes of their
    /// bodies.
    fn chunks(&self, chunks: &BTreeMap<i64, i64>) -> rusqlite::Result<i64> {
        let mut bytes = 0;
        for (chunk, n) in chunks {
            let live: Option<i64> = self
                .connection
                .prepare_cached("UPDATE chunks SET live = live - ?2 WHERE id = ?1 RETURNING live")?
                .query_row(params![chunk, n], |row| row.get(0))
                .optional()?;
            if live.is_some_and(|live| live <= 0) {
                bytes += self
                    .connection
                    .prepare_cached("SELECT length(data) FROM bodies WHERE id = ?1")?
                    .query_row([chunk], |row| row.get::<_, i64>(0))
                    .optional()?
                    .unwrap_or(0);
                // A trigger removes the bodies.
                self.connection
                    .prepare_cached("DELETE FROM chunks WHERE id = ?1")?
                    .execute([chunk])?;
            }
        }
        Ok(bytes)
    }

    /// Removes sums of metrics that start before `before`, at most `most`.
    fn rollups(&self, project: ProjectId, before: i64, most: i64) -> rusqlite::Result<u64> {
        // The types are a few; without one, the key does not lead to the oldest rows.
        let mut types = self.connection.prepare_cached(
            "SELECT 0 UNION SELECT id FROM names WHERE project = ?1 AND field = ?2",
        )?;
        let types = types.query_map(params![project.0, TextField::MetricType as u8], |row| {
            row.get::<_, i64>(0)
        })?;
        for metric_type in types.collect::<rusqlite::Result<Vec<_>>>()? {
            for span in SPANS {
                let n = self
                    .connection
                    .prepare_cached(
                        "DELETE FROM metric_rollups
                         WHERE (project, span, type, start, endpoint, method, status) IN (
                            SELECT project, span, type, start, endpoint, method, status
                            FROM metric_rollups
                            WHERE project = ?1 AND span = ?2 AND type = ?3 AND start < ?4 LIMIT ?5)",
                    )?
                    .execute(params![project.0, span, metric_type, before, most])?;
                if n > 0 {
                    return Ok(n as u64);
                }
            }
        }
        Ok(0)
    }

    /// Removes names that nothing uses since the oldest kept day, at most `most`. Returns whether
    /// any were removed.
    fn unused_names(
        &mut self,
        project: ProjectId,
        expiry: Expiry,
        most: i64,
    ) -> rusqlite::Result<bool> {
        let oldest = expiry
            .events_before
            .min(expiry.metrics_before)
            .min(expiry.rollups_before);
        let day = oldest.as_microsecond().div_euclid(MICROS_PER_DAY) - 1;
        let is_any = names::remove_unused(self.connection, project, day, most)? > 0;
        if is_any {
            self.names.forget();
        }
        Ok(is_any)
    }
}

/// Rows that are about to be removed.
#[derive(Default)]
struct Removed {
    n: i64,
    /// Timestamp and key of the last one.
    last: Option<(i64, i64)>,
    /// Chunk and position of the one that arrived last.
    last_arrived: (i64, i64),
    counts: EventCounts,
    types: BTreeMap<i64, i64>,
    chunks: BTreeMap<i64, i64>,
}

impl Removed {
    fn add(&mut self, kind: Kind, row: &Row<'_>) -> rusqlite::Result<()> {
        let timestamp = row.get(0)?;
        let type_id = row.get(3)?;
        self.n += 1;
        self.last = Some((timestamp, row.get(1)?));
        let chunk = row.get(2)?;
        *self.chunks.entry(chunk).or_default() += 1;
        self.last_arrived = self.last_arrived.max((chunk, row.get(4)?));
        *self.types.entry(type_id).or_default() += 1;
        if kind == Kind::Event {
            let values = [
                Some(type_id),
                row.get(5)?,
                row.get(6)?,
                row.get(7)?,
                row.get(8)?,
                row.get(9)?,
            ];
            let group = EventGroup::new(timestamp, values);
            let mut wide = [Address::Absent; WIDE.len()];
            for (at, value) in wide.iter_mut().enumerate() {
                *value = Address::of(row.get_ref(10 + at)?);
            }
            self.counts.add(group, wide, -1);
        }
        Ok(())
    }
}

/// Returns free pages to the disk, until the time of the step is over.
pub(super) fn compact(connection: &Connection, keep: u64, speed: &Speed) -> rusqlite::Result<bool> {
    let mut pace = speed.step();
    while let Some(part) = pace.part() {
        let reusable = room(connection)?.reusable;
        if reusable <= keep {
            return Ok(false);
        }
        let page: u64 = pragma(connection, "page_size")?;
        let most = i64::try_from((reusable - keep).div_ceil(page.max(1))).unwrap_or(i64::MAX);
        let mut vacuum =
            connection.prepare(&format!("PRAGMA incremental_vacuum({})", most.min(part)))?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        let returned = reusable.saturating_sub(room(connection)?.reusable) / page.max(1);
        if returned == 0 {
            // The file is older than incremental vacuum.
            return Ok(false);
        }
        pace.did(returned);
    }
    Ok(true)
}

/// The room in the file.
pub(in super::super) fn room(connection: &Connection) -> rusqlite::Result<DiskRoom> {
    let page = pragma(connection, "page_size")?;
    let pages = pragma(connection, "page_count")?;
    let free = pragma(connection, "freelist_count")?;
    Ok(DiskRoom {
        used: pages.saturating_sub(free).saturating_mul(page),
        reusable: free.saturating_mul(page),
        free: None,
        total: None,
    })
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let value: i64 = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?;
    Ok(u64::try_from(value).unwrap_or(0))
}
