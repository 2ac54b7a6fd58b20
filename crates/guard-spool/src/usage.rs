//! Counts of records and bytes.

use std::ops::{AddAssign, Sub};

use guard_wire::Kind;

/// A number of records of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Metrics.
    pub metrics: u64,
}

impl Counts {
    /// The sum of both kinds.
    pub const fn total(self) -> u64 {
        self.events + self.metrics
    }

    /// The number of records of one kind.
    pub const fn of(self, kind: Kind) -> u64 {
        match kind {
            Kind::Event => self.events,
            Kind::Metric => self.metrics,
        }
    }

    pub(crate) fn add(&mut self, kind: Kind, n: u64) {
        *self.of_mut(kind) += n;
    }

    pub(crate) fn remove(&mut self, kind: Kind, n: u64) {
        let count = self.of_mut(kind);
        *count = count.saturating_sub(n);
    }

    fn of_mut(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Event => &mut self.events,
            Kind::Metric => &mut self.metrics,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.metrics += other.metrics;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            metrics: self.metrics.saturating_sub(other.metrics),
        }
    }
}

/// How much a spool holds, and how much it has lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records that are not acknowledged. For adopted segments that were not read yet, the
    /// number according to seal and sidecar; 0 for such a segment without a seal.
    pub records: u64,
    /// Number of these that the owner holds in memory.
    pub held: Counts,
    /// Bytes on disk, to which the limit applies: segments and sidecars, including acknowledged
    /// records that were not removed yet.
    pub bytes: u64,
    /// Number of these in segments that were not read yet.
    pub unread_bytes: u64,
    /// Records in the quarantine.
    pub quarantined: u64,
    /// Bytes of the quarantine, in whole blocks of
    /// [`QUARANTINE_BLOCK`](crate::QUARANTINE_BLOCK) bytes.
    pub quarantined_bytes: u64,
    /// Unreadable bytes in segments without a seal, whose writer died during its last writes.
    /// If readable records follow such bytes, the segment goes to the quarantine.
    pub torn_bytes: u64,
    /// Unreadable bytes in sealed segments, which had been durable. These segments go to the
    /// quarantine.
    pub damaged_bytes: u64,
    /// Records that this owner had appended or loaded, then released, and that could not be
    /// read again. Records of dead processes that were damaged before they were read count only
    /// in bytes.
    pub damaged: Counts,
    /// Records that this owner had appended or loaded, then released, and that another process
    /// adopted because somebody removed the directory's lock.
    pub taken: Counts,
}

impl Usage {
    /// Whether [`load`](crate::Spool::load) may return records.
    pub const fn has_waiting(&self) -> bool {
        self.unread_bytes > 0 || self.records > self.held.total()
    }
}
