//! The bodies of records, compressed in chunks.
//!
//! A chunk is: the format (1), the number of bodies, the length of each in bytes (both as LEB128),
//! and the bodies one after the other, compressed with zstd and [`COMMON`].

use std::sync::{Mutex, PoisonError};

use rusqlite::types::Type;
use rusqlite::{Connection, params};
use serde_json::value::RawValue;
use thiserror::Error;
use zstd::bulk::{Compressor, Decompressor};

use super::super::unreadable;
use super::leb128;

/// The most bodies in a chunk. Reading one record decompresses a chunk.
pub(super) const MAX_RECORDS: usize = 256;
/// A chunk ends with the body that brings it to this many bytes before compression.
pub(super) const MAX_BYTES: usize = 128 * 1024;
/// The largest chunk that is decompressed. Larger than any body that the server accepts.
const MAX_DECODED: usize = 1 << 30;
const FORMAT: u8 = 1;
const LEVEL: i32 = 3;
/// How many chunks a reader keeps decompressed.
const KEPT: usize = 8;
/// How many idle compressors are kept.
const IDLE: usize = 4;
/// Text that records have in common, so that even a single record compresses well. A change needs
/// a new format.
const COMMON: &[u8] = br#"{"timestamp":"2026-01-01 00:00:00.000000+00:00","metric_type":"response_time","value":0.0,"endpoint":null,"tags":{"endpoint":"/","method":"GET","status":"200"},"idempotency_key":""},{"metric_type":"request_count","value":1.0,"endpoint":"/","tags":{}}{"idempotency_key":"","timestamp":"2026-01-01T00:00:00.000000Z","event_type":"suspicious_request","ip_address":"192.168.","country":null,"user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36","action_taken":"request_blocked","reason":"Suspicious pattern detected: rate limit exceeded","endpoint":"/api/v1/","method":"POST","status_code":403,"response_time":0.0,"decorator_type":null,"rule_type":null,"pattern_matched":null,"handler_name":null,"metadata":{"guard.project_id":"default","guard.service.name":"","guard.deployment.environment":"production","guard.threat_score":50,"guard.rule.id":"","guard.rule.version":1,"guard.behavior.correlation_key":"","guard.behavior.recent_event_count":1,"traceparent":"00-"}}"#;

#[derive(Debug, Error)]
#[error("a chunk of records cannot be read")]
struct BadChunk;

static COMPRESSORS: Mutex<Vec<Compressor<'static>>> = Mutex::new(Vec::new());

/// Encodes bodies as one chunk.
pub(super) fn encode(bodies: &[&str]) -> std::io::Result<Vec<u8>> {
    let mut data = vec![FORMAT];
    leb128::put(&mut data, bodies.len() as u64);
    for body in bodies {
        leb128::put(&mut data, body.len() as u64);
    }
    let idle = COMPRESSORS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop();
    let mut compressor = match idle {
        Some(idle) => idle,
        None => Compressor::with_dictionary(LEVEL, COMMON)?,
    };
    data.extend_from_slice(&compressor.compress(bodies.concat().as_bytes())?);
    let mut idle = COMPRESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() < IDLE {
        idle.push(compressor);
    }
    Ok(data)
}

/// The bodies of a chunk.
struct Chunk {
    text: Vec<u8>,
    /// Where each body ends in `text`.
    ends: Vec<usize>,
}

impl Chunk {
    fn all(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|position| self.body(position))
    }

    fn body(&self, position: usize) -> Option<&str> {
        let start = match position.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        std::str::from_utf8(self.text.get(start..*self.ends.get(position)?)?).ok()
    }
}

/// Reads bodies, and keeps the chunks that it read last.
pub(super) struct Bodies<'a> {
    connection: &'a Connection,
    decompressor: Decompressor<'static>,
    kept: Vec<(i64, Chunk)>,
}

impl<'a> Bodies<'a> {
    pub(super) fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let decompressor = Decompressor::with_dictionary(COMMON)
            .map_err(|error| unreadable(0, Type::Blob, error))?;
        Ok(Self {
            connection,
            decompressor,
            kept: Vec::new(),
        })
    }

    /// The body at `position` of a chunk.
    pub(super) fn body(&mut self, chunk: i64, position: usize) -> rusqlite::Result<&str> {
        let body = self.chunk(chunk)?.body(position);
        body.ok_or_else(|| unreadable(0, Type::Blob, BadChunk))
    }

    /// All bodies of a chunk.
    pub(super) fn all(&mut self, chunk: i64) -> rusqlite::Result<impl Iterator<Item = &str>> {
        Ok(self.chunk(chunk)?.all())
    }

    fn chunk(&mut self, chunk: i64) -> rusqlite::Result<&Chunk> {
        let at = match self.kept.iter().position(|(id, _)| *id == chunk) {
            Some(at) => at,
            None => {
                let read = self.read(chunk)?;
                if self.kept.len() == KEPT {
                    self.kept.remove(0);
                }
                self.kept.push((chunk, read));
                self.kept.len() - 1
            }
        };
        let found = self.kept.get(at).map(|(_, chunk)| chunk);
        found.ok_or_else(|| unreadable(0, Type::Blob, BadChunk))
    }

    /// The body at `position` of a chunk, as JSON.
    pub(super) fn json(&mut self, chunk: i64, position: usize) -> rusqlite::Result<Box<RawValue>> {
        let body = self.body(chunk, position)?.to_owned();
        RawValue::from_string(body).map_err(|error| unreadable(0, Type::Text, error))
    }

    fn read(&mut self, chunk: i64) -> rusqlite::Result<Chunk> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT data FROM bodies WHERE id = ?1")?;
        statement.query_row(params![chunk], |row| {
            let data = row.get_ref(0)?.as_blob()?;
            decode(&mut self.decompressor, data).ok_or_else(|| unreadable(0, Type::Blob, BadChunk))
        })
    }
}

fn decode(decompressor: &mut Decompressor<'static>, data: &[u8]) -> Option<Chunk> {
    let mut rest = data.strip_prefix(&[FORMAT])?;
    let count = usize::try_from(leb128::take(&mut rest)?).ok()?;
    let mut ends = Vec::with_capacity(count.min(MAX_RECORDS));
    let mut end = 0_usize;
    for _ in 0..count {
        let length = usize::try_from(leb128::take(&mut rest)?).ok()?;
        end = end.checked_add(length)?;
        ends.push(end);
    }
    // Damaged data must not make this reserve memory without end.
    let size = zstd::zstd_safe::get_frame_content_size(rest).ok()??;
    if usize::try_from(size) != Ok(end) || end > MAX_DECODED {
        return None;
    }
    let text = decompressor.decompress(rest, end).ok()?;
    (text.len() == end).then_some(Chunk { text, ends })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_chunk_gives_back_each_body(bodies in proptest::collection::vec("\\PC{0,300}", 1..40)) {
            let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
            let data = encode(&bodies).unwrap();
            let chunk = decode(&mut Decompressor::with_dictionary(COMMON).unwrap(), &data).unwrap();
            for (at, body) in bodies.iter().enumerate() {
                prop_assert_eq!(chunk.body(at), Some(*body));
            }
            prop_assert_eq!(chunk.body(bodies.len()), None);
        }

        #[test]
        fn damaged_chunks_are_refused(data in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut decompressor = Decompressor::with_dictionary(COMMON).unwrap();
            let _ = decode(&mut decompressor, &data);
            let damaged = [&[FORMAT, 1, 5][..], &data].concat();
            prop_assert!(decode(&mut decompressor, &damaged).is_none());
        }
    }
}
