//! Backups: a copy of the whole database, taken while a server writes. A copy counts only after it
//! was opened, checked in full, and has as many rows in each table as the database had.
//!
//! The copy is one consistent state. Until it is complete, SQLite cannot reuse its log (WAL), so the
//! log grows by what is written meanwhile: up to [`MAX_GROWTH`], then the backup gives up. Writers
//! never wait.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

use super::health::{beside, is_damage};
use super::open::{FLAGS, OpenError};
use super::{BUSY_TIMEOUT, Lock, LockError, absolute, probe, schema};

/// Pages that are copied at once, 4 MiB.
const SLICE: i32 = 1024;
/// How much the log may grow while the database is copied.
const MAX_GROWTH: u64 = 1 << 30;
/// The pause while another process has the file locked.
const PAUSE: Duration = Duration::from_millis(10);

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// The size of the file.
    pub bytes: u64,
    /// The rows of all tables.
    pub rows: u64,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The file for the backup is there already.
    #[error("{} is there already: choose another name, or remove it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Path {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The database, or the backup to restore, cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy differs from the database.
    #[error("the copy is not valid ({what}), so it was removed: check the disk, and try again")]
    Invalid {
        /// What differs.
        what: String,
    },
    /// Too much was written while the database was copied.
    #[error(
        "the log of the database grew by {} MiB while it was copied, so the copy was removed: copy \
         to a faster disk, or while less is written", grown >> 20
    )]
    TooSlow {
        /// The bytes that the log grew.
        grown: u64,
    },
    /// The file to restore has a log beside it.
    #[error(
        "{0} has a log, {0}-wal, so it is no backup made by `guard-server backup`: open it with \
         --database-url sqlite://{0}, and make a backup of it", path.display()
    )]
    HasLog {
        /// The file.
        path: PathBuf,
    },
    /// A server uses the database, or its directory cannot be written.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is a database, which would be replaced.
    #[error(
        "the database {} is there: give --replace to move it aside and restore the backup in its \
         place", path.display()
    )]
    WouldReplace {
        /// The database.
        path: PathBuf,
    },
}

/// Copies `database` to the new file `target`, while a server may be running. Changes nothing in
/// the database, whatever its schema version is.
///
/// # Errors
///
/// [`BackupError`]; then there is no file at `target`.
pub fn back_up(database: &Path, target: &Path) -> Result<BackupReport, BackupError> {
    let (database, target) = (absolute(database)?, absolute(target)?);
    if target.exists() {
        return Err(BackupError::Exists { path: target });
    }
    let source = readable(&database)?;
    let partial = beside(&target, ".partial");
    let made = copy(&source, &database, &partial).and_then(|report| {
        fs::rename(&partial, &target).map_err(failed(&target))?;
        sync_directory(&target);
        Ok(report)
    });
    if made.is_err() {
        // It may not exist. The error above says what is wrong.
        let _ = fs::remove_file(&partial);
    }
    made
}

/// Puts `backup` in the place of `database`, after a full check of it. Returns where the database
/// that was there is now.
///
/// # Errors
///
/// [`BackupError`]; then the database is as it was.
pub fn restore(
    backup: &Path,
    database: &Path,
    may_replace: bool,
) -> Result<(BackupReport, Option<PathBuf>), BackupError> {
    let _lock = Lock::take(database)?;
    let (backup, database) = (absolute(backup)?, absolute(database)?);
    let database = database.canonicalize().unwrap_or(database);
    let has_log = |path: &Path| beside(path, "-wal").metadata().is_ok_and(|it| it.len() > 0);
    let is_there = database.exists() || has_log(&database);
    if is_there && !may_replace {
        return Err(BackupError::WouldReplace { path: database });
    }
    if has_log(&backup) {
        return Err(BackupError::HasLog { path: backup });
    }
    let new = beside(&database, "-restoring");
    let restored = copy_file(&backup, &new).and_then(|()| {
        let report = checked(&new, &backup)?;
        let aside = is_there.then(|| move_aside(&database)).transpose()?;
        fs::rename(&new, &database).map_err(failed(&database))?;
        sync_directory(&database);
        Ok((report, aside))
    });
    if restored.is_err() {
        // It may not exist. The error above says what is wrong.
        let _ = fs::remove_file(&new);
    }
    restored
}

/// What a check of a database found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// The schema version of the file.
    pub version: u32,
    /// The schema version of this program.
    pub known: u32,
    /// Whether the check reached the end of the file in time.
    pub is_whole: bool,
}

/// Checks `database` for at most `time`, while a server may be running. Changes nothing.
///
/// # Errors
///
/// [`OpenError`] if a server cannot use it.
pub fn inspect(database: &Path, time: Duration) -> Result<Inspection, BackupError> {
    let database = absolute(database)?;
    let mut connection = readable(&database)?;
    let of_database = sqlite_failed(&database);
    let (version, known) = (
        schema::version(&connection).map_err(&of_database)?,
        schema::VERSION,
    );
    if version > known {
        let found = version;
        return Err(OpenError::Newer { found, known }.into());
    }
    let begun = Instant::now();
    if let Some(what) = probe::check(&mut connection, time).map_err(&of_database)? {
        let path = database.clone();
        return Err(OpenError::Damaged { path, what }.into());
    }
    Ok(Inspection {
        version,
        known,
        is_whole: begun.elapsed() < time,
    })
}

/// Opens `database` for reading, if a server could open it.
fn readable(database: &Path) -> Result<Connection, BackupError> {
    let path = database.to_owned();
    match database.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(OpenError::Missing { path }.into());
        }
        Err(source) => return Err(OpenError::Path { path, source }.into()),
        Ok(found) if found.len() == 0 => return Err(OpenError::Empty { path }.into()),
        Ok(_) => {}
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(database, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let version = schema::version(&connection)?;
        Ok((connection, version))
    });
    match opened.map_err(sqlite_failed(database))? {
        (_, 0) => Err(OpenError::Foreign { path }.into()),
        (connection, _) => Ok(connection),
    }
}

/// Copies the database that `source` has open to `partial`, and compares.
fn copy(source: &Connection, database: &Path, partial: &Path) -> Result<BackupReport, BackupError> {
    make_empty(partial)?;
    let of_source = sqlite_failed(database);
    begin(source).map_err(&of_source)?;
    let log = Log::of(database, MAX_GROWTH);
    copy_pages(source, partial, &of_source, &log)?;
    let expected = row_counts(source).map_err(&of_source)?;
    source.execute_batch("COMMIT").map_err(&of_source)?;
    let report = checked(partial, database)?;
    let copy = Connection::open_with_flags(partial, FLAGS).map_err(sqlite_failed(partial))?;
    let found = row_counts(&copy).map_err(sqlite_failed(partial))?;
    if found != expected {
        let differs = expected
            .iter()
            .find(|(table, n)| found.get(*table) != Some(*n));
        let table = differs.map_or("a table", |(table, _)| table);
        let what = format!("{table} has another number of rows");
        return Err(BackupError::Invalid { what });
    }
    Ok(report)
}

/// Begins one transaction, so that all slices and the counts are of the same state. It begins with the
/// first read: `BEGIN` alone would leave each slice its own state.
fn begin(source: &Connection) -> rusqlite::Result<()> {
    source.execute_batch("BEGIN")?;
    schema::version(source).map(drop)
}

/// The log of a database, and how much it may grow.
struct Log {
    path: PathBuf,
    bytes: u64,
    most: u64,
}

impl Log {
    fn of(database: &Path, most: u64) -> Self {
        let mut log = Self {
            path: beside(database, "-wal"),
            bytes: 0,
            most,
        };
        log.bytes = log.size();
        log
    }

    fn size(&self) -> u64 {
        self.path.metadata().map_or(0, |found| found.len())
    }

    fn check(&self) -> Result<(), BackupError> {
        let grown = self.size().saturating_sub(self.bytes);
        if grown > self.most {
            return Err(BackupError::TooSlow { grown });
        }
        Ok(())
    }
}

fn copy_pages(
    source: &Connection,
    partial: &Path,
    failed: impl Fn(rusqlite::Error) -> BackupError,
    log: &Log,
) -> Result<(), BackupError> {
    let mut copy = Connection::open_with_flags(partial, FLAGS).map_err(&failed)?;
    // The copy is synced once, at its end, and removed if that fails.
    copy.pragma_update(None, "synchronous", "OFF")
        .map_err(&failed)?;
    let backup = Backup::new(source, &mut copy).map_err(&failed)?;
    loop {
        log.check()?;
        match backup.step(SLICE).map_err(&failed)? {
            StepResult::Done => return Ok(()),
            StepResult::Busy | StepResult::Locked => std::thread::sleep(PAUSE),
            _ => {}
        }
    }
}

/// Opens the copy at `path` of the database `original`, and checks it in full. Leaves it as one
/// synced file.
fn checked(path: &Path, original: &Path) -> Result<BackupReport, BackupError> {
    let of_copy = sqlite_failed(original);
    let copy = Connection::open_with_flags(path, FLAGS).map_err(&of_copy)?;
    match schema::version(&copy).map_err(&of_copy)? {
        0 => {
            let path = original.to_owned();
            return Err(OpenError::Foreign { path }.into());
        }
        found if found > schema::VERSION => {
            let known = schema::VERSION;
            return Err(OpenError::Newer { found, known }.into());
        }
        _ => {}
    }
    // A server sets it to WAL again.
    copy.pragma_update(None, "journal_mode", "DELETE")
        .map_err(&of_copy)?;
    let found: String = copy
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(&of_copy)?;
    if found != "ok" {
        let path = original.to_owned();
        let what = found.lines().collect::<Vec<_>>().join(" ");
        return Err(OpenError::Damaged { path, what }.into());
    }
    let rows = row_counts(&copy).map_err(&of_copy)?.values().sum();
    copy.close().map_err(|(_, error)| of_copy(error))?;
    let file = File::open(path).map_err(failed(path))?;
    file.sync_all().map_err(failed(path))?;
    let bytes = file.metadata().map_err(failed(path))?.len();
    Ok(BackupReport { bytes, rows })
}

fn row_counts(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut tables = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let names = tables.query_map([], |row| row.get::<_, String>(0))?;
    names
        .map(|name| {
            let name = name?;
            let count = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
            let n: i64 = connection.query_row(&count, [], |row| row.get(0))?;
            Ok((name, u64::try_from(n).unwrap_or(0)))
        })
        .collect()
}

/// Moves the database and its log to other names, and returns the database's. The database stays at
/// its path as well until the new one replaces it.
fn move_aside(database: &Path) -> Result<PathBuf, BackupError> {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let aside = beside(database, &format!("-replaced-{now}"));
    if database.exists() && fs::hard_link(database, &aside).is_err() {
        // Not every file system has links.
        fs::rename(database, &aside).map_err(failed(&aside))?;
    }
    for suffix in ["-wal", "-shm"] {
        match fs::rename(beside(database, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed(&aside)(error));
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut from_file = File::open(from).map_err(failed(from))?;
    let mut to_file = make_empty(to)?;
    io::copy(&mut from_file, &mut to_file).map_err(failed(to))?;
    Ok(())
}

/// Creates an empty file for this user only, in place of one that an earlier attempt left.
fn make_empty(path: &Path) -> Result<File, BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(path)(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let options = options.create_new(true).write(true).mode(0o600);
    options.open(path).map_err(failed(path))
}

/// Makes a rename survive a power cut. Not every file system can promise that.
fn sync_directory(file: &Path) {
    if let Some(directory) = file.parent() {
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Path {
        path: path.clone(),
        source,
    }
}

fn sqlite_failed(path: &Path) -> impl Fn(rusqlite::Error) -> BackupError {
    let path = path.to_owned();
    move |error| {
        let path = path.clone();
        let error = if is_damage(&error) {
            let what = error.to_string();
            OpenError::Damaged { path, what }
        } else {
            OpenError::Database(error)
        };
        error.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_and_counts_are_of_the_state_at_the_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard.db");
        drop(crate::store::open(&path).unwrap());
        let other = Connection::open_with_flags(&path, FLAGS).unwrap();
        let source = readable(&path).unwrap();
        begin(&source).unwrap();
        other
            .execute_batch("INSERT INTO probes (id, at, content) VALUES (1, 0, x'')")
            .unwrap();
        assert_eq!(row_counts(&source).unwrap()["probes"], 0);
        let partial = folder.path().join("partial");
        make_empty(&partial).unwrap();
        let log = Log::of(&path, MAX_GROWTH);
        copy_pages(&source, &partial, sqlite_failed(&path), &log).unwrap();
        let copy = Connection::open_with_flags(&partial, FLAGS).unwrap();
        assert_eq!(row_counts(&copy).unwrap()["probes"], 0);
        source.execute_batch("COMMIT").unwrap();
        assert_eq!(row_counts(&source).unwrap()["probes"], 1);
    }

    #[test]
    fn a_backup_gives_up_when_the_log_grows_too_much_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard.db");
        drop(crate::store::open(&path).unwrap());
        let other = Connection::open_with_flags(&path, FLAGS).unwrap();
        let source = readable(&path).unwrap();
        begin(&source).unwrap();
        let log = Log::of(&path, 1 << 20);
        let write =
            "INSERT OR REPLACE INTO probes (id, at, content) VALUES (1, 0, randomblob(2000000))";
        other.execute_batch(write).unwrap();
        let partial = folder.path().join("partial");
        make_empty(&partial).unwrap();
        let copied = copy_pages(&source, &partial, sqlite_failed(&path), &log);
        let error = copied.unwrap_err();
        assert!(
            matches!(error, BackupError::TooSlow { grown } if grown > 1 << 20),
            "{error}"
        );
    }
}
