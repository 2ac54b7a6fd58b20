//! Intake: from fields to a queued record, on the caller's thread.

use std::cell::RefCell;

use guard_wire::Kind;
use guard_wire::encode::{EncodeError, Fields};
use thiserror::Error;

use crate::config::OverflowPolicy;
use crate::ledger::LossReason;
use crate::queue::Pushed;
use crate::report::Level;
use crate::shared::Shared;

/// The scratch space of a thread is given back beyond this many bytes.
const KEPT_SCRATCH: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The record was not taken, and is not counted: the caller still has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the buffer is full ({limit} records); wait, or raise buffer_size or max_buffered")]
pub struct SendError {
    /// The bound that was reached.
    pub limit: usize,
}

/// Encodes and queues one record. What cannot be sent is counted and reported,
/// never an error.
pub(crate) fn take(shared: &Shared, kind: Kind, fields: impl Fields) -> Result<(), SendError> {
    if !is_enabled(shared, kind) {
        return Ok(());
    }
    SCRATCH.with(|scratch| {
        // Reading fields and reporting may run code of the host's, which may send: a
        // second record of the same thread within the first gets a buffer of its own.
        match scratch.try_borrow_mut() {
            Ok(mut buffer) => take_into(shared, kind, fields, &mut buffer),
            Err(_) => take_into(shared, kind, fields, &mut Vec::new()),
        }
    })
}

fn take_into(
    shared: &Shared,
    kind: Kind,
    fields: impl Fields,
    buffer: &mut Vec<u8>,
) -> Result<(), SendError> {
    buffer.clear();
    let encoded = shared.encoder.encode(kind, fields, buffer);
    let outcome = match encoded {
        Ok(()) => enqueue(shared, kind, buffer),
        Err(error) => {
            refuse(shared, kind, &error);
            Ok(())
        }
    };
    if buffer.capacity() > KEPT_SCRATCH {
        *buffer = Vec::new();
    }
    outcome
}

/// Encodes one record and leaves it to the caller. Nothing for one that cannot be
/// sent, which is counted and reported, or that is of a kind that is not taken.
pub(crate) fn encode(shared: &Shared, kind: Kind, fields: impl Fields) -> Option<Vec<u8>> {
    if !is_enabled(shared, kind) {
        return None;
    }
    let mut bytes = Vec::new();
    match shared.encoder.encode(kind, fields, &mut bytes) {
        Ok(()) => Some(bytes),
        Err(error) => {
            refuse(shared, kind, &error);
            None
        }
    }
}

/// Queues a record that is encoded.
pub(crate) fn enqueue(shared: &Shared, kind: Kind, bytes: &[u8]) -> Result<(), SendError> {
    match shared.queue.push(kind, bytes, || shared.clock().now()) {
        Pushed::Queued => Ok(()),
        Pushed::Displaced(lost) => {
            shared.report(Level::Error, "intake", "queue_full", || {
                format!(
                    "buffer full: {lost} oldest record(s) lost; see why the backend does not \
                     keep up, or raise max_buffered and max_buffer_bytes"
                )
            });
            Ok(())
        }
        Pushed::Full => Err(SendError {
            limit: shared.config.max_items(),
        }),
    }
}

fn refuse(shared: &Shared, kind: Kind, error: &EncodeError) {
    let reason = match error {
        EncodeError::TooLarge { .. } => LossReason::TooLarge,
        _ => LossReason::Invalid,
    };
    shared.queue.refuse(kind, reason);
    let topic = match reason {
        LossReason::TooLarge => "record_too_large",
        _ => "record_invalid",
    };
    shared.warn("intake", topic, || format!("record not sent: {error}"));
}

fn is_enabled(shared: &Shared, kind: Kind) -> bool {
    match kind {
        Kind::Event => shared.config.settings.enable_events,
        Kind::Metric => shared.config.settings.enable_metrics,
    }
}

/// Whether callers wait for room.
pub(crate) fn blocks(shared: &Shared) -> bool {
    shared.config.settings.overflow_policy == OverflowPolicy::Block
}
