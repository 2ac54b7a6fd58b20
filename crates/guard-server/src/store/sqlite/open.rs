//! Opening the file. What was there is checked and never replaced; what is new comes to
//! its path complete.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

use super::health::{beside, is_damage};
use super::{BUSY_TIMEOUT, probe, schema};

/// Idempotency keys are random, so each lands on another page of its index:
/// a cache that holds the pages in use saves reading them again and again.
const WRITER_CACHE_KIB: i64 = 64 * 1024;
/// Pages of 4 KiB in the log before they are moved into the file. The same page
/// changes many times on the way and is moved once.
const CHECKPOINT_PAGES: i64 = 4096;
/// How long the check of a file takes at most; the rest of a large one is unchecked.
const CHECK_TIME: Duration = Duration::from_secs(5);
/// Read and write what is there; SQLite makes no file.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory or file cannot be made or written.
    #[error("cannot write {}: {source}; choose another --data-dir or --database-url", path.display())]
    Path {
        /// What cannot be written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no file yet.
    #[error("no database {} yet: start guard-server once first, or name the folder of its data with --data-dir", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The file is gone, but not what SQLite keeps beside it.
    #[error(
        "the database {0} is gone, but {0}-wal, which belongs to it, is not: put the database back \
         or restore a backup; to start with an empty one, move {0}-wal away", path.display()
    )]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// The file has no content.
    #[error(
        "the database {0} is there, but empty: remove it, and {0}-wal if it is there; then restore \
         a backup, or start with an empty one", path.display()
    )]
    Empty {
        /// Where it is.
        path: PathBuf,
    },
    /// The file is not whole.
    #[error(
        "cannot open the database {0}: it is damaged ({what}): move it away, and {0}-wal if it is \
         there; then restore a backup, or start with an empty one", path.display()
    )]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The file belongs to another program.
    #[error(
        "{} is a database, but not one of guard-server: choose another --data-dir or \
         --database-url", path.display()
    )]
    Foreign {
        /// Where it is.
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

/// Makes the database at `path`, and its directory, where they are missing: readable for
/// this user only. SQLite gives the files beside it the same mode.
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
    // That it is found after a power cut. Not every file system can promise it.
    let _ = fs::File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

/// A server that ends meanwhile leaves nothing at `path`.
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
    schema::migrate(&mut connection)?;
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

/// Opens what is at `path` to write; with `is_checked` only if nothing is wrong with it.
pub(super) fn existing(path: &Path, is_checked: bool) -> Result<Connection, OpenError> {
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
    // Until it is known to be whole, closing it must not move the log into it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let what = match prepare(&mut connection, path, is_checked) {
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
) -> Result<Option<String>, OpenError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    if schema::version(connection)? == 0 {
        let path = path.to_owned();
        return Err(OpenError::Foreign { path });
    }
    if is_checked && let Some(what) = probe::check(connection, CHECK_TIME)? {
        return Ok(Some(what));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    schema::migrate(connection)?;
    Ok(None)
}
