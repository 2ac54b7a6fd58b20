//! Making room: writing segments anew without what is done with, and letting
//! the oldest records go.

use guard_wire::Kind;

use crate::error::IoError;
use crate::format::frame::{self, Piece, Scan};
use crate::platform::files::write_over;
use crate::records::Records;
use crate::segment::Segment;
use crate::spool::Spool;
use crate::usage::Counts;
use crate::write_head::lock;

/// What [`Spool::discard_oldest`] let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Bytes made free on disk.
    pub bytes: u64,
    /// Records that are lost by it.
    pub records: Counts,
}

/// Metrics go before events out of segments in which at least one record in so
/// many is a metric that is not held. Where they are fewer, room for one record
/// would cost rewriting many.
const WORTHWHILE: u64 = 8;

impl Spool {
    /// Lets the oldest records that the owner does not hold go, until `bytes`
    /// bytes are free that were in use, or nothing is left to let go.
    ///
    /// First metrics, from the oldest segment on, out of every segment of whose
    /// records one in eight or more is a metric not held; then, from the oldest
    /// segment on, everything not held. Room is made segment by segment, so more
    /// may be freed than was asked for. What the owner holds stays.
    ///
    /// # Errors
    ///
    /// The file system refused, and nothing was let go.
    pub fn discard_oldest(&mut self, bytes: u64) -> Result<Discarded, IoError> {
        self.note_appended();
        let mut discarded = Discarded::default();
        let mut refused = None;
        for metrics_only in [true, false] {
            let mut serials = self.by_age(|_| true);
            // Those that are appended to come last.
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
        let goes_whole = |segment: &Segment| is_let_go_whole(segment, metrics_only);
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
        let let_go: Vec<u32> = records.waiting().filter(|i| going(records, *i)).collect();
        // A segment that goes as a whole is neither read nor takes room to write.
        if goes_whole(segment) {
            self.remove_log(serial)?;
        } else {
            self.rewrite(serial, &bytes, |records, index| {
                records.is_live(index) && !going(records, index)
            })?;
        }
        self.settle_discarded(serial, let_go, discarded);
        self.mark_stale(serial);
        // What is left of a segment without records is removed later.
        let _ = self.delete_if_finished(serial);
        let left = self.segments.get(&serial).filter(|s| !s.is_finished());
        discarded.bytes += used.saturating_sub(left.map_or(0, Segment::bytes));
        Ok(())
    }

    fn settle_discarded(&mut self, serial: u64, let_go: Vec<u32>, discarded: &mut Discarded) {
        let records = self
            .segments
            .get_mut(&serial)
            .and_then(Segment::records_mut);
        if let Some(records) = records {
            for index in let_go {
                discarded.records.add(records.kind(index), 1);
                records.settle(index);
            }
        }
    }

    /// Frees up to `bytes` bytes by writing anew the segments of which half or
    /// less is still to be delivered. What the file system refuses is left.
    pub(crate) fn reclaim(&mut self, bytes: u64) {
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

    /// The bytes of a segment, of whose records all is known then.
    pub(crate) fn read_for_rewriting(&mut self, serial: u64) -> Result<Vec<u8>, IoError> {
        let bytes = self.read_segment(serial)?;
        self.survey(serial, &bytes)?;
        Ok(bytes)
    }

    /// Writes a segment anew with its live records alone.
    pub(crate) fn replace(&mut self, serial: u64, bytes: &[u8]) -> Result<(), IoError> {
        if self.segments.get(&serial).is_some_and(Segment::is_finished) {
            lock(&self.front).leave(serial);
            return self.delete(serial);
        }
        self.rewrite(serial, bytes, Records::is_live)
    }

    /// Writes a segment anew, sealed, under its name: with the same salt and the
    /// same indices, so that tokens and acknowledgements keep their meaning.
    fn rewrite(
        &mut self,
        serial: u64,
        bytes: &[u8],
        keep: impl Fn(&Records, u32) -> bool,
    ) -> Result<(), IoError> {
        self.hold_own()?;
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
        lock(&self.front).leave(serial);
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

/// Whether it is known that letting records of a segment go gains too little:
/// nothing, or among metrics alone less than is [`WORTHWHILE`].
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

/// Whether it is known that no record of a segment stays.
fn is_let_go_whole(segment: &Segment, metrics_only: bool) -> bool {
    segment.records().is_some_and(|records| {
        let waiting = records.waiting_count();
        let spared = if metrics_only { waiting.events } else { 0 };
        spared == 0 && records.live_count().total() == waiting.total()
    })
}
