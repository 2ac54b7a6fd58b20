//! Positions in the order of arrival.

use jiff::SignedDuration;

use crate::store::{Cursor, ProjectId, StoreError};

/// How many nodes can write at the same time.
pub(super) const SLOTS: u16 = 16;
const SLOT_COUNT: usize = SLOTS as usize;

/// How far the clocks of two nodes may differ.
const CLOCK_ERROR: SignedDuration = SignedDuration::from_mins(10);

/// The arrival after `last` in a slot: at least the clock, so that a node that takes over the slot
/// goes on after it.
pub(super) fn next(last: u64, slot: u16, now_micros: i64) -> u64 {
    let clock = u64::try_from(now_micros).unwrap_or(0);
    let count = clock.max(last / u64::from(SLOTS) + 1);
    count * u64::from(SLOTS) + u64::from(slot.saturating_sub(1))
}

/// The last arrival of each slot; 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Arrived(pub(super) [u64; SLOT_COUNT]);

impl Arrived {
    /// Goes on to an arrival of its slot.
    pub(super) fn reach(&mut self, arrival: u64) {
        let last = &mut self.0[slot_index(arrival)];
        *last = arrival.max(*last);
    }

    /// Whether an arrival is not after this.
    pub(super) fn has(&self, arrival: u64) -> bool {
        arrival <= self.0[slot_index(arrival)]
    }

    /// The later one of two, for each slot.
    pub(super) fn latest(mut self, other: Self) -> Self {
        for (last, other) in self.0.iter_mut().zip(other.0) {
            *last = other.max(*last);
        }
        self
    }

    /// The earlier one of two, for each slot.
    pub(super) fn earliest(mut self, other: Self) -> Self {
        for (last, other) in self.0.iter_mut().zip(other.0) {
            *last = other.min(*last);
        }
        self
    }

    /// No node that writes now gives an arrival before this.
    pub(super) fn floor(&self) -> u64 {
        let last = self.0.iter().copied().max().unwrap_or(0);
        let error = u64::try_from(CLOCK_ERROR.as_micros()).unwrap_or(0);
        last.saturating_sub(error * u64::from(SLOTS))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is less than the number of slots"
)]
fn slot_index(arrival: u64) -> usize {
    (arrival % u64::from(SLOTS)) as usize
}

/// A position in the order of arrival of a project's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) project: ProjectId,
    pub(super) arrived: Arrived,
}

impl Position {
    /// The position in a project that a cursor points to.
    pub(super) fn of(cursor: &Cursor, project: ProjectId) -> Result<Self, StoreError> {
        let (numbers, []) = cursor.bytes().as_chunks::<8>() else {
            return Err(StoreError::InvalidCursor);
        };
        let [its_project, arrivals @ ..] = numbers else {
            return Err(StoreError::InvalidCursor);
        };
        if i64::from_be_bytes(*its_project) != project.0 || arrivals.len() > SLOT_COUNT {
            return Err(StoreError::InvalidCursor);
        }
        let mut arrived = Arrived::default();
        for arrival in arrivals {
            arrived.reach(u64::from_be_bytes(*arrival));
        }
        Ok(Self { project, arrived })
    }

    /// The cursor of this position. Slots without arrivals are left out.
    pub(super) fn cursor(self) -> Cursor {
        let mut bytes = self.project.0.to_be_bytes().to_vec();
        for arrival in self.arrived.0.into_iter().filter(|arrival| *arrival > 0) {
            bytes.extend(arrival.to_be_bytes());
        }
        Cursor::new(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: ProjectId = ProjectId(7);

    #[test]
    fn arrivals_of_a_slot_go_up_whatever_the_clock_says() {
        let mut last = 0;
        for now in [1_000_000, 1_000_000, 5, -3, 2_000_000] {
            let arrival = next(last, 3, now);
            assert!(arrival > last, "{now}");
            assert_eq!(arrival % u64::from(SLOTS), 2);
            last = arrival;
        }
        assert_eq!(last, 2_000_000 * 16 + 2);
    }

    #[test]
    fn a_position_of_all_slots_fits_into_a_cursor() {
        let mut arrived = Arrived::default();
        for slot in 1..=SLOTS {
            arrived.reach(next(0, slot, 1_900_000_000_000_000));
        }
        let position = Position {
            project: PROJECT,
            arrived,
        };
        let text = position.cursor().to_string();
        let parsed = text.parse().unwrap();
        assert_eq!(Position::of(&parsed, PROJECT), Ok(position));
        let other = Position::of(&parsed, ProjectId(8));
        assert_eq!(other, Err(StoreError::InvalidCursor));
    }

    #[test]
    fn a_position_has_what_each_slot_wrote_up_to_it() {
        let mut arrived = Arrived::default();
        arrived.reach(16);
        arrived.reach(33);
        for (arrival, expected) in [(0, true), (16, true), (32, false), (17, true), (49, false)] {
            assert_eq!(arrived.has(arrival), expected, "{arrival}");
        }
        assert!(!arrived.has(2));
    }
}
