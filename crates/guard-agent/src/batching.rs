//! Batching: takes queued records out in batches. Records that the caller's thread only
//! copied are encoded here, on the thread that takes them.

use std::slice;

use guard_wire::Kind;

use crate::intake;
use crate::ledger::LossReason;
use crate::queue::{QueuedRecord, Scratch, fitting};
use crate::shared::Shared;

/// The next batch that is due.
pub(crate) fn next_batch(shared: &Shared) -> Option<(Kind, Vec<QueuedRecord>)> {
    let room = shared.batch_room();
    loop {
        let now = shared.clock().now();
        let (kind, taken) = shared.queue.take(now, room)?;
        let mut batch = encoded(shared, kind, taken);
        // The encoded length of a copy is only an estimate.
        let rest = batch.split_off(fitting(&batch, room).min(batch.len()));
        shared.queue.give_back(kind, rest, now);
        if !batch.is_empty() {
            return Some((kind, batch));
        }
    }
}

/// Takes all waiting records of a kind, oldest first.
pub(crate) fn withdraw(shared: &Shared, kind: Kind) -> Vec<Vec<u8>> {
    let records = encoded(shared, kind, shared.queue.take_all(kind));
    shared.queue.lose(kind, &records, LossReason::Withdrawn);
    let bytes = records.iter().map(|record| record.as_ref().to_vec());
    bytes.collect()
}

/// Enables saving, also for waiting records. A store accepts only encoded records.
pub(crate) fn enable_persistence(shared: &Shared) {
    if shared.queue.enable_persistence() {
        for kind in Kind::ALL {
            let records = encoded(shared, kind, shared.queue.take_all(kind));
            let now = shared.clock().now();
            shared.queue.give_back(kind, records, now);
        }
    }
    shared.queue.mark_unsaved();
}

/// Encodes copied records. A record that cannot be encoded is lost, counted and reported; the
/// checks at the time of the copy should prevent that.
fn encoded(shared: &Shared, kind: Kind, mut records: Vec<QueuedRecord>) -> Vec<QueuedRecord> {
    let mut scratch = Scratch::default();
    records.retain_mut(|record| {
        let Err(error) = record.encode(kind, &shared.encoder, &mut scratch) else {
            return true;
        };
        let reason = intake::report(shared, &error);
        shared.queue.lose(kind, slice::from_ref(record), reason);
        false
    });
    records
}

#[cfg(test)]
mod tests;
