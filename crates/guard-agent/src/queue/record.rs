//! A record in memory, and where its bytes lie.

use bytes::{Bytes, BytesMut};

/// Records are kept in blocks of this many bytes, so that taking one in costs a
/// copy and no allocation. A block is freed with the last of its records.
const BLOCK: usize = 64 * 1024;

/// From this many bytes up a record lies alone: blocks are then filled to at
/// least 15 parts in 16.
const LARGE: usize = BLOCK / 16;

/// What a record takes in memory beside its bytes, roughly.
pub const RECORD_OVERHEAD: usize = 48;

/// One encoded record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(super) bytes: Bytes,
    pub(super) generation: u64,
    /// Counts the records of a queue in the order of their coming.
    pub(super) seq: u64,
}

impl Record {
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + RECORD_OVERHEAD
    }
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Where the bytes of the next records go. Each kind has its own: they leave
/// the queue at different times, and the last one out frees the block.
#[derive(Debug, Default)]
pub(super) struct Block(BytesMut);

impl Block {
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() >= LARGE {
            return Bytes::copy_from_slice(bytes);
        }
        if self.0.capacity() < bytes.len() {
            self.0 = BytesMut::with_capacity(BLOCK);
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}
