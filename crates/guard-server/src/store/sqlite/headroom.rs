//! Room that the server keeps for a full disk: a file beside the database that holds nothing. When
//! the disk is full, the file is removed. From then on records are refused, and what is left goes to
//! all else: people sign in, change rules and remove data. When there is room again, the file is
//! made again.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::ErrorCode;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::health::beside;

/// The size of the file.
const BYTES: u64 = 8 << 20;
/// On a small disk it takes one part of this many.
const PART: u64 = 16;

/// The room that is kept. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct Headroom {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The file is there.
    Kept,
    /// The disk is full, so the room is used.
    GivenUp,
    /// The file system cannot keep room, or this process is no server.
    None,
}

impl Headroom {
    /// Keeps room beside the database, if its disk has it.
    pub(super) fn keep(database: &Path) -> Self {
        let headroom = Self {
            path: beside(database, "-headroom"),
            state: Mutex::new(State::GivenUp),
        };
        headroom.restore();
        headroom
    }

    /// Keeps none.
    pub(super) fn none() -> Self {
        Self {
            path: PathBuf::new(),
            state: Mutex::new(State::None),
        }
    }

    /// Gives up the room if `error` says that the disk is full. Returns whether it did just now.
    pub(super) fn give_up(&self, error: &rusqlite::Error) -> bool {
        let mut state = self.state();
        if *state != State::Kept || error.sqlite_error_code() != Some(ErrorCode::DiskFull) {
            return false;
        }
        *state = State::GivenUp;
        // It may be gone already. Then the room is, too.
        let _ = fs::remove_file(&self.path);
        tracing::error!(
            "the disk is full: records are refused until there is room; signing in, changing rules \
             and removing data use what the server had kept for that"
        );
        true
    }

    /// Whether the room is in use, so that records must be refused.
    pub(super) fn is_given_up(&self) -> bool {
        *self.state() == State::GivenUp
    }

    /// Keeps the room again, if the disk has it and as much beyond.
    pub(super) fn restore(&self) {
        let mut state = self.state();
        if *state != State::GivenUp {
            return;
        }
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let Ok(disk) = statvfs(directory) else {
            *state = State::None;
            return;
        };
        let [free, total] = [disk.f_bavail, disk.f_blocks].map(|n| n.saturating_mul(disk.f_frsize));
        let bytes = BYTES.min(total / PART);
        if free < bytes.saturating_mul(2) {
            return;
        }
        *state = match make(&self.path, bytes) {
            Ok(()) => State::Kept,
            Err(error) if error.kind() == ErrorKind::StorageFull => State::GivenUp,
            Err(error) => {
                tracing::debug!(%error, "no room can be kept for a full disk");
                State::None
            }
        };
        if *state != State::Kept {
            let _ = fs::remove_file(&self.path);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Headroom {
    fn drop(&mut self) {
        if *self.state() == State::Kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn make(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.create(true).write(true).truncate(true).mode(0o600);
    let file = file.open(path)?;
    Ok(fallocate(&file, FallocateFlags::empty(), 0, bytes)?)
}
