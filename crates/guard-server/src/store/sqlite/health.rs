//! Whether commits can be trusted: the paths must still name the files that were opened,
//! and no part of the database may be damaged. Logs failures.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rusqlite::{ErrorCode, ffi};

use crate::store::StoreError;
use crate::trouble::TroubleLog;

/// Bytes that a probe writes at most.
const MAX_PROBE: usize = 1024 * 1024;

/// The state of the database while it is open.
#[derive(Debug)]
pub(super) struct Health {
    /// The database, its log, and the index of that.
    files: Vec<File>,
    state: Mutex<HealthState>,
    places: TroubleLog,
    writes: TroubleLog,
    reads: TroubleLog,
}

#[derive(Debug, Default)]
struct HealthState {
    /// A path names another file, or none.
    is_misplaced: bool,
    is_damaged: bool,
    /// Bytes that the last write that failed had; until as many were written, nobody
    /// knows whether the disk has room again.
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

    /// Why the path no longer names this file.
    fn wrong(&self) -> Option<String> {
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
    /// Watches the database that was opened by the name `path` at `real`, where links
    /// are followed, and the files beside it.
    pub(super) fn of(path: &Path, real: &Path) -> io::Result<Self> {
        let beside = ["-wal", "-shm"].map(|suffix| beside(real, suffix));
        let all = std::iter::once(path.to_owned()).chain(beside);
        Ok(Self {
            files: all.map(File::at).collect::<io::Result<_>>()?,
            state: Mutex::default(),
            places: TroubleLog::default(),
            writes: TroubleLog::default(),
            reads: TroubleLog::default(),
        })
    }

    /// Whether all files are in their place.
    pub(super) fn in_place(&self) -> bool {
        let mut files = self.files.iter();
        let wrong = files.find_map(|file| Some((&file.path, file.wrong()?)));
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

    /// Removes the log when another database stands where this one was opened: SQLite would
    /// add to that one what the log holds. Only once the database is closed.
    pub(super) fn remove_stale_log(&self) {
        let Some((database, beside)) = self.files.split_first() else {
            return;
        };
        if !database.path.exists() || database.wrong().is_none() {
            return;
        }
        for file in beside.iter().filter(|file| file.wrong().is_none()) {
            if let Err(error) = fs::remove_file(&file.path) {
                tracing::error!(
                    path = %file.path.display(), %error,
                    "this file does not belong to the database that is there now: remove it"
                );
            }
        }
    }

    /// Why nothing can be stored, as far as it is known before trying.
    pub(super) fn obstacle(&self) -> Option<StoreError> {
        let state = self.state();
        if state.is_misplaced {
            return Some(StoreError::Misplaced);
        }
        state.is_damaged.then_some(StoreError::Damaged)
    }

    /// The error of a call that failed.
    pub(super) fn error(&self) -> StoreError {
        self.obstacle().unwrap_or(StoreError::Unavailable)
    }

    /// Notes that `bytes` could not be written.
    pub(super) fn write_failed(&self, error: &rusqlite::Error, bytes: usize) {
        let bytes = bytes.min(MAX_PROBE);
        let mut state = self.state();
        state.owed = state.owed.max(bytes);
        drop(state);
        if is_damage(error) {
            self.damaged(&error.to_string());
        } else if self.writes.failed(kind(error), Instant::now()) {
            tracing::error!(%error, "a write failed; the log is silent about others until one succeeds");
        }
    }

    /// Notes that `bytes` were committed.
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

    /// Bytes that must be written to know whether writes work again.
    pub(super) fn owed(&self) -> usize {
        self.state().owed
    }

    /// Notes the outcome of a query.
    pub(super) fn queried<T>(&self, outcome: &rusqlite::Result<T>) {
        match outcome {
            Ok(_) => {
                if let Some(failures) = self.reads.succeeded() {
                    tracing::info!(failures, "queries work again");
                }
            }
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

    /// Notes that a check found `what`. Nothing is stored from now on.
    pub(super) fn damaged(&self, what: &str) {
        if !std::mem::replace(&mut self.state().is_damaged, true) {
            tracing::error!(
                what,
                "the database is damaged: nothing is stored from now on; stop guard-server and \
                 restore a backup"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether SQLite found that the file is damaged, or not one of its own.
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
