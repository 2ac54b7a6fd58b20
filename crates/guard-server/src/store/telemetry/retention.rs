//! What retention removes, and the room that is left.

use std::ops::AddAssign;

use guard_wire::Kind;
use jiff::Timestamp;

/// What to remove from a project, by the time of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Events before this, with their counts.
    pub events_before: Timestamp,
    /// Single metrics before this.
    pub metrics_before: Timestamp,
    /// Sums of metrics before this, by whole hours.
    pub rollups_before: Timestamp,
}

/// What one step removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Events.
    pub events: u64,
    /// Single metrics.
    pub metrics: u64,
    /// Sums of metrics.
    pub rollups: u64,
    /// Roughly the bytes of the events and metrics.
    pub bytes: u64,
    /// Whether there may be more to remove.
    pub has_more: bool,
}

impl AddAssign for Expired {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.metrics += more.metrics;
        self.rollups += more.rollups;
        self.bytes += more.bytes;
        self.has_more |= more.has_more;
    }
}

impl Expired {
    /// How many rows of all kinds.
    pub fn total(&self) -> u64 {
        self.events + self.metrics + self.rollups
    }

    /// Counts records of a kind, with their bytes.
    pub const fn add(&mut self, kind: Kind, records: u64, bytes: u64) {
        match kind {
            Kind::Event => self.events += records,
            Kind::Metric => self.metrics += records,
        }
        self.bytes += bytes;
    }

    /// The same of a step that ended before all was removed.
    #[must_use]
    pub const fn unfinished(self) -> Self {
        Self {
            has_more: true,
            ..self
        }
    }

    /// About how many records take `bytes` bytes, at least one. `None` if that is not known yet.
    pub const fn records_for(self, bytes: u64) -> Option<u64> {
        let records = self.events + self.metrics;
        match bytes.saturating_mul(records).checked_div(self.bytes) {
            Some(0) => Some(1),
            number => number,
        }
    }
}

/// The room of the store on its disk, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskRoom {
    /// What the data takes.
    pub used: u64,
    /// What the store reuses before it takes more of the disk.
    pub reusable: u64,
    /// What the disk has left. `None` if the store does not know.
    pub free: Option<u64>,
    /// The size of the disk.
    pub total: Option<u64>,
}
