//! The embedded store: one SQLite file in WAL mode. One thread writes. Reads use separate
//! connections on blocking threads.

mod alerts;
mod audit;
mod backup;
mod fleet;
mod headroom;
mod health;
mod lock;
mod losses;
mod open;
mod pace;
mod people;
mod probe;
mod projects;
mod room;
mod rules;
mod schema;
mod search;
mod sweep;
mod telemetry;
mod usage;
mod views;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

pub use self::backup::{BackupError, BackupReport, Inspection, back_up, inspect, restore};
use self::headroom::Headroom;
use self::health::Health;
pub use self::lock::{Lock, LockError};
pub use self::open::OpenError;
use self::pace::Speed;
use self::search::{QUERY_TIME, SEARCHES};
use self::telemetry::Names;
use self::writer::Writer;
use super::{Progress, StoreError};

/// How long a connection waits for another process, such as `guard-server rules set`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many queries run at the same time, each with a separate connection and thread. This limits
/// the cost when a thousand agents ask at once.
const READERS: usize = 8;
/// The time limit for the check that decides whether a database is still damaged. A larger database
/// needs a restart, or a backup.
const FULL_CHECK_TIME: Duration = Duration::from_secs(10);
/// The time limit for the check within a probe.
const PROBE_CHECK_TIME: Duration = Duration::from_millis(20);

/// The embedded store. Dropping it waits for the last write and closes the file.
#[derive(Debug)]
pub struct Sqlite {
    // Closed first. The last connection must be able to write, because it moves the content of the
    // log into the file.
    readers: Arc<Readers>,
    writer: Writer,
    health: Arc<Health>,
    headroom: Arc<Headroom>,
    /// The dictionaries of telemetry. Only the writer uses them.
    names: Arc<Mutex<Names>>,
    /// How long a query of people may take.
    query_time: Duration,
    speeds: Arc<Speeds>,
}

/// How fast the kinds of maintenance are.
#[derive(Debug, Default)]
struct Speeds {
    /// Removing old events.
    events: Speed,
    /// Removing old metrics.
    metrics: Speed,
    /// Removing old sums of metrics, and names.
    rollups: Speed,
    /// Returning pages to the disk.
    pages: Speed,
    /// Removing the rows of removed projects.
    rows: Speed,
}

impl Sqlite {
    /// Opens the database at `path`. Creates it and its directory if they are missing, readable for
    /// this user only. Checks an existing database first, and never replaces it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it cannot be written, is empty or damaged, or is not a database that this
    /// server knows.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, &Progress::default())
    }

    /// The same as [`open`](Self::open), and tells `progress` how far it is.
    ///
    /// # Errors
    ///
    /// [`OpenError`], as [`open`](Self::open).
    pub fn open_with(path: &Path, progress: &Progress) -> Result<Self, OpenError> {
        let path = absolute(path)?;
        open::make_missing(&path)?;
        Self::start(path, true, progress)
    }

    /// Opens the existing database at `path` while a server may be running, at once and without the
    /// check. Never creates one.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it does not exist, cannot be written, or is not a database that this server
    /// knows.
    pub fn open_existing(path: &Path) -> Result<Self, OpenError> {
        Self::start(absolute(path)?, false, &Progress::default())
    }

    fn start(path: PathBuf, is_checked: bool, progress: &Progress) -> Result<Self, OpenError> {
        let connection = open::existing(&path, is_checked, progress)?;
        let failed = |source| OpenError::Path {
            path: path.clone(),
            source,
        };
        let real = path.canonicalize().map_err(failed)?;
        let health = Arc::new(Health::of(&path, &real).map_err(failed)?);
        let headroom = if is_checked {
            Headroom::keep(&real)
        } else {
            Headroom::none()
        };
        let headroom = Arc::new(headroom);
        let writer = Writer::start(connection, Arc::clone(&health), Arc::clone(&headroom));
        let writer = writer.map_err(failed)?;
        Ok(Self {
            readers: Arc::new(Readers {
                path: real,
                health: Arc::clone(&health),
                idle: Mutex::default(),
                turns: Arc::new(Semaphore::new(READERS)),
                searches: Arc::new(Semaphore::new(SEARCHES)),
            }),
            writer,
            health,
            headroom,
            names: Arc::default(),
            query_time: QUERY_TIME,
            speeds: Arc::default(),
        })
    }

    /// Commits as many bytes as the last failed write had, and checks for damage.
    async fn probe(&self) -> Result<(), StoreError> {
        self.takes_records()?;
        let owed = self.health.owed();
        self.writer
            .write(owed, move |connection| {
                probe::write(connection, owed, Timestamp::now())
            })
            .await?;
        let found = self.blocking(|readers| probe::check(&mut readers.open()?, PROBE_CHECK_TIME));
        if let Some(what) = found.await? {
            self.health.damaged(&what);
            return Err(StoreError::Damaged);
        }
        Ok(())
    }

    /// Refuses records while the disk is full: the room that is left is for other things.
    fn takes_records(&self) -> Result<(), StoreError> {
        if self.headroom.is_given_up() {
            return Err(StoreError::Full);
        }
        Ok(())
    }

    /// Runs `query` on a reader connection and a blocking thread.
    pub(in crate::store) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.blocking(|readers| readers.with(|connection| query(connection)))
            .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Readers) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let turn = Arc::clone(&readers.turns).acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Unavailable)?;
        let outcome = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let outcome = work(&readers);
            readers.health.queried(&outcome);
            outcome
        })
        .await;
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(self.health.error()),
        }
    }
}

/// SQLite uses a path unchanged if it begins with a slash; it may read other paths as URIs.
fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    std::path::absolute(path).map_err(|source| OpenError::Path {
        path: path.to_owned(),
        source,
    })
}

/// Connections for queries, opened on demand.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
    health: Arc<Health>,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
    /// Turns for queries of people.
    searches: Arc<Semaphore>,
}

impl Readers {
    fn with<T>(
        &self,
        query: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.open()?,
        };
        let answer = query(&mut connection)?;
        self.idle().push(connection);
        Ok(answer)
    }

    /// Checks a database in full in which damage was found: to SQLite, a disk that cannot read looks
    /// like damage, and that may pass.
    fn check_again(&self) {
        let begun = Instant::now();
        if !self.health.takes_check(begun) {
            return;
        }
        let found = self
            .open()
            .and_then(|mut connection| probe::check(&mut connection, FULL_CHECK_TIME));
        if matches!(found, Ok(None)) && begun.elapsed() < FULL_CHECK_TIME {
            self.health.undamaged();
        }
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        if !self.health.in_place() {
            // The file may be another database by now.
            return Err(rusqlite::Error::InvalidPath(self.path.clone()));
        }
        Ok(connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error for a stored value that this server cannot read.
fn unreadable(
    column: usize,
    stored_as: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, stored_as, Box::new(error))
}

/// The first `rows`, read one by one, until they hold `room` bytes.
fn up_to_room<T>(
    rows: impl Iterator<Item = rusqlite::Result<T>>,
    room: usize,
    json: impl Fn(&T) -> &RawValue,
) -> rusqlite::Result<Vec<T>> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let row = row?;
        bytes += json(&row).get().len();
        taken.push(row);
        if bytes >= room {
            break;
        }
    }
    Ok(taken)
}

/// A time that is stored as microseconds since the epoch.
fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?)
        .map_err(|error| unreadable(column, Type::Integer, error))
}

fn json(row: &Row<'_>, column: usize) -> rusqlite::Result<Box<RawValue>> {
    RawValue::from_string(row.get(column)?).map_err(|error| unreadable(column, Type::Text, error))
}

#[cfg(test)]
mod tests;
