//! A record in memory, encoded or copied, and the blocks that hold its bytes.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};
use guard_wire::Kind;
use guard_wire::encode::{EncodeError, Encoder};
use guard_wire::snapshot::RecordSnapshot;

/// Records are stored in blocks of this many bytes, so that accepting a record costs
/// a copy and no allocation. A block is freed with the last of its records.
const BLOCK: usize = 64 * 1024;

/// At most this many blocks (4 MiB) are kept for the records of the next burst, because
/// getting memory from the system takes as long as filling it.
const MAX_FULL: usize = 64;

/// A record of this many bytes or more gets its own allocation. This way blocks are
/// filled to at least 15/16.
const LARGE: usize = BLOCK / 16;

/// Memory that a record takes in addition to its bytes.
pub const RECORD_OVERHEAD: usize = size_of::<QueuedRecord>();

/// A record passed to the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Incoming<'b> {
    /// An encoded record.
    Json(&'b [u8]),
    /// A copied record that is encoded when it is taken. The JSON has about `size` bytes.
    Snapshot { bytes: &'b [u8], size: usize },
}

impl<'b> Incoming<'b> {
    fn bytes(self) -> &'b [u8] {
        match self {
            Incoming::Json(bytes) | Incoming::Snapshot { bytes, .. } => bytes,
        }
    }

    fn size(self) -> usize {
        match self {
            Incoming::Json(bytes) => bytes.len(),
            Incoming::Snapshot { size, .. } => size,
        }
    }

    pub(super) fn weight(self) -> usize {
        self.size() + RECORD_OVERHEAD
    }
}

/// Fits a size into 32 bits. No record is larger, because no request body is.
fn bounded(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// One record: encoded, or a copy to encode later.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueuedRecord {
    pub(super) bytes: Bytes,
    pub(super) generation: u64,
    /// Sequence number of the record in its queue.
    pub(super) seq: u64,
    /// Size of the JSON in bytes, as counted when the record came in.
    size: u32,
    is_snapshot: bool,
}

impl QueuedRecord {
    pub(super) fn incoming(record: Incoming<'_>, block: &mut Block) -> Self {
        Self {
            is_snapshot: matches!(record, Incoming::Snapshot { .. }),
            size: bounded(record.size()),
            ..Self::encoded(block.copy(record.bytes()))
        }
    }

    pub(super) fn encoded(bytes: Bytes) -> Self {
        Self {
            size: bounded(bytes.len()),
            is_snapshot: false,
            bytes,
            generation: 0,
            seq: 0,
        }
    }

    pub(super) fn is_encoded(&self) -> bool {
        !self.is_snapshot
    }

    /// Size of the JSON in bytes; an estimate if the record is not encoded yet.
    pub(super) fn size(&self) -> usize {
        if self.is_snapshot {
            self.size as usize
        } else {
            self.bytes.len()
        }
    }

    /// Weight of the record against the bounds, constant for its lifetime.
    pub(super) fn weight(&self) -> usize {
        self.size as usize + RECORD_OVERHEAD
    }

    /// Encodes a copied record.
    ///
    /// # Errors
    ///
    /// See [`Encoder::encode`]. On failure the record stays unchanged.
    pub(crate) fn encode(
        &mut self,
        kind: Kind,
        encoder: &Encoder,
        scratch: &mut Scratch,
    ) -> Result<(), EncodeError> {
        if self.is_snapshot {
            scratch.json.clear();
            encoder.encode(kind, RecordSnapshot::new(&self.bytes), &mut scratch.json)?;
            self.bytes = scratch.block.copy(&scratch.json);
            self.is_snapshot = false;
        }
        Ok(())
    }
}

impl AsRef<[u8]> for QueuedRecord {
    fn as_ref(&self) -> &[u8] {
        debug_assert!(!self.is_snapshot, "what leaves the queue is encoded");
        &self.bytes
    }
}

/// Number of records that fit, including commas: at least one.
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

/// Encodes records that were only copied.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    json: Vec<u8>,
    block: Block,
}

/// Storage for the bytes of the next records. Each kind has its own, because the
/// kinds leave the queue at different times, and a block is freed with its last record.
#[derive(Debug, Default)]
pub(super) struct Block {
    open: BytesMut,
    /// Full blocks, oldest first. The oldest becomes reusable first.
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

    /// The oldest block if no record uses it any more, else a new one.
    fn free(&mut self) -> BytesMut {
        if let Some(mut oldest) = self.full.pop_front() {
            if oldest.try_reclaim(BLOCK) {
                return oldest;
            }
            // The block that is open now will join them.
            if self.full.len() + 1 < MAX_FULL {
                self.full.push_front(oldest);
            }
        }
        BytesMut::with_capacity(BLOCK)
    }
}
