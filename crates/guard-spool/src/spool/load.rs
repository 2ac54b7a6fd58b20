//! Loading records, and counting unreadable bytes.

use std::io;
use std::path::Path;
use std::time::Instant;

use crate::error::{At, IoError};
use crate::format::bits::Bits;
use crate::format::frame::{Piece, Scan};
use crate::format::sidecar;
use crate::records::Records;
use crate::segment::{Contents, Segment};
use crate::spool::watch::Cause;
use crate::spool::{Loaded, RETRY, Spool};
use crate::token::Token;

impl Spool {
    /// Returns records that the owner does not hold: records of dead processes, and records
    /// that it released. The owner holds them from now on.
    ///
    /// The newest segment comes first; within a segment, the oldest record. The records have at
    /// most `max_bytes` bytes together, but if there are any, the call returns at least one. It
    /// reads one segment at a time into memory.
    ///
    /// # Errors
    ///
    /// The file system refused a read, and no record could be read. The spool tries a segment
    /// that cannot be read again after [`RETRY`], and returns records of others meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use guard_spool::{Kind, Options, Spool};
    ///
    /// let root = tempfile::tempdir()?;
    /// let mut spool = Spool::open(root.path(), Options::default())?;
    /// spool.append(&[(Kind::Event, b"{}".as_slice())])?;
    /// drop(spool); // the process dies
    ///
    /// let mut next = Spool::open(root.path(), Options::default())?;
    /// next.tick()?; // adopts its records
    /// let found = next.load(1 << 20)?;
    /// assert_eq!(found[0].bytes, b"{}");
    /// assert!(next.load(1 << 20)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load(&mut self, max_bytes: usize) -> Result<Vec<Loaded>, IoError> {
        self.note_appended();
        let now = self.clock.now();
        let mut serials = self
            .by_age(|segment| segment.is_waiting() && segment.retry_at.is_none_or(|at| now >= at));
        serials.reverse();
        let mut loaded = Vec::new();
        let mut room = max_bytes;
        let mut refused = None;
        for serial in serials {
            if self.needs_rewrite(serial) {
                continue;
            }
            match self.load_from(serial, &mut room, &mut loaded) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.postpone(serial, now);
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) if loaded.is_empty() => Err(error),
            _ => Ok(loaded),
        }
    }

    /// Serial numbers of the `wanted` segments, the oldest first.
    pub(crate) fn by_age(&self, wanted: impl Fn(&Segment) -> bool) -> Vec<u64> {
        let mut found: Vec<_> = self
            .segments
            .iter()
            .filter(|(_, segment)| wanted(segment))
            .map(|(serial, segment)| (segment.age(), *serial))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, serial)| serial).collect()
    }

    pub(crate) fn postpone(&mut self, serial: u64, now: Instant) {
        if let Some(segment) = self.segments.get_mut(&serial) {
            segment.retry_at = Some(now + RETRY);
        }
    }

    /// Loads from one segment. Returns whether there is room left.
    fn load_from(
        &mut self,
        serial: u64,
        room: &mut usize,
        loaded: &mut Vec<Loaded>,
    ) -> Result<bool, IoError> {
        let bytes = self.read_segment(serial)?;
        self.scan_segment(serial, &bytes)?;
        let Some(segment) = self.segments.get_mut(&serial) else {
            return Ok(true);
        };
        segment.retry_at = None;
        let salt = segment.name.salt;
        let Some(records) = segment.records_mut() else {
            return Ok(true);
        };
        for piece in Scan::new(salt, &bytes) {
            let Piece::Record {
                index,
                kind,
                payload,
            } = piece
            else {
                continue;
            };
            if !records.is_waiting(index) {
                continue;
            }
            if payload.len() > *room && !loaded.is_empty() {
                return Ok(false);
            }
            *room = room.saturating_sub(payload.len());
            records.hold(index);
            loaded.push(Loaded {
                token: Token::new(serial, index),
                kind,
                bytes: payload.to_vec(),
            });
        }
        self.delete_if_finished(serial)?;
        Ok(true)
    }

    /// The bytes of a segment.
    pub(crate) fn read_segment(&self, serial: u64) -> Result<Vec<u8>, IoError> {
        match self.segments.get(&serial) {
            Some(segment) => self.read(&segment.path(), segment.len),
            None => Ok(Vec::new()),
        }
    }

    /// The first `len` bytes of a segment. A segment that somebody removed counts as empty. If
    /// the whole root is missing, this fails: the file system may be mounted again.
    pub(crate) fn read(&self, path: &Path, len: u64) -> Result<Vec<u8>, IoError> {
        match self.fs.read(path, 0, len) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && self.fs.exists(&self.root).is_ok_and(|there| there) =>
            {
                Ok(Vec::new())
            }
            bytes => bytes.at("read", path),
        }
    }

    /// Scans the bytes of a segment. It learns the records the first time, and counts unreadable
    /// bytes. Returns whether known records are missing.
    pub(crate) fn scan_segment(&mut self, serial: u64, bytes: &[u8]) -> Result<bool, IoError> {
        let Some(segment) = self.segments.get(&serial) else {
            return Ok(false);
        };
        let acknowledged = match segment.contents {
            Contents::Read(_) => Bits::default(),
            Contents::Unread { .. } => {
                let sidecar = self.read_sidecar(&segment.ack_path())?;
                sidecar::decode(segment.name.salt, &sidecar).0
            }
        };
        let Some(segment) = self.segments.get_mut(&serial) else {
            return Ok(false);
        };
        let found = Findings::of(segment.name.salt, bytes);
        if let Contents::Unread { .. } = segment.contents {
            segment.contents = Contents::Read(found.learn(&acknowledged));
        }
        segment.present = found.frames.len() as u64;
        let more = found.unreadable.saturating_sub(segment.unreadable);
        segment.unreadable += more;
        segment.damaged |= found.gap || (found.sealed && found.unreadable > 0);
        if found.sealed {
            self.damaged_bytes += more;
        } else {
            self.torn_bytes += more;
        }
        let is_missing = self.mark_missing(serial, &found.present, Cause::Lost);
        if is_missing && let Some(segment) = self.segments.get_mut(&serial) {
            segment.damaged = true;
            self.mark_stale(serial);
        }
        Ok(is_missing)
    }
}

/// The result of a scan.
#[derive(Debug, Default)]
struct Findings {
    frames: Vec<(u32, guard_wire::Kind)>,
    present: Bits,
    indices: u32,
    unreadable: u64,
    /// Whether readable bytes follow unreadable ones.
    gap: bool,
    sealed: bool,
}

impl Findings {
    fn of(salt: u32, bytes: &[u8]) -> Self {
        let mut found = Self::default();
        for piece in Scan::new(salt, bytes) {
            match piece {
                Piece::Record { index, kind, .. } => {
                    found.frames.push((index, kind));
                    found.present.insert(index);
                    found.indices = index + 1;
                }
                Piece::Seal { indices } => {
                    found.indices = found.indices.max(indices);
                    found.sealed = true;
                }
                Piece::Unreadable { len, at_end } => {
                    found.unreadable += len;
                    found.gap |= !at_end;
                }
            }
        }
        found
    }

    fn learn(&self, acknowledged: &Bits) -> Records {
        let mut records = Records::default();
        for (index, kind) in &self.frames {
            if !acknowledged.contains(*index) {
                records.insert(*index, *kind);
            }
        }
        let settled = acknowledged.iter().last().map_or(0, |index| index + 1);
        records.reserve(self.indices.max(settled));
        records
    }
}
