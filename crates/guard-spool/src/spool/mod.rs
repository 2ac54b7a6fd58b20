//! The spool: its state, and the operations that concern all of it.

mod acknowledge;
mod adopt;
mod append;
pub(crate) mod compact;
mod load;
mod pending_acks;
mod quarantine;
mod sync;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use guard_wire::Kind;

use crate::directory::{self, Lease};
use crate::error::{IoError, OpenError};
use crate::options::Options;
use crate::platform::clock::{Clock, SystemClock, milliseconds};
use crate::platform::fs::{Disk, FileSystem};
use crate::quarantine::Quarantine;
use crate::segment::{Contents, Segment};
use crate::spool::pending_acks::PendingAcks;
use crate::spool::watch::{CHECK_INTERVAL, MissingRecord};
use crate::token::Token;
use crate::usage::{Counts, Usage};
use crate::write_head::{WriteHead, lock};

/// Time after which [`tick`](Spool::tick) and [`load`](Spool::load) retry a failed operation:
/// 1 s.
pub const RETRY: Duration = Duration::from_secs(1);
/// Time from an acknowledgement to its sync: 5 s. After a power cut, records with a younger
/// acknowledgement are delivered again.
pub const ACK_SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// Interval at which a process looks for directories of dead processes: 10 s.
pub const ADOPTION_INTERVAL: Duration = Duration::from_secs(10);

/// A record that was read from the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Names the record in later calls.
    pub token: Token,
    /// Its kind.
    pub kind: Kind,
    /// Its bytes, as they were appended.
    pub bytes: Vec<u8>,
}

/// The durable queue of one process. See the [crate's documentation](crate) for
/// what it promises.
///
/// Dropping it releases its directories, and the next process adopts their records. Use
/// [`close`](Self::close) to sync first.
pub struct Spool {
    fs: Arc<dyn FileSystem>,
    clock: Arc<dyn Clock>,
    options: Options,
    root: PathBuf,
    rng: fastrand::Rng,
    /// This process's directory.
    own: Arc<Path>,
    lease: Lease,
    /// By serial number.
    segments: BTreeMap<u64, Segment>,
    next_serial: u64,
    next_number: u64,
    last_created: u64,
    /// The open segments, shared with appenders.
    head: Arc<Mutex<WriteHead>>,
    quarantine: Quarantine,
    /// Directories with created or renamed files whose names are not durable yet.
    unsynced_dirs: BTreeSet<Arc<Path>>,
    /// Adopted segments without a seal. They may not be durable.
    unsealed: BTreeSet<u64>,
    pending_acks: PendingAcks,
    /// Finished segments that could not be removed yet.
    deletions: BTreeSet<u64>,
    retry_at: Option<Instant>,
    adopt_at: Instant,
    /// When to check that all files are in place.
    check_at: Instant,
    /// Records that the owner holds and that are no longer on disk.
    missing: BTreeMap<Token, MissingRecord>,
    /// The error for a file or directory that somebody removed, until a call returns it.
    removed: Option<IoError>,
    torn_bytes: u64,
    damaged_bytes: u64,
    damaged: Counts,
    taken: Counts,
}

impl Spool {
    /// Opens a spool below `root` on the real disk: creates a directory for this process that
    /// only its user can read. The first [`tick`](Self::tick) adopts directories of dead
    /// processes.
    ///
    /// # Errors
    ///
    /// An option is out of its range, or the directory cannot be created. Errors with
    /// directories of dead processes come from [`tick`](Self::tick).
    ///
    /// # Examples
    ///
    /// ```
    /// use guard_spool::{Kind, Options, Spool};
    ///
    /// let root = tempfile::tempdir()?;
    /// let mut spool = Spool::open(root.path(), Options::default())?;
    /// let tokens = spool.append(&[(Kind::Event, b"{}".as_slice())])?;
    /// spool.acknowledge(&tokens)?;
    /// spool.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(root: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_with(root, options, Arc::new(Disk), Arc::new(SystemClock))
    }

    /// Like [`open`](Self::open), with another file system and clock.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_with(
        root: &Path,
        options: Options,
        fs: Arc<dyn FileSystem>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        options.validate()?;
        let mut rng = fastrand::Rng::new();
        let created = milliseconds(clock.wall());
        let lease = Lease::default();
        let own = directory::create(&*fs, root, created, &mut rng, &lease)?;
        let quarantine = Quarantine::open(&*fs, root, &own, options.quarantine_bytes)?;
        let head = Arc::new(Mutex::new(WriteHead::new(&options, &clock)));
        let mut spool = Self {
            adopt_at: clock.now(),
            check_at: clock.now() + CHECK_INTERVAL,
            missing: BTreeMap::new(),
            removed: None,
            fs,
            clock,
            options,
            root: root.to_owned(),
            rng,
            own,
            lease,
            segments: BTreeMap::new(),
            next_serial: 1,
            next_number: 1,
            last_created: created,
            head,
            quarantine,
            unsynced_dirs: BTreeSet::from([root.into()]),
            unsealed: BTreeSet::new(),
            pending_acks: PendingAcks::default(),
            deletions: BTreeSet::new(),
            retry_at: None,
            torn_bytes: 0,
            damaged_bytes: 0,
            damaged: Counts::default(),
            taken: Counts::default(),
        };
        // If the error persists, the first append returns it.
        let _ = spool.begin_segment();
        Ok(spool)
    }

    /// Does the maintenance that is due:
    ///
    /// - syncs appended records and acknowledgements;
    /// - retries operations that the file system refused;
    /// - adopts directories of dead processes, and rewrites one adopted segment;
    /// - checks whether others changed the files.
    ///
    /// Call it more often than the sync interval, or at [`next_due`](Self::next_due). It costs
    /// almost nothing if nothing is due.
    ///
    /// # Errors
    ///
    /// The first error of the file system. The first call after [`RETRY`] tries everything
    /// again; calls before that do nothing. If others removed or replaced files, it returns an
    /// error once, and [`forgotten`](Self::forgotten) then returns the records to append again.
    pub fn tick(&mut self) -> Result<(), IoError> {
        let now = self.clock.now();
        if self.retry_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        self.note_appended();
        let checked = self.check_due(now);
        let done = [
            self.prepare_due(),
            self.finish_full(),
            self.sync_due(now),
            self.delete_finished(),
            self.sync_acks_due(now),
            self.rewrite_unsealed_due(now),
            self.adopt_due(now),
        ];
        let result: Result<(), IoError> = done.into_iter().collect();
        self.retry_at = result.is_err().then(|| now + RETRY);
        self.take_removed().and(checked).and(result)
    }

    /// When to call [`tick`](Self::tick) next; a time in the past if something is due now.
    pub fn next_due(&self) -> Instant {
        let now = self.clock.now();
        if let Some(at) = self.retry_at {
            return at;
        }
        let acks = self
            .pending_acks
            .since()
            .map(|since| since + ACK_SYNC_INTERVAL);
        let deletions = (!self.deletions.is_empty()).then_some(now);
        let check = self.check_at();
        let due = [
            self.head_at(now),
            acks,
            deletions,
            self.rewrite_unsealed_at(now),
            check,
        ];
        due.into_iter().flatten().fold(self.adopt_at, Instant::min)
    }

    /// When the write head needs maintenance next.
    fn head_at(&self, now: Instant) -> Option<Instant> {
        let head = lock(&self.head);
        if head.full.is_some() || head.wants_next() {
            return Some(now);
        }
        drop(head);
        self.sync_at(now)
    }

    /// When the next sync of appended records is due.
    fn sync_at(&self, now: Instant) -> Option<Instant> {
        let head = lock(&self.head);
        let since = head.written().filter_map(|open| open.since).min();
        match since {
            _ if head.needs_rewrite() => Some(now),
            Some(since) => Some(since + self.options.sync_interval),
            None => (!self.unsynced_dirs.is_empty()).then_some(now),
        }
    }

    fn sync_due(&mut self, now: Instant) -> Result<(), IoError> {
        match self.sync_at(now) {
            Some(at) if now >= at => self.sync_records(),
            _ => Ok(()),
        }
    }

    fn sync_acks_due(&mut self, now: Instant) -> Result<(), IoError> {
        match self.pending_acks.since() {
            Some(since) if now >= since + ACK_SYNC_INTERVAL => self.sync_acks(),
            _ => Ok(()),
        }
    }

    fn adopt_due(&mut self, now: Instant) -> Result<(), IoError> {
        if now < self.adopt_at {
            return Ok(());
        }
        self.adopt_at = now + ADOPTION_INTERVAL;
        self.adopt()
    }

    /// Makes all records and acknowledgements durable now.
    ///
    /// # Errors
    ///
    /// Those of [`tick`](Self::tick).
    pub fn sync(&mut self) -> Result<(), IoError> {
        self.note_appended();
        let done = [
            self.check_files(),
            self.delete_finished(),
            self.sync_records(),
            self.sync_acks(),
            self.rewrite_unsealed(),
        ];
        let result: Result<(), IoError> = done.into_iter().collect();
        self.take_removed().and(result)
    }

    /// How much the spool holds, and how much it has lost.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage {
            bytes: self.used(),
            quarantined: self.quarantine.records(),
            quarantined_bytes: self.quarantine.bytes(),
            torn_bytes: self.torn_bytes,
            damaged_bytes: self.damaged_bytes,
            damaged: self.damaged,
            taken: self.taken,
            ..Usage::default()
        };
        for segment in self.segments.values() {
            match &segment.contents {
                Contents::Unread { records } => {
                    usage.records += records;
                    usage.unread_bytes += segment.bytes();
                }
                Contents::Read(records) => {
                    usage.records += records.live_count().total();
                    usage.held += records.held_count();
                }
            }
        }
        // Records that were not added to their segments yet.
        for kind in lock(&self.head).written().flat_map(|open| &open.unnoted) {
            usage.records += 1;
            usage.held.add(*kind, 1);
        }
        usage
    }

    /// Bytes on disk that count towards the limit.
    pub(crate) fn used(&self) -> u64 {
        self.segments.values().map(Segment::bytes).sum()
    }

    /// A handle with which a forked child releases the locks it inherited.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// The directory of this process.
    pub fn directory(&self) -> &Path {
        &self.own
    }

    /// Makes everything durable and removes acknowledged records. The next process adopts the
    /// others.
    ///
    /// # Errors
    ///
    /// The first error of the file system.
    pub fn close(mut self) -> Result<(), IoError> {
        lock(&self.head).closed = true;
        let done = [
            self.seal(),
            self.end_next(),
            self.sync(),
            self.remove_if_empty(&Arc::clone(&self.own)),
        ];
        done.into_iter().collect()
    }

    /// Whether an open segment must be rewritten.
    pub(crate) fn needs_rewrite(&self, serial: u64) -> bool {
        let head = lock(&self.head);
        let open = head.written().find(|open| open.serial == serial);
        open.is_some_and(|open| open.needs_rewrite)
    }

    /// Whether a segment belongs to the write head.
    pub(crate) fn is_open(&self, serial: u64) -> bool {
        let head = lock(&self.head);
        let mut open = head.written().chain(&head.next);
        open.any(|open| open.serial == serial)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        lock(&self.head).closed = true;
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("own", &self.own)
            .field("segments", &self.segments.len())
            .finish_non_exhaustive()
    }
}
