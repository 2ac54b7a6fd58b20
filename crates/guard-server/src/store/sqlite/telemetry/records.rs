//! Where records are in lists.

use crate::store::{Cursor, StoreError};

/// The place of a record in the order of lists. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) timestamp: i64,
    pub(super) chunk: i64,
    pub(super) position: i64,
}

impl Place {
    /// The place that a cursor points to.
    pub(super) fn of(cursor: &Cursor) -> Result<Self, StoreError> {
        let numbers = cursor.bytes().as_chunks::<8>();
        let ([timestamp, chunk, position], []) = numbers else {
            return Err(StoreError::InvalidCursor);
        };
        Ok(Self {
            timestamp: i64::from_be_bytes(*timestamp),
            chunk: i64::from_be_bytes(*chunk),
            position: i64::from_be_bytes(*position),
        })
    }

    pub(super) fn cursor(self) -> Cursor {
        let numbers = [self.timestamp, self.chunk, self.position];
        Cursor::new(numbers.map(i64::to_be_bytes).as_flattened())
    }
}
