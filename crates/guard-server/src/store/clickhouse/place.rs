//! The identity of a record, and its place in lists.

use crate::store::{Cursor, StoreError};

/// The place of a record: lists go by time, and by arrival for equal times. `(timestamp, key)`
/// identifies it in its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Microseconds since the epoch.
    pub(super) timestamp: i64,
    /// The place in the order of arrival.
    pub(super) arrival: u64,
    /// The hash of its idempotency key.
    pub(super) key: u128,
}

impl Place {
    /// The place that a cursor points to.
    pub(super) fn of(cursor: &Cursor) -> Result<Self, StoreError> {
        let bytes: &[u8; 32] = cursor
            .bytes()
            .try_into()
            .map_err(|_| StoreError::InvalidCursor)?;
        let (timestamp, rest) = bytes.split_first_chunk().ok_or(StoreError::InvalidCursor)?;
        let (arrival, key) = rest.split_first_chunk().ok_or(StoreError::InvalidCursor)?;
        let key = key.try_into().map_err(|_| StoreError::InvalidCursor)?;
        Ok(Self {
            timestamp: i64::from_be_bytes(*timestamp),
            arrival: u64::from_be_bytes(*arrival),
            key: u128::from_be_bytes(key),
        })
    }

    /// The cursor of this place.
    pub(super) fn cursor(self) -> Cursor {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.arrival.to_be_bytes());
        bytes[16..].copy_from_slice(&self.key.to_be_bytes());
        Cursor::new(&bytes)
    }
}
