//! Noticing that others removed, replaced or moved the files of this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use guard_wire::Kind;

use crate::directory::{self, LOCK, find};
use crate::error::{At, IoError};
use crate::format::bits::Bits;
use crate::options::MAX_SEGMENT_BYTES;
use crate::platform::clock::milliseconds;
use crate::platform::fs::Entry;
use crate::segment::Segment;
use crate::spool::Spool;
use crate::token::Token;
use crate::write_head::lock;

/// Interval at which a spool with records checks that its directories, locks and segments are
/// still in place: 500 ms.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A record that the owner holds and that is no longer on disk.
#[derive(Debug)]
pub(crate) struct MissingRecord {
    pub(crate) kind: Kind,
    /// Whether [`Spool::forgotten`] has returned it.
    told: bool,
}

/// Why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody removed their file.
    Lost,
    /// Another process has adopted their directory.
    Taken,
}

impl Spool {
    /// Records that the owner holds and that are no longer on disk, because somebody removed or
    /// replaced files. The owner must append them again. The spool returns each record once;
    /// its token is invalid afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// use guard_spool::{Kind, Options, Spool};
    ///
    /// let root = tempfile::tempdir()?;
    /// let mut spool = Spool::open(root.path(), Options::default())?;
    /// let tokens = spool.append(&[(Kind::Event, b"{}".as_slice())])?;
    /// std::fs::remove_dir_all(spool.directory())?;
    /// assert!(spool.sync().is_err()); // names the missing file
    /// assert_eq!(spool.forgotten(), tokens);
    /// spool.append(&[(Kind::Event, b"{}".as_slice())])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forgotten(&mut self) -> Vec<Token> {
        // The owner has had time to release the records that the last call returned.
        self.missing.retain(|_, missed| !missed.told);
        for missed in self.missing.values_mut() {
            missed.told = true;
        }
        self.missing.keys().copied().collect()
    }

    /// The error for a removed file, once.
    pub(crate) fn take_removed(&mut self) -> Result<(), IoError> {
        self.removed.take().map_or(Ok(()), Err)
    }

    /// When the next check is due; `None` while the spool has neither records nor pending work.
    pub(crate) fn check_at(&self) -> Option<Instant> {
        let is_new = lock(&self.head)
            .written()
            .any(|open| !open.unnoted.is_empty());
        let has_records = is_new || self.segments.values().any(|s| !s.is_finished());
        let is_busy = self.pending_acks.since().is_some() || !self.deletions.is_empty();
        (has_records || is_busy).then_some(self.check_at)
    }

    pub(crate) fn check_due(&mut self, now: Instant) -> Result<(), IoError> {
        match self.check_at() {
            Some(at) if now >= at => self.check_files(),
            _ => Ok(()),
        }
    }

    /// Checks that all files of this process are still in place. It creates missing ones again
    /// and marks their records as missing.
    pub(crate) fn check_files(&mut self) -> Result<(), IoError> {
        self.check_at = self.clock.now() + CHECK_INTERVAL;
        let mut result = Ok(());
        for path in self.lease.directories() {
            let checked = self.check_directory(&path.into());
            result = result.and(checked);
        }
        result.and(self.ensure_directory())
    }

    fn check_directory(&mut self, directory: &Arc<Path>) -> Result<(), IoError> {
        if self.still_owns(directory)? {
            self.check_segments(directory)?;
        }
        Ok(())
    }

    /// Creates this process's directory again if somebody removed or replaced it.
    pub(crate) fn ensure_directory(&mut self) -> Result<(), IoError> {
        if self.still_owns(&self.own.clone())? {
            return Ok(());
        }
        // It gets another name: if the old one comes back, it is adopted.
        let created = milliseconds(self.clock.wall()).max(self.last_created);
        let (root, rng) = (&self.root, &mut self.rng);
        self.own = directory::create(&*self.fs, root, created, rng, &self.lease)?;
        self.unsynced_dirs.insert(self.root.as_path().into());
        self.open_quarantine()
    }

    /// Whether this process still owns a directory. If only the lock was removed, it takes the
    /// lock again.
    fn still_owns(&mut self, directory: &Arc<Path>) -> Result<bool, IoError> {
        let Some(ids) = self.lease.ids(directory) else {
            return Ok(false);
        };
        let path = directory.join(LOCK);
        if find(&*self.fs, &path)? == Some(ids.lock) {
            return Ok(true);
        }
        let mut cause = Cause::Lost;
        if find(&*self.fs, directory)? == Some(ids.directory) {
            if let Some(held) = directory::lock(&*self.fs, directory)? {
                self.lease.keep(directory, held);
                self.report_removed(path);
                return Ok(true);
            }
            cause = Cause::Taken;
        }
        self.report_removed(path);
        self.detach_directory(directory, cause);
        Ok(false)
    }

    fn report_removed(&mut self, path: PathBuf) {
        self.removed.get_or_insert_with(|| IoError::missing(path));
    }

    /// Stops using a directory and all its segments.
    fn detach_directory(&mut self, directory: &Arc<Path>, cause: Cause) {
        let within = |segment: &Segment| segment.directory == *directory;
        let serials = self.by_age(within);
        for serial in serials {
            self.detach_segment(serial);
            self.mark_missing(serial, &Bits::default(), cause);
            self.segments.remove(&serial);
            self.deletions.remove(&serial);
            self.unsealed.remove(&serial);
            self.pending_acks.remove_segment(serial);
        }
        self.unsynced_dirs.remove(directory);
        self.pending_acks.remove_directory(directory);
        self.lease.unlock(directory);
    }

    /// Stops appending to a segment. Returns whether it was open.
    fn detach_segment(&mut self, serial: u64) -> bool {
        let Some(mut open) = lock(&self.head).detach(serial) else {
            return false;
        };
        if let Some(segment) = self.segments.get_mut(&serial) {
            segment.note(&mut open);
        }
        true
    }

    fn check_segments(&mut self, directory: &Path) -> Result<(), IoError> {
        let entries = self.fs.list(directory).at("list", directory)?;
        let there: BTreeMap<&str, &Entry> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry))
            .collect();
        for serial in self.by_age(|segment| &*segment.directory == directory) {
            if !self.is_whole(serial, &there) {
                self.reread(serial)?;
            }
        }
        Ok(())
    }

    /// Whether a segment is still the same file and not shorter. Does not read it.
    fn is_whole(&self, serial: u64, there: &BTreeMap<&str, &Entry>) -> bool {
        let Some(segment) = self.segments.get(&serial) else {
            return true;
        };
        if segment.is_finished() && !self.is_open(serial) {
            return true;
        }
        there
            .get(segment.name.file("log").as_str())
            .is_some_and(|entry| {
                let has_all = entry.len >= segment.len || self.needs_rewrite(serial);
                entry.id == segment.id && has_all
            })
    }

    /// Reads the file that is at the path of a segment now.
    fn reread(&mut self, serial: u64) -> Result<(), IoError> {
        let Some(segment) = self.segments.get(&serial) else {
            return Ok(());
        };
        let path = segment.path();
        if let Some(id) = find(&*self.fs, &path)?
            && let Some(segment) = self.segments.get_mut(&serial)
        {
            segment.id = id;
        }
        let was_open = self.detach_segment(serial);
        let bytes = self.read(&path, MAX_SEGMENT_BYTES)?;
        if self.scan_segment(serial, &bytes)? || was_open {
            self.report_removed(path);
        }
        if let Some(segment) = self.segments.get_mut(&serial) {
            segment.len = bytes.len() as u64;
            // The file that others put there may not be synced.
            self.unsealed.insert(serial);
        }
        self.delete_if_finished(serial)
    }

    /// Settles the live records of a segment that are not `present`. Those that the owner holds
    /// are missing; the others count as lost or taken. Returns whether there were any.
    pub(crate) fn mark_missing(&mut self, serial: u64, present: &Bits, cause: Cause) -> bool {
        let segment = self.segments.get_mut(&serial);
        let Some(records) = segment.and_then(Segment::records_mut) else {
            return false;
        };
        let absent = records.live().filter(|index| !present.contains(*index));
        let absent: Vec<u32> = absent.collect();
        for index in &absent {
            let kind = records.kind(*index);
            if records.is_held(*index) {
                let told = false;
                self.missing
                    .insert(Token::new(serial, *index), MissingRecord { kind, told });
            } else if cause == Cause::Taken {
                self.taken.add(kind, 1);
            } else {
                self.damaged.add(kind, 1);
            }
            records.settle(*index);
        }
        !absent.is_empty()
    }
}
