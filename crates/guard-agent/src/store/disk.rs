//! The spool on disk as a [`Store`].

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use guard_spool::{
    AppendError, DEFAULT_MAX_RECORD, DEFAULT_QUARANTINE_BYTES, DEFAULT_SEGMENT_BYTES,
    DEFAULT_SYNC_INTERVAL, IoError, OpenError, Options, Spool, Token,
};
use guard_wire::Kind;

use super::{Appender, ReleaseAfterFork, Store, StoreError, Stored, Usage};
use crate::clock::Clock;
use crate::defaults::{DEFAULT_SPOOL_MAX_BYTES, MAX_SPOOL_BATCH_BYTES};

/// When written records are synced, so that they survive a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpoolFsync {
    /// Within 200 ms.
    #[default]
    Interval,
    /// As soon as the disk is ready for the next sync.
    Always,
}

/// A [`Spool`] as a [`Store`].
pub struct DiskStore(Spool);

impl DiskStore {
    /// Opens a spool below `root`, of at most `max_bytes`, for records of at most
    /// `max_record` bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError`] names the path that cannot be created or locked, and the remedy.
    pub(crate) fn open(
        root: &Path,
        max_bytes: u64,
        max_record: usize,
        fsync: SpoolFsync,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let clock = Arc::new(SpoolClock(clock));
        let disk = Arc::new(guard_spool::Disk);
        let options = options(max_bytes, max_record, fsync);
        Ok(Self::new(Spool::open_with(root, options, disk, clock)?))
    }

    /// Wraps a spool that was opened elsewhere: on another file system, or with other
    /// limits.
    pub fn new(spool: Spool) -> Self {
        Self(spool)
    }
}

/// Checks the numbers here, because the crate also builds without a spool.
const _: () = assert!(DEFAULT_SPOOL_MAX_BYTES == guard_spool::DEFAULT_MAX_BYTES);
const _: () = assert!(2 * MAX_SPOOL_BATCH_BYTES as u64 == guard_spool::MAX_SEGMENT_BYTES);

/// The limits of a spool that takes records of `max_record` bytes.
pub(crate) fn options(max_bytes: u64, max_record: usize, fsync: SpoolFsync) -> Options {
    let max_record = max_record.max(DEFAULT_MAX_RECORD);
    let segment_bytes = DEFAULT_SEGMENT_BYTES.max(2 * max_record as u64);
    Options {
        max_bytes,
        segment_bytes,
        max_record,
        sync_interval: match fsync {
            SpoolFsync::Interval => DEFAULT_SYNC_INTERVAL,
            // Syncs run back to back. New records do not wait for them.
            SpoolFsync::Always => Duration::ZERO,
        },
        quarantine_bytes: DEFAULT_QUARANTINE_BYTES.max(2 * segment_bytes),
    }
}

impl Appender for guard_spool::Appender {
    fn append(&self, records: &[(Kind, &[u8])]) -> Option<Vec<u64>> {
        guard_spool::Appender::append(self, records).map(numbers)
    }
}

impl Store for DiskStore {
    fn append(&mut self, records: &[(Kind, &[u8])]) -> Result<Vec<u64>, StoreError> {
        let saved = self.0.append(records).map_err(|error| match error {
            AppendError::Full { used, limit, .. } => StoreError::Full { used, limit },
            AppendError::Io(error) => failed(&error),
            AppendError::RecordTooLarge { .. } => StoreError::Failed(error.to_string()),
        })?;
        Ok(numbers(saved))
    }

    fn appender(&self) -> Option<Box<dyn Appender>> {
        Some(Box::new(self.0.appender()))
    }

    fn remove(&mut self, tokens: &[u64]) -> Result<(), StoreError> {
        let outcome = self.0.acknowledge(&spool_tokens(tokens));
        outcome.map_err(|error| failed(&error))
    }

    fn release(&mut self, tokens: &[u64]) {
        self.0.release(&spool_tokens(tokens));
    }

    fn quarantine(
        &mut self,
        token: u64,
        kind: Kind,
        bytes: &[u8],
        reason: &str,
    ) -> Result<(), StoreError> {
        let outcome = self.0.quarantine(token.into(), kind, bytes, reason);
        outcome.map_err(|error| failed(&error))
    }

    fn load(&mut self, max_bytes: usize) -> Result<Vec<Stored>, StoreError> {
        let loaded = self.0.load(max_bytes).map_err(|error| failed(&error))?;
        let stored = loaded.into_iter().map(|record| Stored {
            token: record.token.into(),
            kind: record.kind,
            bytes: record.bytes,
        });
        Ok(stored.collect())
    }

    fn discard_oldest(&mut self, bytes: u64) -> Result<[u64; 2], StoreError> {
        let discarded = self.0.discard_oldest(bytes);
        let lost = discarded.map_err(|error| failed(&error))?.records;
        Ok(Kind::ALL.map(|kind| lost.of(kind)))
    }

    fn tick(&mut self, _: Instant) -> Result<Option<Instant>, StoreError> {
        self.0.tick().map_err(|error| failed(&error))?;
        Ok(Some(self.0.next_due()))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.0.sync().map_err(|error| failed(&error))
    }

    fn forgotten(&mut self) -> Vec<u64> {
        numbers(self.0.forgotten())
    }

    fn usage(&self) -> Usage {
        let usage = self.0.usage();
        Usage {
            records: usage.records,
            bytes: usage.bytes,
            quarantined: usage.quarantined,
            backlog: usage.has_waiting(),
            damaged: Kind::ALL.map(|kind| usage.damaged.of(kind)),
            taken: Kind::ALL.map(|kind| usage.taken.of(kind)),
        }
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.0.close().map_err(|error| failed(&error))
    }

    fn release_after_fork(&self) -> Option<ReleaseAfterFork> {
        let lease = self.0.lease();
        Some(Arc::new(move || lease.abandon()))
    }
}

/// Converts the spool's tokens to numbers, the form that all stores share.
fn numbers(tokens: Vec<Token>) -> Vec<u64> {
    tokens.into_iter().map(u64::from).collect()
}

fn spool_tokens(numbers: &[u64]) -> Vec<Token> {
    numbers.iter().copied().map(Token::from).collect()
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => failed(&error),
            OpenError::Options(error) => StoreError::Failed(error.to_string()),
        }
    }
}

fn failed(error: &IoError) -> StoreError {
    let has_no_locks = error.source.kind() == io::ErrorKind::Unsupported;
    if has_no_locks && error.action.starts_with("lock") {
        let remedy = "put spool_dir on a file system that has locks (flock), such as a local disk";
        return StoreError::Unusable(format!("{error}; {remedy}"));
    }
    let remedy = match error.source.kind() {
        io::ErrorKind::NotFound => {
            "keep cleaners of temporary files, and people, away from spool_dir; what memory holds \
             is saved there again"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on its disk, or lower spool_max_bytes"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "make spool_dir writable for this user, or name another"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "name a directory as spool_dir"
        }
        _ => "check the disk of spool_dir",
    };
    StoreError::Failed(format!("{error}; {remedy}"))
}

/// Adapts the agent's clock for the spool.
struct SpoolClock(Arc<dyn Clock>);

impl guard_spool::Clock for SpoolClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall(&self) -> SystemTime {
        self.0.wall()
    }
}

impl fmt::Debug for SpoolClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpoolClock")
    }
}
