//! Everything about a batch that needs no database: hashes and compression. It runs outside the
//! writer, so that the writer only writes.

use guard_wire::Kind;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::bodies;
use crate::store::{Batch, KindCounts, NewRecord, ProjectId, StoreError};

/// A batch that is ready to be written.
#[derive(Debug)]
pub(in super::super) struct Prepared {
    pub(super) project: ProjectId,
    /// Microseconds since the epoch.
    pub(super) received_at: i64,
    pub(super) install_id: Option<String>,
    pub(super) invalid: KindCounts,
    pub(super) chunks: Vec<NewChunk>,
    /// Roughly the memory that it holds.
    pub(super) bytes: usize,
}

/// A chunk and the rows that point to it, in the order of their positions.
#[derive(Debug)]
pub(super) struct NewChunk {
    pub(super) kind: Kind,
    pub(super) data: Vec<u8>,
    pub(super) rows: Vec<NewRow>,
}

/// A record without its body.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) key: i64,
    pub(super) record: NewRecord,
}

/// Prepares a batch.
///
/// # Errors
///
/// [`StoreError::Unavailable`] if the system has no memory or no random numbers.
pub(in super::super) fn prepare(batch: Batch) -> Result<Prepared, StoreError> {
    let seed = seed()?;
    let mut chunks = Vec::new();
    for (kind, records) in [(Kind::Event, batch.events), (Kind::Metric, batch.metrics)] {
        let mut open = Vec::new();
        let mut bytes = 0;
        for (at, mut record) in records.into_iter().enumerate() {
            let key = match record.idempotency_key.take() {
                Some(key) => key_hash(&key),
                None => key_hash(&format!("{seed}/{at}")),
            };
            bytes += record.body.len();
            open.push(NewRow { key, record });
            if open.len() == bodies::MAX_RECORDS || bytes >= bodies::MAX_BYTES {
                chunks.push(close(kind, std::mem::take(&mut open))?);
                bytes = 0;
            }
        }
        if !open.is_empty() {
            chunks.push(close(kind, open)?);
        }
    }
    let bytes = chunks
        .iter()
        .map(|chunk| chunk.data.len() + chunk.rows.len() * size_of::<NewRow>())
        .sum();
    Ok(Prepared {
        project: batch.project,
        received_at: batch.received_at.as_microsecond(),
        install_id: batch.install_id,
        invalid: batch.invalid,
        chunks,
        bytes,
    })
}

fn close(kind: Kind, mut rows: Vec<NewRow>) -> Result<NewChunk, StoreError> {
    let texts: Vec<_> = rows.iter().map(|row| row.record.body.as_str()).collect();
    let data = bodies::encode(&texts).map_err(|error| {
        tracing::error!(%error, "cannot compress records");
        StoreError::Unavailable
    })?;
    for row in &mut rows {
        row.record.body = String::new();
    }
    Ok(NewChunk { kind, data, rows })
}

fn seed() -> Result<u128, StoreError> {
    let mut seed = [0; 16];
    let filled = SystemRandom::new().fill(&mut seed);
    filled.map_err(|_| StoreError::Unavailable)?;
    Ok(u128::from_ne_bytes(seed))
}

/// The 64-bit hash of an idempotency key, a correlation key or a trace. Stored, so it never changes.
pub(in super::super) fn key_hash(text: &str) -> i64 {
    let mut head = [0; 8];
    head.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..8]);
    i64::from_be_bytes(head)
}
