//! What the store and the connections measure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{number, seconds};

/// Upper bounds of the buckets for the number of writes in a commit.
const WRITES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// The measurements of a store.
#[derive(Debug, Clone)]
pub struct StoreMeters {
    commit_seconds: Histogram,
    commit_writes: Histogram,
    failed_writes: Counter,
    waiting: Gauge,
    bytes: Gauge,
    free: Gauge,
    /// The files whose sizes are added.
    files: Arc<[PathBuf]>,
}

impl StoreMeters {
    /// The measurements of a store that consists of `files`.
    pub fn of(files: impl Into<Arc<[PathBuf]>>) -> Self {
        Self {
            commit_seconds: seconds(),
            commit_writes: Histogram::new(WRITES),
            failed_writes: Counter::default(),
            waiting: Gauge::default(),
            bytes: Gauge::default(),
            free: Gauge::default(),
            files: files.into(),
        }
    }

    /// Counts a commit of `writes` writes.
    pub(crate) fn committed(&self, writes: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        let writes = u32::try_from(writes).unwrap_or(u32::MAX);
        self.commit_writes.observe(f64::from(writes));
    }

    /// Counts a write that failed.
    pub(crate) fn write_failed(&self) {
        self.failed_writes.inc();
    }

    /// Counts a write that waits, until the result is dropped.
    pub(crate) fn write_waits(&self) -> impl Drop + use<> {
        self.waiting.inc();
        Waiting(self.waiting.clone())
    }

    pub(super) fn refresh(&self) {
        let sizes = self.files.iter().filter_map(|file| file.metadata().ok());
        self.bytes.set(number(sizes.map(|found| found.len()).sum()));
        let disk = self
            .files
            .first()
            .and_then(|file| rustix::fs::statvfs(file).ok());
        let free = disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        self.free.set(number(free));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "commit_duration",
            "Time of a commit of the store",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register(
            "commit_writes",
            "Writes that share a commit",
            self.commit_writes.clone(),
        );
        registry.register(
            "failed_writes",
            "Writes that the store could not commit",
            self.failed_writes.clone(),
        );
        registry.register(
            "waiting_writes",
            "Writes that wait for their commit",
            self.waiting.clone(),
        );
        registry.register_with_unit(
            "store",
            "Size of the store with its log",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register_with_unit(
            "disk_free",
            "Free bytes of the store's disk",
            Unit::Bytes,
            self.free.clone(),
        );
    }
}

impl Default for StoreMeters {
    fn default() -> Self {
        Self::of([])
    }
}

struct Waiting(Gauge);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The measurements of the connections.
#[derive(Debug, Clone, Default)]
pub struct ConnectionMeters {
    open: Gauge,
    held: Gauge,
    closed: Counter,
    refused: Counter,
}

impl ConnectionMeters {
    /// Sets how many connections are open, and how many requests wait for rules.
    pub(crate) fn set(&self, open: usize, held: usize) {
        self.open.set(number(open as u64));
        self.held.set(number(held as u64));
    }

    /// Counts connections that were closed to make room.
    pub(crate) fn closed(&self, n: usize) {
        self.closed.inc_by(n as u64);
    }

    /// Counts a connection that was refused because its address has too many.
    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "connections",
            "Open connections, without held requests",
            self.open.clone(),
        );
        registry.register(
            "held_requests",
            "Requests that wait for rules",
            self.held.clone(),
        );
        registry.register(
            "connections_closed",
            "Idle and slow connections that were closed for new ones",
            self.closed.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that were refused because their address has too many",
            self.refused.clone(),
        );
    }
}

/// The measurements of live readers.
#[derive(Debug, Clone, Default)]
pub(crate) struct TailMeters {
    open: Gauge,
    gaps: Counter,
    missed: Counter,
}

impl TailMeters {
    /// Sets how many live readers there are.
    pub(crate) fn open(&self, n: usize) {
        self.open.set(number(n as u64));
    }

    /// Counts a gap that a reader was told of.
    pub(crate) fn gap(&self) {
        self.gaps.inc();
    }

    /// Counts events that were left out because a reader was too slow.
    pub(crate) fn missed(&self, n: u64) {
        self.missed.inc_by(n);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("tails", "Live readers of events", self.open.clone());
        registry.register(
            "tail_gaps",
            "Gaps in live streams whose readers were too slow",
            self.gaps.clone(),
        );
        registry.register(
            "tail_missed_events",
            "Events that live streams left out because their readers were too slow",
            self.missed.clone(),
        );
    }
}
