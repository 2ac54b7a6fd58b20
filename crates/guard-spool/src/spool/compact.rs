//! Making room: compacts segments without their settled records, and discards the oldest ones.

use guard_wire::Kind;

use crate::error::IoError;
use crate::format::frame::{self, Piece, Scan};
use crate::platform::files::write_over;
use crate::records::Records;
use crate::segment::Segment;
use crate::spool::Spool;
use crate::usage::Counts;
use crate::write_head::lock;

/// The result of [`Spool::discard_oldest`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Bytes freed on disk.
    pub bytes: u64,
    /// Records that were discarded.
    pub records: Counts,
}

/// Discarding metrics before events is worthwhile in a segment if at least one of this many
/// records is a metric that is not held. With fewer, the spool would rewrite many records to
/// free the space of one.
const WORTHWHILE: u64 = 8;

impl Spool {
    /// Discards the oldest records that the owner does not hold, until it has freed `bytes` bytes
    /// or nothing is left to discard. Records that the owner holds stay.
    ///
    /// Metrics go first, from the oldest segment on, but only from segments in which at least
    /// one record in eight is a metric that is not held. Then events go too, from the oldest
    /// segment on. The spool frees whole segments, so it may free more than was asked for.
    ///
    /// # Errors
    ///
    /// The file system refused an operation, and no record was discarded.
    pub fn discard_oldest(&mut self, bytes: u64) -> Result<Discarded, IoError> {
        self.note_appended();
        let mut discarded = Discarded::default();
        let mut refused = None;
        for metrics_only in [true, false] {
            let mut serials = self.by_age(|_| true);
            // Open segments come last.
            serials.sort_by_key(|serial| self.is_open(*serial));
            for serial in serials {
                if discarded.bytes >= bytes {
                    return Ok(discarded);
                }
                let done = self.discard_in(serial, metrics_only, &mut discarded);
                refused = refused.or(done.err());
            }
        }
        match refused {
            Some(error) if discarded.records.total() == 0 => Err(error),
            _ => Ok(discarded),
        }
    }

    fn discard_in(
        &mut self,
        serial: u64,
        metrics_only: bool,
        discarded: &mut Discarded,
    ) -> Result<(), IoError> {
        if self.is_open(serial) {
            let segment = self.segments.get(&serial);
            if !segment.is_some_and(Segment::is_waiting) {
                return Ok(());
            }
            self.seal()?;
        }
        let spares = |segment: &Segment| is_spared(segment, metrics_only);
        let goes_whole = |segment: &Segment| is_discarded_whole(segment, metrics_only);
        let known = self.segments.get(&serial);
        if known.is_some_and(spares) {
            return Ok(());
        }
        let bytes = match known.is_some_and(goes_whole) {
            true => Vec::new(),
            false => self.read_for_rewriting(serial)?,
        };
        let Some(segment) = self.segments.get(&serial).filter(|s| !spares(s)) else {
            return Ok(());
        };
        let used = segment.bytes();
        let Some(records) = segment.records() else {
            return Ok(());
        };
        let going = |records: &Records, index: u32| {
            records.is_waiting(index) && !(metrics_only && records.kind(index) == Kind::Event)
        };
        let discarded_indices: Vec<u32> =
            records.waiting().filter(|i| going(records, *i)).collect();
        // A segment without remaining records is removed without reading or rewriting it.
        if goes_whole(segment) {
            self.remove_log(serial)?;
        } else {
            self.rewrite(serial, &bytes, |records, index| {
                records.is_live(index) && !going(records, index)
            })?;
        }
        self.settle_discarded(serial, discarded_indices, discarded);
        self.mark_stale(serial);
        // If this fails, a finished segment is removed later.
        let _ = self.delete_if_finished(serial);
        let left = self.segments.get(&serial).filter(|s| !s.is_finished());
        discarded.bytes += used.saturating_sub(left.map_or(0, Segment::bytes));
        Ok(())
    }

    fn settle_discarded(&mut self, serial: u64, indices: Vec<u32>, discarded: &mut Discarded) {
        let records = self
            .segments
            .get_mut(&serial)
            .and_then(Segment::records_mut);
        if let Some(records) = records {
            for index in indices {
                discarded.records.add(records.kind(index), 1);
                records.settle(index);
            }
        }
    }

    /// Frees up to `bytes` bytes: rewrites segments in which at least half of the records are
    /// settled. It skips segments that the file system refuses to rewrite.
    pub(crate) fn compact(&mut self, bytes: u64) {
        let target = self.used().saturating_sub(bytes);
        let serials = self.by_age(|segment| {
            let live = segment
                .records()
                .map(|records| records.live_count().total());
            live.is_some_and(|live| live * 2 <= segment.present)
        });
        for serial in serials {
            if self.used() <= target {
                return;
            }
            if self.is_open(serial) {
                continue;
            }
            let bytes = self.read_for_rewriting(serial);
            let _ = bytes.and_then(|bytes| self.replace(serial, &bytes));
        }
    }

    /// Reads a segment, so that all its records are known afterwards.
    pub(crate) fn read_for_rewriting(&mut self, serial: u64) -> Result<Vec<u8>, IoError> {
        let bytes = self.read_segment(serial)?;
        self.scan_segment(serial, &bytes)?;
        Ok(bytes)
    }

    /// Rewrites a segment with its live records, or removes it if there are none.
    pub(crate) fn replace(&mut self, serial: u64, bytes: &[u8]) -> Result<(), IoError> {
        if self.segments.get(&serial).is_some_and(Segment::is_finished) {
            lock(&self.head).detach(serial);
            return self.delete(serial);
        }
        self.rewrite(serial, bytes, Records::is_live)
    }

    /// Rewrites a segment, sealed, under the same name. Salt and indices stay the same, so that
    /// tokens and acknowledgements remain valid.
    fn rewrite(
        &mut self,
        serial: u64,
        bytes: &[u8],
        keep: impl Fn(&Records, u32) -> bool,
    ) -> Result<(), IoError> {
        self.ensure_directory()?;
        let Some(segment) = self.segments.get(&serial) else {
            return Ok(());
        };
        let Some(records) = segment.records() else {
            return Ok(());
        };
        let salt = segment.name.salt;
        let mut out = frame::header(salt, segment.created);
        let mut kept = 0;
        for piece in Scan::new(salt, bytes) {
            if let Piece::Record {
                index,
                kind,
                payload,
            } = piece
                && keep(records, index)
            {
                frame::push_record(&mut out, salt, index, kind, payload);
                kept += 1;
            }
        }
        frame::push_seal(&mut out, salt, records.indices());
        if segment.damaged {
            let reason = segment.damage();
            let stamp = self.stamp();
            self.quarantine
                .write(&*self.fs, &stamp, "segment", bytes, &reason)?;
        }
        let Some(segment) = self.segments.get(&serial) else {
            return Ok(());
        };
        let id = write_over(&*self.fs, &segment.tmp_path(), &segment.path(), &out)?;
        lock(&self.head).detach(serial);
        if let Some(segment) = self.segments.get_mut(&serial) {
            segment.id = id;
            segment.len = out.len() as u64;
            segment.present = kept;
            segment.unreadable = 0;
            segment.damaged = false;
            self.unsynced_dirs.insert(segment.directory.clone());
        }
        Ok(())
    }
}

/// Whether discarding from a segment is known to free nothing, or, for metrics only, too little:
/// see [`WORTHWHILE`].
fn is_spared(segment: &Segment, metrics_only: bool) -> bool {
    segment.records().is_some_and(|records| {
        let waiting = records.waiting_count();
        if metrics_only {
            waiting.metrics == 0 || waiting.metrics * WORTHWHILE < segment.present
        } else {
            waiting.total() == 0
        }
    })
}

/// Whether it is known that all remaining records of a segment are discarded.
fn is_discarded_whole(segment: &Segment, metrics_only: bool) -> bool {
    segment.records().is_some_and(|records| {
        let waiting = records.waiting_count();
        let spared = if metrics_only { waiting.events } else { 0 };
        spared == 0 && records.live_count().total() == waiting.total()
    })
}
