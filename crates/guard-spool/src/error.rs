//! Errors.

use std::io;
use std::path::{Path, PathBuf};

/// The file system refused an operation. Nothing is lost, and the caller can try again later.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", .path.display())]
pub struct IoError {
    /// The operation, as a verb.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

/// An option is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} is {value}; {remedy}")]
pub struct OptionsError {
    /// The option's name.
    pub option: &'static str,
    /// Its value.
    pub value: u64,
    /// How to fix it.
    pub remedy: String,
}

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An option is out of its range.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The file system refused an operation.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// Why an append failed. It has then appended none of its records.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A record is larger than the limit; nothing was written.
    #[error("record {position} has {len} bytes, the limit is {limit}")]
    RecordTooLarge {
        /// Its position in the call, from 0.
        position: usize,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The spool is at its limit; nothing was written.
    /// [`discard_oldest`](crate::Spool::discard_oldest) and acknowledgements make
    /// room.
    #[error("the spool holds {used} of {limit} bytes and has no room for {needed}")]
    Full {
        /// Bytes the records need.
        needed: u64,
        /// Bytes in use.
        used: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file system refused an operation.
    #[error(transparent)]
    Io(#[from] IoError),
}

impl IoError {
    /// Somebody removed or replaced a file or directory that is in use.
    pub(crate) fn missing(path: PathBuf) -> Self {
        let why = "it was removed or replaced while in use";
        Self {
            action: "find",
            path,
            source: io::Error::new(io::ErrorKind::NotFound, why),
        }
    }
}

/// Adds operation and path to an error of the system.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, IoError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, IoError> {
        self.map_err(|source| IoError {
            action,
            path: path.to_owned(),
            source,
        })
    }
}
