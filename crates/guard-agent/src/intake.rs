//! Intake: from fields to a queued record, on the caller's thread.

use std::cell::RefCell;

use guard_wire::Kind;
use guard_wire::encode::EncodeError;
use guard_wire::fields::Fields;

use crate::config::OverflowPolicy;
use crate::error::SendError;
use crate::ledger::LossReason;
use crate::queue::{Incoming, Pushed};
use crate::report::Level;
use crate::shared::Shared;

/// A scratch buffer of a thread that grew beyond this many bytes is freed.
const KEPT_SCRATCH: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Encodes and queues one record. A record that cannot be sent is counted and reported; this is
/// not an error.
pub(crate) fn take(shared: &Shared, kind: Kind, fields: impl Fields) -> Result<(), SendError> {
    if !is_enabled(shared, kind) {
        return Ok(());
    }
    let with_scratch = SCRATCH.try_with(|scratch| {
        // Reading fields and reporting may run code of the host, which may send a record.
        // Such a nested record gets its own buffer.
        match scratch.try_borrow_mut() {
            Ok(mut buffer) => take_into(shared, kind, fields, &mut buffer),
            Err(_) => take_into(shared, kind, fields, &mut Vec::new()),
        }
    });
    // A destructor that runs at the end of a thread may find the buffer destroyed.
    with_scratch.unwrap_or_else(|_| take_into(shared, kind, fields, &mut Vec::new()))
}

/// Runs `work`, which takes a record. A panic does not reach the caller: the record is counted
/// as invalid and reported.
pub(crate) fn guarded(
    shared: &Shared,
    kind: Kind,
    work: impl FnOnce() -> Result<(), SendError>,
) -> Result<(), SendError> {
    let outcome = shared.guarded("intake", work, || {
        shared.queue.refuse(kind, LossReason::Invalid);
        format!("{kind} lost: the agent failed while it took it; please report this")
    });
    outcome.unwrap_or(Ok(()))
}

fn take_into(
    shared: &Shared,
    kind: Kind,
    fields: impl Fields,
    buffer: &mut Vec<u8>,
) -> Result<(), SendError> {
    let outcome = match copy(shared, kind, fields, buffer) {
        Some(Pushed::NotEncoded) | None => {
            buffer.clear();
            match shared.encoder.encode(kind, fields, buffer) {
                Ok(()) => enqueue(shared, kind, buffer),
                Err(error) => {
                    refuse(shared, kind, &error);
                    Ok(())
                }
            }
        }
        Some(pushed) => outcome(shared, pushed),
    };
    if buffer.capacity() > KEPT_SCRATCH {
        *buffer = Vec::new();
    }
    outcome
}

/// Queues a copy of a record, to be encoded when it is taken out. Returns `None` for a record
/// that may be invalid, and if a store needs it encoded at once.
fn copy(shared: &Shared, kind: Kind, fields: impl Fields, buffer: &mut Vec<u8>) -> Option<Pushed> {
    if shared.config.store.is_some() {
        return None;
    }
    buffer.clear();
    let size = shared.encoder.copy(kind, fields, buffer)?;
    let bytes = buffer.as_slice();
    let now = || shared.clock().now();
    Some(
        shared
            .queue
            .push(kind, Incoming::Snapshot { bytes, size }, now),
    )
}

/// Encodes one record and returns it. Returns `None` for a record that cannot be sent (it is
/// counted and reported) and for a kind that is disabled.
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

/// Queues an encoded record.
pub(crate) fn enqueue(shared: &Shared, kind: Kind, bytes: &[u8]) -> Result<(), SendError> {
    let now = || shared.clock().now();
    outcome(shared, shared.queue.push(kind, Incoming::Json(bytes), now))
}

fn outcome(shared: &Shared, pushed: Pushed) -> Result<(), SendError> {
    match pushed {
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
        // An encoded record is never refused with `NotEncoded`.
        Pushed::Full | Pushed::NotEncoded => Err(SendError {
            limit: shared.config.max_items(),
        }),
    }
}

fn refuse(shared: &Shared, kind: Kind, error: &EncodeError) {
    let reason = report(shared, error);
    shared.queue.refuse(kind, reason);
}

/// Reports why a record cannot be sent.
pub(crate) fn report(shared: &Shared, error: &EncodeError) -> LossReason {
    let (reason, topic) = match error {
        EncodeError::TooLarge { .. } => (LossReason::TooLarge, "record_too_large"),
        _ => (LossReason::Invalid, "record_invalid"),
    };
    shared.warn("intake", topic, || format!("record not sent: {error}"));
    reason
}

fn is_enabled(shared: &Shared, kind: Kind) -> bool {
    match kind {
        Kind::Event => shared.config.settings.enable_events,
        Kind::Metric => shared.config.settings.enable_metrics,
    }
}

/// True if callers wait for room.
pub(crate) fn blocks(shared: &Shared) -> bool {
    shared.config.settings.overflow_policy == OverflowPolicy::Block
}
