//! Noticing that others removed, replaced or moved what this process works with.

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
use crate::spool::{Spool, Token, token};
use crate::write_head::lock;

/// Time between two looks whether directories, locks and segments are still where
/// they were made: 500 ms, while the spool holds any record.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A record that the owner holds and that is not on disk any more.
#[derive(Debug)]
pub(crate) struct Missed {
    pub(crate) kind: Kind,
    /// Whether the owner knows.
    told: bool,
}

/// What became of records that are not where they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Lost,
    /// Another process has adopted them.
    Taken,
}

impl Spool {
    /// Records that the owner holds and that are no longer on disk, because somebody
    /// removed or replaced files. They are to be appended again. Each is told once; its
    /// token means nothing from then on.
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
    /// assert!(spool.sync().is_err()); // says what is missing
    /// assert_eq!(spool.forgotten(), tokens);
    /// spool.append(&[(Kind::Event, b"{}".as_slice())])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forgotten(&mut self) -> Vec<Token> {
        // A release of those that were told before has come by now.
        self.missed.retain(|_, missed| !missed.told);
        for missed in self.missed.values_mut() {
            missed.told = true;
        }
        self.missed.keys().copied().collect()
    }

    /// What is missing, once.
    pub(crate) fn tell_lost(&mut self) -> Result<(), IoError> {
        self.lost.take().map_or(Ok(()), Err)
    }

    /// When to look next. Without records there is nothing to lose, and a look is due
    /// with the first record.
    pub(crate) fn check_at(&self) -> Option<Instant> {
        let is_new = lock(&self.front)
            .written()
            .any(|open| !open.news.is_empty());
        let has_records = is_new || self.segments.values().any(|s| !s.is_finished());
        let is_busy = self.acks_since.is_some() || !self.deletions.is_empty();
        (has_records || is_busy).then_some(self.check_at)
    }

    pub(crate) fn check_due(&mut self, now: Instant) -> Result<(), IoError> {
        match self.check_at() {
            Some(at) if now >= at => self.check_files(),
            _ => Ok(()),
        }
    }

    /// Looks whether all that this process works with is still at its path. What is not
    /// is made again; its records are missed.
    pub(crate) fn check_files(&mut self) -> Result<(), IoError> {
        self.check_at = self.clock.now() + CHECK_INTERVAL;
        let mut result = Ok(());
        for path in self.lease.directories() {
            let checked = self.check_directory(&path.into());
            result = result.and(checked);
        }
        result.and(self.hold_own())
    }

    fn check_directory(&mut self, directory: &Arc<Path>) -> Result<(), IoError> {
        if self.hold(directory)? {
            self.check_segments(directory)?;
        }
        Ok(())
    }

    /// Makes this process's directory again if somebody removed or replaced it.
    pub(crate) fn hold_own(&mut self) -> Result<(), IoError> {
        if self.hold(&self.own.clone())? {
            return Ok(());
        }
        // Under another name: what was there may come back, and is adopted then.
        let created = milliseconds(self.clock.wall()).max(self.last_created);
        let (root, rng) = (&self.root, &mut self.rng);
        self.own = directory::create(&*self.fs, root, created, rng, &self.lease)?;
        self.unsynced_dirs.insert(self.root.as_path().into());
        self.open_quarantine()
    }

    /// Whether a directory is still this process's. One whose lock alone was removed is
    /// locked again.
    fn hold(&mut self, directory: &Arc<Path>) -> Result<bool, IoError> {
        let Some(ids) = self.lease.ids(directory) else {
            return Ok(false);
        };
        let path = directory.join(LOCK);
        if find(&*self.fs, &path)? == Some(ids.lock) {
            return Ok(true);
        }
        let mut missing = Missing::Lost;
        if find(&*self.fs, directory)? == Some(ids.directory) {
            if let Some(held) = directory::lock(&*self.fs, directory)? {
                self.lease.keep(directory, held);
                self.note_lost(path);
                return Ok(true);
            }
            missing = Missing::Taken;
        }
        self.note_lost(path);
        self.leave_directory(directory, missing);
        Ok(false)
    }

    fn note_lost(&mut self, path: PathBuf) {
        self.lost.get_or_insert_with(|| IoError::missing(path));
    }

    /// Gives up a directory and all that was in it.
    fn leave_directory(&mut self, directory: &Arc<Path>, missing: Missing) {
        let within = |segment: &Segment| segment.directory == *directory;
        let serials = self.by_age(within);
        for serial in serials {
            self.leave_segment(serial);
            self.miss(serial, &Bits::default(), missing);
            self.segments.remove(&serial);
            self.deletions.remove(&serial);
            self.unsealed.remove(&serial);
            self.unsynced_acks.remove(&serial);
        }
        self.strays.retain(|path| !path.starts_with(directory));
        self.unsynced_dirs.remove(directory);
        self.settled_dirs.remove(directory);
        self.lease.let_go(directory);
    }

    /// Nothing is appended to a segment any more; whether anything could be.
    fn leave_segment(&mut self, serial: u64) -> bool {
        let Some(mut open) = lock(&self.front).leave(serial) else {
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

    /// Whether a segment is still the file that was written, as far as that shows
    /// without reading it.
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
                let has_all = entry.len >= segment.len || self.is_doubtful(serial);
                entry.id == segment.id && has_all
            })
    }

    /// Goes by what stands at the path of a segment now.
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
        let was_open = self.leave_segment(serial);
        let bytes = self.read(&path, MAX_SEGMENT_BYTES)?;
        if self.survey(serial, &bytes)? || was_open {
            self.note_lost(path);
        }
        if let Some(segment) = self.segments.get_mut(&serial) {
            segment.len = bytes.len() as u64;
            // Nobody has synced what others put there.
            self.unsealed.insert(serial);
        }
        self.delete_if_finished(serial)
    }

    /// Takes out the records of a segment that are not `present`: those that the owner
    /// holds are to be saved again. Whether there were any.
    pub(crate) fn miss(&mut self, serial: u64, present: &Bits, missing: Missing) -> bool {
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
                self.missed
                    .insert(token(serial, *index), Missed { kind, told });
            } else if missing == Missing::Taken {
                self.taken.add(kind, 1);
            } else {
                self.damaged.add(kind, 1);
            }
            records.settle(*index);
        }
        !absent.is_empty()
    }
}
