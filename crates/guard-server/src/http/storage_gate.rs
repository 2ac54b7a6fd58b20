//! Whether the disk has room for more records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::store::DiskRoom;
use crate::trouble::TroubleLog;

/// Whether the store has room for more records.
#[derive(Debug, Default)]
pub(crate) struct StorageGate {
    is_full: AtomicBool,
    log: TroubleLog,
}

impl StorageGate {
    /// Whether records must be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Notes whether records must be refused, and logs a change.
    pub(crate) fn set(&self, is_full: bool, room: DiskRoom) {
        self.is_full.store(is_full, Ordering::Relaxed);
        if is_full {
            if self.log.failed(0, Instant::now()) {
                tracing::error!(
                    free = room.free,
                    "the disk is nearly full: records are refused until there is room; free some, \
                     or lower --reserve"
                );
            }
        } else if self.log.succeeded().is_some() {
            tracing::info!("there is room for records again");
        }
    }
}
