//! Counts, and what a spool says of itself.

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
    /// Both kinds together.
    pub const fn total(self) -> u64 {
        self.events + self.metrics
    }

    /// The number of one kind.
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

/// What a spool holds, and what it lost, as far as it knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records that are not acknowledged. Of segments that a dead process left
    /// and that were not read yet, what their seals and acknowledgements tell;
    /// of such a segment without a seal, 0.
    pub records: u64,
    /// Of these, the records that the owner holds in memory.
    pub held: Counts,
    /// Bytes on disk: segments and acknowledgements, what is acknowledged and
    /// still stands there included. This is what the limit bounds.
    pub bytes: u64,
    /// Of these, bytes in segments that were not read yet.
    pub unread_bytes: u64,
    /// Records set aside.
    pub quarantined: u64,
    /// Bytes on disk that records and segments set aside take, in whole blocks
    /// of [`QUARANTINE_BLOCK`](crate::QUARANTINE_BLOCK) bytes.
    pub quarantined_bytes: u64,
    /// Unreadable bytes in segments whose writer died before it sealed them: what
    /// a power cut or a kill left of its last writes. A segment in which readable
    /// records follow such bytes is kept aside.
    pub torn_bytes: u64,
    /// Unreadable bytes in sealed segments, which were durable before: damage.
    /// The segments are kept aside.
    pub damaged_bytes: u64,
    /// Records that this owner had appended or loaded, had released, and that
    /// could not be read again. What stood in segments of dead processes and
    /// was damaged before it was read is known by its bytes alone.
    pub damaged: Counts,
    /// Records that this owner had appended or loaded, had released, and that another
    /// process took over, because somebody removed the lock of the directory.
    pub taken: Counts,
}

impl Usage {
    /// Whether [`load`](crate::Spool::load) may have something to give.
    pub const fn has_waiting(&self) -> bool {
        self.unread_bytes > 0 || self.records > self.held.total()
    }
}
