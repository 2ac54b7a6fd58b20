//! Allows only one server per database. Two servers would replace each other's keys, and each would
//! renew and end bans without the other.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// How often the lock file is opened again if another server removed it at the same moment.
const ATTEMPTS: usize = 100;

/// Why the database cannot be locked.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another server holds the lock.
    #[error(
        "another guard-server ({holder}) uses the database {}, by its lock {}: stop that one, or \
         choose another --data-dir or --database-url", database.display(), lock.display()
    )]
    Held {
        /// The database.
        database: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// The other server, as the lock file names it.
        holder: String,
    },
    /// The directory or the lock file cannot be created.
    #[error("cannot write {}: {source}; choose another --data-dir or --database-url", path.display())]
    Path {
        /// The path that cannot be written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// The lock of a database: a locked file beside it, which contains the server's process id and is
/// removed on drop. The system releases the lock when the process ends, even if it crashes.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// `None` on a file system without locks.
    _file: Option<File>,
}

impl Lock {
    /// Locks `database`. Creates a missing directory, readable for this user only.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if another server holds the lock.
    pub fn take(database: &Path) -> Result<Self, LockError> {
        let database = real(database)?;
        let mut name = database.clone().into_os_string();
        name.push(".lock");
        let path = PathBuf::from(name);
        for _ in 0..ATTEMPTS {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(failed(&path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    note_process(&mut file).map_err(failed(&path))?;
                    let _file = Some(file);
                    return Ok(Self { path, _file });
                }
                // The previous server may have removed the file meanwhile; the locked file must be
                // the one at the path.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    let lock = path;
                    return Err(LockError::Held {
                        database,
                        lock,
                        holder,
                    });
                }
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        %error, path = %path.display(),
                        "this file system has no locks: see that no second server uses the database"
                    );
                    return Ok(Self { path, _file: None });
                }
            }
        }
        let source = io::ErrorKind::ResourceBusy.into();
        Err(LockError::Path { path, source })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the lock was removed already");
        }
    }
}

/// The path without links, so that a database has one lock under all its names.
fn real(database: &Path) -> Result<PathBuf, LockError> {
    if let Ok(real) = database.canonicalize() {
        return Ok(real);
    }
    let directory = match database.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed(directory))?;
    let real = directory.canonicalize().map_err(failed(directory))?;
    Ok(real.join(database.file_name().unwrap_or_default()))
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    let opened = file.metadata().map(identity).ok();
    opened.is_some() && opened == path.metadata().map(identity).ok()
}

fn note_process(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut process = String::new();
    match file.take(20).read_to_string(&mut process) {
        Ok(_) if process.trim().parse::<u32>().is_ok() => format!("process {}", process.trim()),
        _ => "its process is not known yet".to_owned(),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> LockError {
    let path = path.to_owned();
    move |source| LockError::Path {
        path: path.clone(),
        source,
    }
}
