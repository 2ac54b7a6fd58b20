//! Opens the file. An existing file is checked and never replaced. A new file is complete before it
//! appears at its path.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

use super::health::{beside, is_damage};
use super::{BUSY_TIMEOUT, probe, schema, telemetry};
use crate::store::Progress;

/// Holds the right edge of each table and the rollups of the hours in use, so that writing seldom
/// reads.
const WRITER_CACHE_KIB: i64 = 64 * 1024;
/// Pages of 4 KiB in the log before they are moved into the file. A page that changes many times in
/// between is moved only once.
const CHECKPOINT_PAGES: i64 = 4096;
/// The log may grow while a reader is slow. Afterwards it is cut to this many bytes.
const MAX_IDLE_LOG: i64 = 64 * 1024 * 1024;
/// The time limit for checking a file. In a large file the rest stays unchecked.
const CHECK_TIME: Duration = Duration::from_secs(5);
/// Read and write an existing file; SQLite creates none.
pub(super) const FLAGS: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory or file cannot be created or written.
    #[error("cannot write {}: {source}; choose another --data-dir or --database-url", path.display())]
    Path {
        /// The path that cannot be written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file does not exist.
    #[error("no database {} yet: start guard-server once first, or name the folder of its data with --data-dir", path.display())]
    Missing {
        /// The expected path.
        path: PathBuf,
    },
    /// The file is gone, but the files that SQLite keeps beside it still exist.
    #[error(
        "the database {0} is gone, but {0}-wal, which belongs to it, is not: put the database back \
         or restore a backup; to start with an empty one, move {0}-wal away", path.display()
    )]
    Gone {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file is empty.
    #[error(
        "the database {0} is there, but empty: remove it, and {0}-wal if it is there; then restore \
         a backup, or start with an empty one", path.display()
    )]
    Empty {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "cannot open the database {0}: it is damaged ({what}): move it away, and {0}-wal if it is \
         there; then restore a backup, or start with an empty one", path.display()
    )]
    Damaged {
        /// The path of the file.
        path: PathBuf,
        /// The damage that was found.
        what: String,
    },
    /// The file belongs to another program.
    #[error(
        "{} is a database, but not one of guard-server: choose another --data-dir or \
         --database-url", path.display()
    )]
    Foreign {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file was written by a newer server.
    #[error(
        "the database has schema version {found}, this server knows {known}: use a newer guard-server"
    )]
    Newer {
        /// The file's version.
        found: u32,
        /// The newest known version.
        known: u32,
    },
    /// The file is not a usable database.
    #[error("cannot open the database: {0}")]
    Database(#[from] rusqlite::Error),
}

/// Creates the database at `path` and its directory if they are missing, readable for this user
/// only. SQLite creates the files beside it with the same mode.
pub(super) fn make_missing(path: &Path) -> Result<(), OpenError> {
    match path.metadata() {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(path)(error)),
    }
    if beside(path, "-wal").metadata().is_ok_and(|it| it.len() > 0) {
        let path = path.to_owned();
        return Err(OpenError::Gone { path });
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed(directory))?;
    make(path)?;
    // Makes the file survive a power cut. Not every file system can promise that.
    let _ = fs::File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

/// Creates the file. If the server ends meanwhile, nothing is left at `path`.
fn make(path: &Path) -> Result<(), OpenError> {
    let new = beside(path, "-new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&new)(error)),
        _ => {}
    }
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed(&new))?;
    let mut connection = Connection::open_with_flags(&new, FLAGS)?;
    // Only before the first table. Retention can then return room to the disk.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    schema::migrate(&mut connection, &Progress::default())?;
    connection.close().map_err(|(_, error)| error)?;
    fs::rename(&new, path).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Path {
        path: path.clone(),
        source,
    }
}

fn warn_if_readable(path: &Path, mode: u32) {
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(), mode = %format_args!("{:o}", mode & 0o777),
            "the database holds secrets, and others than its owner may open it: chmod 600"
        );
    }
}

/// Opens the existing file for writing. With `is_checked`, only if the file has no damage.
pub(super) fn existing(
    path: &Path,
    is_checked: bool,
    progress: &Progress,
) -> Result<Connection, OpenError> {
    let found = path.metadata().map_err(|error| match error.kind() {
        ErrorKind::NotFound => OpenError::Missing {
            path: path.to_owned(),
        },
        _ => failed(path)(error),
    })?;
    if found.len() == 0 {
        let path = path.to_owned();
        return Err(OpenError::Empty { path });
    }
    let mut connection = Connection::open_with_flags(path, FLAGS)?;
    // Until the check has passed, closing the file must not move the log into it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let what = match prepare(&mut connection, path, is_checked, progress) {
        Ok(found) => found,
        Err(OpenError::Database(error)) if is_damage(&error) => Some(error.to_string()),
        Err(error) => return Err(error),
    };
    if let Some(what) = what {
        let path = path.to_owned();
        return Err(OpenError::Damaged { path, what });
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    if is_checked {
        warn_if_readable(path, found.permissions().mode());
    }
    Ok(connection)
}

/// Returns what is damaged.
fn prepare(
    connection: &mut Connection,
    path: &Path,
    is_checked: bool,
    progress: &Progress,
) -> Result<Option<String>, OpenError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", MAX_IDLE_LOG)?;
    if schema::version(connection)? == 0 {
        let path = path.to_owned();
        return Err(OpenError::Foreign { path });
    }
    if is_checked && let Some(what) = probe::check(connection, CHECK_TIME)? {
        return Ok(Some(what));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    schema::migrate(connection, progress)?;
    // First, because records that are moved are summed up as they are stored.
    telemetry::fill(connection, progress)?;
    telemetry::convert(connection, progress)?;
    if is_checked {
        make_shrinkable(connection, progress)?;
    }
    Ok(None)
}

/// Lets the file of an older server return room to the disk. This rewrites the file, once. If the
/// server is stopped meanwhile, the file is as before, and the next start does it.
fn make_shrinkable(connection: &Connection, progress: &Progress) -> rusqlite::Result<()> {
    let mode: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if mode != 0 {
        return Ok(());
    }
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    progress.begin(format!(
        "rewriting its {pages} pages once, so that the file can shrink"
    ));
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    match connection.execute_batch("VACUUM") {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!(
                "no room to rewrite the database, so it cannot shrink: free as much room as it \
                 takes, and start again"
            );
            Ok(())
        }
        outcome => outcome,
    }
}
