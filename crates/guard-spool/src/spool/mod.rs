//! The spool: what it knows, and what is asked of it as a whole.

mod acknowledge;
mod adopt;
mod append;
pub(crate) mod compact;
mod load;
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
use crate::format::frame::TOKEN_BITS;
use crate::options::{Options, SyncPolicy};
use crate::platform::clock::{Clock, SystemClock, milliseconds};
use crate::platform::fs::{Disk, FileSystem};
use crate::quarantine::Quarantine;
use crate::segment::{Contents, Segment};
use crate::spool::watch::{CHECK_INTERVAL, Missed};
use crate::usage::{Counts, Usage};
use crate::write_head::{Front, lock};

/// Names one record of one [`Spool`] value, for as long as that value lives.
pub type Token = u64;

/// Time after which [`tick`](Spool::tick) and [`load`](Spool::load) try again
/// what the file system refused: 1 s.
pub const RETRY: Duration = Duration::from_secs(1);
/// Time from an acknowledgement to its sync: 5 s. A power cut gives records that
/// were acknowledged later than that again.
pub const ACK_SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two looks for directories whose owner has died: 10 s.
pub const ADOPTION_INTERVAL: Duration = Duration::from_secs(10);

/// A record out of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Names it in later calls.
    pub token: Token,
    /// What it is.
    pub kind: Kind,
    /// Its bytes, as they were appended.
    pub bytes: Vec<u8>,
}

/// The durable queue of one process. See the [crate's documentation](crate) for
/// what it promises.
///
/// Dropping it lets go of its directories, in which everything stays for the next
/// process; [`close`](Self::close) does so in good order.
pub struct Spool {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) root: PathBuf,
    pub(crate) rng: fastrand::Rng,
    /// The directory that is appended to.
    pub(crate) own: Arc<Path>,
    pub(crate) lease: Lease,
    /// By serial number: the upper bits of their records' tokens.
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) next_serial: u64,
    pub(crate) next_number: u64,
    pub(crate) last_created: u64,
    /// What is appended to, shared with appenders.
    pub(crate) front: Arc<Mutex<Front>>,
    pub(crate) quarantine: Quarantine,
    /// Directories in which something was created or renamed that counts.
    pub(crate) unsynced_dirs: BTreeSet<Arc<Path>>,
    /// Adopted segments without a seal, which may not be durable.
    pub(crate) unsealed: BTreeSet<u64>,
    /// Directories in which sidecars were created or files removed.
    pub(crate) settled_dirs: BTreeSet<Arc<Path>>,
    pub(crate) unsynced_acks: BTreeSet<u64>,
    pub(crate) acks_since: Option<Instant>,
    /// Finished segments that could not be removed yet.
    pub(crate) deletions: BTreeSet<u64>,
    /// Sidecars of segments that were removed.
    pub(crate) strays: Vec<PathBuf>,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) adopt_at: Instant,
    /// When to look whether all files are where they were.
    pub(crate) check_at: Instant,
    /// Records of the owner's that are not on disk any more.
    pub(crate) missed: BTreeMap<Token, Missed>,
    /// A file or directory that is not at its path any more, until it is told.
    pub(crate) lost: Option<IoError>,
    pub(crate) torn_bytes: u64,
    pub(crate) damaged_bytes: u64,
    pub(crate) damaged: Counts,
    pub(crate) taken: Counts,
}

impl Spool {
    /// Opens a spool below `root` on the real disk: makes a directory for this
    /// process, for the owner alone. The first [`tick`](Self::tick) adopts those whose
    /// process has died.
    ///
    /// # Errors
    ///
    /// An option out of its range, or a directory that cannot be made. What is
    /// wrong with directories of dead processes is told by [`tick`](Self::tick).
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

    /// [`open`](Self::open) with a file system and a clock of the caller's.
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
        let front = Arc::new(Mutex::new(Front::new(&options, &clock)));
        let mut spool = Self {
            adopt_at: clock.now(),
            check_at: clock.now() + CHECK_INTERVAL,
            missed: BTreeMap::new(),
            lost: None,
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
            front,
            quarantine,
            unsynced_dirs: BTreeSet::from([root.into()]),
            unsealed: BTreeSet::new(),
            settled_dirs: BTreeSet::new(),
            unsynced_acks: BTreeSet::new(),
            acks_since: None,
            deletions: BTreeSet::new(),
            strays: Vec::new(),
            retry_at: None,
            torn_bytes: 0,
            damaged_bytes: 0,
            damaged: Counts::default(),
            taken: Counts::default(),
        };
        // Said by the first append if it does not pass.
        let _ = spool.begin_segment();
        Ok(spool)
    }

    /// Does what is due: the sync of appended records and of acknowledgements,
    /// what the file system refused before, the adoption of directories whose
    /// process has died, making one segment of those durable, and looking whether
    /// others changed the files. To be called more often than the sync interval, or
    /// when [`next_due`](Self::next_due) says; costs next to nothing when nothing is
    /// due.
    ///
    /// # Errors
    ///
    /// The first refusal of the file system. All of it is tried again by the
    /// first call after [`RETRY`]; calls until then do nothing. Or, once, what others
    /// removed or replaced; then [`forgotten`](Self::forgotten) has the records that
    /// are to be appended again.
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
            self.secure_due(now),
            self.adopt_due(now),
        ];
        let result: Result<(), IoError> = done.into_iter().collect();
        self.retry_at = result.is_err().then(|| now + RETRY);
        self.tell_lost().and(checked).and(result)
    }

    /// When [`tick`](Self::tick) has something to do again, as things stand; a
    /// time that is over if it has now.
    pub fn next_due(&self) -> Instant {
        let now = self.clock.now();
        if let Some(at) = self.retry_at {
            return at;
        }
        let acks = self.acks_since.map(|since| since + ACK_SYNC_INTERVAL);
        let deletions = (!self.deletions.is_empty()).then_some(now);
        let check = self.check_at();
        let due = [
            self.front_at(now),
            acks,
            deletions,
            self.secure_at(now),
            check,
        ];
        due.into_iter().flatten().fold(self.adopt_at, Instant::min)
    }

    /// When what is appended to is to be looked after.
    fn front_at(&self, now: Instant) -> Option<Instant> {
        let front = lock(&self.front);
        if front.full.is_some() || front.wants_next() {
            return Some(now);
        }
        drop(front);
        self.sync_at(now)
    }

    /// When appended records are to be synced.
    fn sync_at(&self, now: Instant) -> Option<Instant> {
        let front = lock(&self.front);
        let since = front.written().filter_map(|open| open.since).min();
        match (since, self.options.sync) {
            _ if front.is_doubtful() => Some(now),
            (Some(since), SyncPolicy::Interval(interval)) => Some(since + interval),
            (Some(_), SyncPolicy::Always) => Some(now),
            (None, _) => (!self.unsynced_dirs.is_empty()).then_some(now),
        }
    }

    fn sync_due(&mut self, now: Instant) -> Result<(), IoError> {
        match self.sync_at(now) {
            Some(at) if now >= at => self.sync_records(),
            _ => Ok(()),
        }
    }

    fn sync_acks_due(&mut self, now: Instant) -> Result<(), IoError> {
        match self.acks_since {
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

    /// Makes everything durable now: records and acknowledgements.
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
            self.secure_all(),
        ];
        let result: Result<(), IoError> = done.into_iter().collect();
        self.tell_lost().and(result)
    }

    /// What the spool holds and what it lost.
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
        // What the spool has not taken note of yet.
        for kind in lock(&self.front).written().flat_map(|open| &open.news) {
            usage.records += 1;
            usage.held.add(*kind, 1);
        }
        usage
    }

    /// Bytes on disk that the limit bounds.
    pub(crate) fn used(&self) -> u64 {
        self.segments.values().map(Segment::bytes).sum()
    }

    /// A handle with which a forked child gives up the locks it inherited.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// The directory that this process appends to.
    pub fn directory(&self) -> &Path {
        &self.own
    }

    /// Makes everything durable, leaves what is not acknowledged to the next
    /// process, and removes what is.
    ///
    /// # Errors
    ///
    /// The first refusal of the file system.
    pub fn close(mut self) -> Result<(), IoError> {
        lock(&self.front).closed = true;
        let done = [
            self.seal(),
            self.end_next(),
            self.sync(),
            self.remove_if_empty(&Arc::clone(&self.own)),
        ];
        done.into_iter().collect()
    }

    /// Whether a segment must be written anew.
    pub(crate) fn is_doubtful(&self, serial: u64) -> bool {
        let front = lock(&self.front);
        let open = front.written().find(|open| open.serial == serial);
        open.is_some_and(|open| open.doubtful)
    }

    /// Whether a segment is appended to, was until its last sync, or will be.
    pub(crate) fn is_open(&self, serial: u64) -> bool {
        let front = lock(&self.front);
        let mut open = front.written().chain(&front.next);
        open.any(|open| open.serial == serial)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        lock(&self.front).closed = true;
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

/// The token of a record.
pub(crate) fn token(serial: u64, index: u32) -> Token {
    serial << TOKEN_BITS | u64::from(index)
}

/// Segment and index of a token.
pub(crate) fn parts(token: Token) -> (u64, u32) {
    let index = token & ((1 << TOKEN_BITS) - 1);
    (token >> TOKEN_BITS, index as u32)
}
