//! A record in memory, encoded or not yet, and where its bytes lie.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};
use guard_wire::Kind;
use guard_wire::encode::{EncodeError, Encoder};
use guard_wire::snapshot::RecordSnapshot;

/// Records are kept in blocks of this many bytes, so that taking one in costs a
/// copy and no allocation. A block is freed with the last of its records.
const BLOCK: usize = 64 * 1024;

/// So many blocks are kept for the records of the next burst, 4 MiB: to get memory from
/// the system again takes as long as to fill it.
const MAX_FULL: usize = 64;

/// From this many bytes up a record lies alone: blocks are then filled to at
/// least 15 parts in 16.
const LARGE: usize = BLOCK / 16;

/// What a record takes in memory beside its bytes.
pub const RECORD_OVERHEAD: usize = size_of::<QueuedRecord>();

/// A record that is handed in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Incoming<'b> {
    /// Encoded.
    Json(&'b [u8]),
    /// Copied, to be encoded when it is taken out: about `size` bytes then.
    Tape { bytes: &'b [u8], size: usize },
}

impl<'b> Incoming<'b> {
    fn bytes(self) -> &'b [u8] {
        match self {
            Incoming::Json(bytes) | Incoming::Tape { bytes, .. } => bytes,
        }
    }

    fn size(self) -> usize {
        match self {
            Incoming::Json(bytes) => bytes.len(),
            Incoming::Tape { size, .. } => size,
        }
    }

    pub(super) fn weight(self) -> usize {
        self.size() + RECORD_OVERHEAD
    }
}

/// No record is larger: no body is.
fn bounded(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// One record: encoded, or a copy that will be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueuedRecord {
    pub(super) bytes: Bytes,
    pub(super) generation: u64,
    /// Counts the records of a queue in the order of their coming.
    pub(super) seq: u64,
    /// The bytes of its JSON, as they were counted when it came in.
    size: u32,
    is_tape: bool,
}

impl QueuedRecord {
    pub(super) fn incoming(record: Incoming<'_>, block: &mut Block) -> Self {
        Self {
            is_tape: matches!(record, Incoming::Tape { .. }),
            size: bounded(record.size()),
            ..Self::encoded(block.copy(record.bytes()))
        }
    }

    pub(super) fn encoded(bytes: Bytes) -> Self {
        Self {
            size: bounded(bytes.len()),
            is_tape: false,
            bytes,
            generation: 0,
            seq: 0,
        }
    }

    pub(super) fn is_encoded(&self) -> bool {
        !self.is_tape
    }

    /// The bytes of its JSON; about, if they are still to be written.
    pub(super) fn size(&self) -> usize {
        if self.is_tape {
            self.size as usize
        } else {
            self.bytes.len()
        }
    }

    /// What it counts in the bounds for as long as it lives.
    pub(super) fn weight(&self) -> usize {
        self.size as usize + RECORD_OVERHEAD
    }

    /// Encodes what was only copied.
    ///
    /// # Errors
    ///
    /// As [`Encoder::encode`]; the record stays as it is.
    pub(crate) fn encode(
        &mut self,
        kind: Kind,
        encoder: &Encoder,
        scratch: &mut Scratch,
    ) -> Result<(), EncodeError> {
        if self.is_tape {
            scratch.json.clear();
            encoder.encode(kind, RecordSnapshot::new(&self.bytes), &mut scratch.json)?;
            self.bytes = scratch.block.copy(&scratch.json);
            self.is_tape = false;
        }
        Ok(())
    }
}

impl AsRef<[u8]> for QueuedRecord {
    fn as_ref(&self) -> &[u8] {
        debug_assert!(!self.is_tape, "what leaves the queue is encoded");
        &self.bytes
    }
}

/// How many records fit, with their commas: at least one.
pub(crate) fn fitting<'r>(
    records: impl IntoIterator<Item = &'r QueuedRecord>,
    max_bytes: usize,
) -> usize {
    let mut room = max_bytes;
    let fit = records
        .into_iter()
        .take_while(|record| match room.checked_sub(record.size() + 1) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        });
    fit.count().max(1)
}

/// Where records are encoded that were only copied.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    json: Vec<u8>,
    block: Block,
}

/// Where the bytes of the next records go. Each kind has its own: they leave
/// the queue at different times, and the last one out frees the block.
#[derive(Debug, Default)]
pub(super) struct Block {
    open: BytesMut,
    /// Filled before, the oldest first: the first to be free for other records.
    full: VecDeque<BytesMut>,
}

impl Block {
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() >= LARGE {
            return Bytes::copy_from_slice(bytes);
        }
        if self.open.capacity() < bytes.len() {
            let free = self.free();
            self.full.push_back(mem::replace(&mut self.open, free));
        }
        self.open.extend_from_slice(bytes);
        self.open.split().freeze()
    }

    /// The oldest block, if no record lies in it any more, else a new one.
    fn free(&mut self) -> BytesMut {
        if let Some(mut oldest) = self.full.pop_front() {
            if oldest.try_reclaim(BLOCK) {
                return oldest;
            }
            // The one that is open now comes to them.
            if self.full.len() + 1 < MAX_FULL {
                self.full.push_front(oldest);
            }
        }
        BytesMut::with_capacity(BLOCK)
    }
}
