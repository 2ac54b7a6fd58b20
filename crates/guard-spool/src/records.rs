//! The state of the records in one segment: three bits each.

use guard_wire::Kind;

use crate::format::bits::Bits;
use crate::usage::Counts;

/// The state of the records of one segment, by index.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// In the segment and not settled, that is, neither acknowledged nor discarded.
    live: Bits,
    /// Live and in the owner's memory.
    held: Bits,
    metrics: Bits,
    /// Number of indices assigned.
    indices: u32,
    live_count: Counts,
    held_count: Counts,
}

impl Records {
    /// Adds a record that is in the segment.
    pub(crate) fn insert(&mut self, index: u32, kind: Kind) {
        if self.live.insert(index) {
            self.live_count.add(kind, 1);
        }
        if kind == Kind::Metric {
            self.metrics.insert(index);
        }
        self.indices = self.indices.max(index + 1);
    }

    /// Marks all indices below this one as assigned, even if no record has them.
    pub(crate) fn reserve(&mut self, indices: u32) {
        self.indices = self.indices.max(indices);
    }

    /// Settles a record. Returns whether it was live.
    pub(crate) fn settle(&mut self, index: u32) -> bool {
        self.release(index);
        let was_live = self.live.remove(index);
        if was_live {
            self.live_count.remove(self.kind(index), 1);
        }
        was_live
    }

    /// The owner has the record in memory. Returns whether it is live and was not held before.
    pub(crate) fn hold(&mut self, index: u32) -> bool {
        let new = self.live.contains(index) && self.held.insert(index);
        if new {
            self.held_count.add(self.kind(index), 1);
        }
        new
    }

    /// The owner no longer has the record in memory.
    pub(crate) fn release(&mut self, index: u32) {
        if self.held.remove(index) {
            self.held_count.remove(self.kind(index), 1);
        }
    }

    pub(crate) fn kind(&self, index: u32) -> Kind {
        if self.metrics.contains(index) {
            Kind::Metric
        } else {
            Kind::Event
        }
    }

    pub(crate) fn is_live(&self, index: u32) -> bool {
        self.live.contains(index)
    }

    /// Whether [`load`](crate::Spool::load) may return the record.
    pub(crate) fn is_waiting(&self, index: u32) -> bool {
        self.live.contains(index) && !self.held.contains(index)
    }

    /// The indices for which [`is_waiting`](Self::is_waiting) is true.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = u32> + '_ {
        self.live.iter().filter(|index| !self.held.contains(*index))
    }

    /// The indices of live records.
    pub(crate) fn live(&self) -> impl Iterator<Item = u32> + '_ {
        self.live.iter()
    }

    /// Whether the owner has the record in memory.
    pub(crate) fn is_held(&self, index: u32) -> bool {
        self.held.contains(index)
    }

    /// The assigned indices without a live record.
    pub(crate) fn settled(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.indices).filter(|index| !self.live.contains(*index))
    }

    pub(crate) fn indices(&self) -> u32 {
        self.indices
    }

    pub(crate) fn live_count(&self) -> Counts {
        self.live_count
    }

    pub(crate) fn held_count(&self) -> Counts {
        self.held_count
    }

    pub(crate) fn waiting_count(&self) -> Counts {
        self.live_count - self.held_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_held_or_waits_until_it_is_settled() {
        let mut records = Records::default();
        records.insert(0, Kind::Event);
        records.insert(1, Kind::Metric);
        assert_eq!(
            records.waiting_count(),
            Counts {
                events: 1,
                metrics: 1
            }
        );
        assert!(records.hold(1) && !records.hold(1) && !records.hold(2));
        assert_eq!(records.waiting().collect::<Vec<_>>(), [0]);
        records.release(1);
        assert!(records.hold(1));
        assert!(records.settle(1) && !records.settle(1));
        assert_eq!(records.held_count(), Counts::default());
        assert_eq!(
            records.live_count(),
            Counts {
                events: 1,
                metrics: 0
            }
        );
        assert_eq!(records.settled().collect::<Vec<_>>(), [1]);
    }
}
