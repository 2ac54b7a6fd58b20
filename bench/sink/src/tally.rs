//! What arrived: every record once, however often it was sent.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

/// What the sink has received since it started or was reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Distinct events.
    pub(crate) events: u64,
    /// Distinct metrics.
    pub(crate) metrics: u64,
    /// Records that had arrived before.
    pub(crate) duplicates: u64,
    /// Batches, encrypted ones and malformed ones included.
    pub(crate) requests: u64,
    /// Batches that came encrypted; their records are not counted.
    pub(crate) encrypted: u64,
    /// Batches that could not be read, and were answered 400.
    pub(crate) malformed: u64,
    /// Bytes of the bodies as sent.
    pub(crate) bytes: u64,
    /// Bytes of the bodies after inflating.
    pub(crate) inflated_bytes: u64,
}

/// Records in one batch, duplicates included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) events: usize,
    pub(crate) metrics: usize,
}

/// [`Counts`], and the records they were made from.
#[derive(Default)]
pub(crate) struct Tally {
    counts: Counts,
    seen: HashSet<u64>,
}

/// The parts of a batch that tell its records apart.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow, default)]
    batch_id: Cow<'a, str>,
    #[serde(borrow, default)]
    events: Vec<Record<'a>>,
    #[serde(borrow, default)]
    metrics: Vec<Record<'a>>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    idempotency_key: Option<Cow<'a, str>>,
}

impl Tally {
    /// The counts so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Counts the records of a plaintext batch.
    ///
    /// # Errors
    ///
    /// When the body is not gzip although it says so, or not a batch.
    pub(crate) fn batch(&mut self, body: &[u8], gzipped: bool) -> Result<Received, io::Error> {
        self.counts.requests += 1;
        self.counts.bytes += body.len() as u64;
        let received = self.records(body, gzipped);
        self.counts.malformed += u64::from(received.is_err());
        received
    }

    /// Counts an encrypted batch, without looking inside.
    pub(crate) fn encrypted(&mut self, body: &[u8]) {
        self.counts.requests += 1;
        self.counts.encrypted += 1;
        self.counts.bytes += body.len() as u64;
        self.counts.inflated_bytes += body.len() as u64;
    }

    fn records(&mut self, body: &[u8], gzipped: bool) -> Result<Received, io::Error> {
        let json = inflate(body, gzipped)?;
        self.counts.inflated_bytes += json.len() as u64;
        let batch: Batch<'_> = serde_json::from_slice(&json)?;
        for (kind, records) in [("event", &batch.events), ("metric", &batch.metrics)] {
            let fresh = self.remember(kind, &batch.batch_id, records);
            self.counts.duplicates += records.len() as u64 - fresh;
            match kind {
                "event" => self.counts.events += fresh,
                _ => self.counts.metrics += fresh,
            }
        }
        Ok(Received {
            events: batch.events.len(),
            metrics: batch.metrics.len(),
        })
    }

    /// How many of the records are new.
    ///
    /// A record is known by its key; one without a key, by its place in its batch.
    fn remember(&mut self, kind: &str, batch_id: &str, records: &[Record<'_>]) -> u64 {
        let mut fresh = 0;
        for (place, record) in records.iter().enumerate() {
            let mut hasher = DefaultHasher::new();
            match &record.idempotency_key {
                Some(key) => key.hash(&mut hasher),
                None => (kind, batch_id, place).hash(&mut hasher),
            }
            fresh += u64::from(self.seen.insert(hasher.finish()));
        }
        fresh
    }
}

fn inflate(body: &[u8], gzipped: bool) -> Result<Cow<'_, [u8]>, io::Error> {
    if !gzipped {
        return Ok(Cow::Borrowed(body));
    }
    let mut inflated = Vec::with_capacity(body.len() * 8);
    MultiGzDecoder::new(body).read_to_end(&mut inflated)?;
    Ok(Cow::Owned(inflated))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const BATCH: &str = r#"{"batch_id": "1-a", "events": [{"idempotency_key": "k1"}, {"idempotency_key": "k2"}],
        "metrics": [{"value": 1.0}, {"value": 1.0}]}"#;

    #[test]
    fn records_of_both_kinds_are_counted() {
        let mut tally = Tally::default();
        let received = tally.batch(BATCH.as_bytes(), false).unwrap();
        assert_eq!(
            received,
            Received {
                events: 2,
                metrics: 2
            }
        );
        let counts = tally.counts();
        assert_eq!(
            (
                counts.events,
                counts.metrics,
                counts.duplicates,
                counts.requests
            ),
            (2, 2, 0, 1)
        );
    }

    #[test]
    fn a_batch_sent_twice_counts_once() {
        let mut tally = Tally::default();
        tally.batch(BATCH.as_bytes(), false).unwrap();
        tally.batch(BATCH.as_bytes(), false).unwrap();
        let counts = tally.counts();
        assert_eq!(
            (
                counts.events,
                counts.metrics,
                counts.duplicates,
                counts.requests
            ),
            (2, 2, 4, 2)
        );
    }

    #[test]
    fn gzipped_batches_are_inflated() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(BATCH.as_bytes()).unwrap();
        let body = encoder.finish().unwrap();
        let mut tally = Tally::default();
        tally.batch(&body, true).unwrap();
        let counts = tally.counts();
        assert_eq!((counts.events, counts.bytes), (2, body.len() as u64));
        assert_eq!(counts.inflated_bytes, BATCH.len() as u64);
    }

    #[test]
    fn a_body_that_is_no_batch_is_refused_and_counted() {
        let mut tally = Tally::default();
        assert!(tally.batch(b"[1, 2", false).is_err());
        assert!(tally.batch(BATCH.as_bytes(), true).is_err());
        assert_eq!((tally.counts().malformed, tally.counts().requests), (2, 2));
    }

    #[test]
    fn encrypted_batches_are_counted_unopened() {
        let mut tally = Tally::default();
        tally.encrypted(b"{\"encrypted_payload\": \"...\"}");
        assert_eq!((tally.counts().encrypted, tally.counts().events), (1, 0));
    }
}
