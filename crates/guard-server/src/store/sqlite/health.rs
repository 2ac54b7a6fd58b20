//! Decides whether commits can be trusted: the paths must still lead to the files that were opened,
//! and no part of the database may be damaged. Logs failures.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{ErrorCode, ffi};

use crate::monitoring::StoreMeters;
use crate::store::StoreError;
use crate::trouble::TroubleLog;

/// How often a database that seemed damaged is checked in full.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// The most bytes that a probe writes.
const MAX_PROBE: usize = 1024 * 1024;

/// The state of the database while it is open.
#[derive(Debug)]
pub(super) struct Health {
    /// The database, its log (WAL), and the log's index.
    files: Vec<File>,
    pub(super) meters: StoreMeters,
    state: Mutex<HealthState>,
    places: TroubleLog,
    writes: TroubleLog,
    reads: TroubleLog,
}

#[derive(Debug, Default)]
struct HealthState {
    /// Whether a path leads to another file, or to none.
    is_misplaced: bool,
    is_damaged: bool,
    /// When the next full check decides whether it still is.
    check_from: Option<Instant>,
    /// The size of the last failed write. Until a write of this size succeeds, it is unknown
    /// whether the disk has room again.
    owed: usize,
}

/// A path and the file that was opened there: its device and inode.
#[derive(Debug)]
struct File {
    path: PathBuf,
    id: (u64, u64),
}

impl File {
    fn at(path: PathBuf) -> io::Result<Self> {
        let id = id(&path.metadata()?);
        Ok(Self { path, id })
    }

    /// Why the path no longer leads to this file, if so.
    fn mismatch(&self) -> Option<String> {
        match self.path.metadata() {
            Ok(found) if id(&found) == self.id => None,
            Ok(_) => Some("another file is in its place".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }
}

fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Health {
    /// Watches the database and the files beside it. It was opened by the name `path`; `real` is
    /// the path without links.
    pub(super) fn of(path: &Path, real: &Path) -> io::Result<Self> {
        let beside = ["-wal", "-shm"].map(|suffix| beside(real, suffix));
        let all: Vec<_> = std::iter::once(path.to_owned()).chain(beside).collect();
        Ok(Self {
            meters: StoreMeters::of(all.clone()),
            files: all.into_iter().map(File::at).collect::<io::Result<_>>()?,
            state: Mutex::default(),
            places: TroubleLog::default(),
            writes: TroubleLog::default(),
            reads: TroubleLog::default(),
        })
    }

    /// Whether all files are in place.
    pub(super) fn in_place(&self) -> bool {
        let mut files = self.files.iter();
        let wrong = files.find_map(|file| Some((&file.path, file.mismatch()?)));
        self.state().is_misplaced = wrong.is_some();
        if let Some((path, wrong)) = wrong {
            if self.places.failed(0, Instant::now()) {
                tracing::error!(
                    path = %path.display(), %wrong,
                    "the database was moved, removed or replaced: nothing is stored until it is \
                     back; restart guard-server to use what is there now"
                );
            }
            return false;
        }
        if self.places.succeeded().is_some() {
            tracing::info!("the database is back in its place");
        }
        true
    }

    /// Removes the log if another database is now at this path: SQLite would write the content of
    /// the log into that database. Call it only after the database is closed.
    pub(super) fn remove_stale_log(&self) {
        let Some((database, beside)) = self.files.split_first() else {
            return;
        };
        if !database.path.exists() || database.mismatch().is_none() {
            return;
        }
        for file in beside.iter().filter(|file| file.mismatch().is_none()) {
            if let Err(error) = fs::remove_file(&file.path) {
                tracing::error!(
                    path = %file.path.display(), %error,
                    "this file does not belong to the database that is there now: remove it"
                );
            }
        }
    }

    /// A known reason why nothing can be stored, before trying.
    pub(super) fn obstacle(&self) -> Option<StoreError> {
        let state = self.state();
        if state.is_misplaced {
            return Some(StoreError::Misplaced);
        }
        state.is_damaged.then_some(StoreError::Damaged)
    }

    /// The error for a failed call.
    pub(super) fn error(&self) -> StoreError {
        self.obstacle().unwrap_or(StoreError::Unavailable)
    }

    /// Records that a write of `bytes` failed.
    pub(super) fn write_failed(&self, error: &rusqlite::Error, bytes: usize) {
        self.meters.write_failed();
        let bytes = bytes.min(MAX_PROBE);
        let mut state = self.state();
        state.owed = state.owed.max(bytes);
        drop(state);
        if !self.in_place() {
            // That is the cause, and logged.
        } else if is_damage(error) {
            self.damaged(&error.to_string());
        } else if self.writes.failed(kind(error), Instant::now()) {
            tracing::error!(%error, "a write failed; the log is silent about others until one succeeds");
        }
    }

    /// Records that `bytes` were committed.
    pub(super) fn committed(&self, bytes: usize) {
        let mut state = self.state();
        if bytes.min(MAX_PROBE) < state.owed {
            return;
        }
        state.owed = 0;
        drop(state);
        if let Some(failures) = self.writes.succeeded() {
            tracing::info!(failures, "writing works again");
        }
    }

    /// How many bytes a probe must write to show that writes work again.
    pub(super) fn owed(&self) -> usize {
        self.state().owed
    }

    /// Records the result of a query.
    pub(super) fn queried<T>(&self, outcome: &rusqlite::Result<T>) {
        match outcome {
            Ok(_) => {
                if let Some(failures) = self.reads.succeeded() {
                    tracing::info!(failures, "queries work again");
                }
            }
            // That is the cause, and logged.
            Err(_) if !self.in_place() => {}
            Err(error) if is_damage(error) => self.damaged(&error.to_string()),
            Err(error) => {
                if self.reads.failed(kind(error), Instant::now()) {
                    tracing::error!(
                        %error,
                        "a query failed; the log is silent about others until one succeeds"
                    );
                }
            }
        }
    }

    /// Records that a check found damage. From now on nothing is stored.
    pub(super) fn damaged(&self, what: &str) {
        if !std::mem::replace(&mut self.state().is_damaged, true) {
            tracing::error!(
                what,
                "the database is damaged: nothing is stored from now on; stop guard-server and \
                 restore a backup"
            );
        }
    }

    /// Whether a full check is due, because damage was found. Then the next one is due later.
    pub(super) fn takes_check(&self, now: Instant) -> bool {
        let mut state = self.state();
        let is_due = state.is_damaged && state.check_from.is_none_or(|from| now >= from);
        if is_due {
            state.check_from = Some(now + CHECK_EVERY);
        }
        is_due
    }

    /// Records that a full check found no damage.
    pub(super) fn undamaged(&self) {
        if std::mem::replace(&mut self.state().is_damaged, false) {
            tracing::info!(
                "a full check found no damage: the disk had failed, and records are stored again"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether SQLite found that the file is damaged or not a database.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// The path of a file that SQLite keeps beside the database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn kind(error: &rusqlite::Error) -> i32 {
    error
        .sqlite_error()
        .map_or(ffi::SQLITE_ERROR, |error| error.extended_code)
}
