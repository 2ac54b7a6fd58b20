//! The embedded store: one SQLite file in WAL mode. One thread writes; reads
//! run on connections of their own, off the asynchronous threads.

mod control;
mod followers;
mod room;
mod schema;
mod telemetry;
mod writer;

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags};
use thiserror::Error;
use tokio::sync::Semaphore;

use self::writer::Writer;
use super::{MAKES_WAY_AFTER, StoreError, StoreLimits};
use crate::trouble::TroubleLog;

/// How long a connection waits for another process, such as `guard-server rules set`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Idempotency keys are random, so each lands on another page of its index:
/// a cache that holds the pages in use saves reading them again and again.
const WRITER_CACHE_KIB: i64 = 64 * 1024;
/// Pages of 4 KiB in the log before they are moved into the file. The same page
/// changes many times on the way and is moved once.
const CHECKPOINT_PAGES: i64 = 4096;
/// Queries that run at the same time, each on a connection and a thread of its
/// own; bounds what a thousand agents that ask at once cost.
const READERS: usize = 8;

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

/// The embedded store. Dropping it waits for the last write and closes the file.
#[derive(Debug)]
pub struct Sqlite {
    // Closed first: the last connection, which must be able to write, moves
    // what is in the log into the file.
    readers: Arc<Readers>,
    writer: Writer,
    limits: StoreLimits,
    /// There is no room for all agents.
    crowd: TroubleLog,
}

impl Sqlite {
    /// Opens the database at `path` with the usual limits.
    ///
    /// # Errors
    ///
    /// As [`Self::open_with`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, StoreLimits::default())
    }

    /// Opens the database at `path`, making it and its directory if they are
    /// missing, readable for this user only.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when it cannot be written or is not a database this server knows.
    pub fn open_with(path: &Path, limits: StoreLimits) -> Result<Self, OpenError> {
        make_private(path)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        schema::migrate(&mut connection)?;
        let writer = Writer::start(connection).map_err(|source| OpenError::Path {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            readers: Arc::new(Readers {
                path: path.to_owned(),
                idle: Mutex::default(),
                turns: Arc::new(Semaphore::new(READERS)),
            }),
            writer,
            limits,
            crowd: TroubleLog::default(),
        })
    }

    /// Tells of agents that there was no room for, now and then.
    fn tell_of_crowd(&self, passed_over: u64) {
        if passed_over == 0 {
            self.crowd.succeeded();
        } else if self.crowd.failed(0, Instant::now()) {
            tracing::warn!(
                "{} agents of a project are remembered; new ones are passed over until one of \
                 those is silent for {MAKES_WAY_AFTER:#}: raise --max-installs",
                self.limits.installs
            );
        }
    }

    /// Runs `query` on a reader's connection, on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let turn = Arc::clone(&readers.turns).acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Unavailable)?;
        let result = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            readers.with(query)
        })
        .await;
        match result {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::error!(%error, "a query failed");
                Err(StoreError::Unavailable)
            }
            Err(_) => Err(StoreError::Unavailable),
        }
    }
}

/// Makes the directory (0700) and the file (0600) where they are missing;
/// SQLite gives the files beside it the same mode.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Path { path, source }
    };
    if let Some(directory) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed(directory))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(failed(path))?;
    Ok(())
}

/// Connections for queries, opened as they are needed.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    fn with<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open()?,
        };
        let answer = query(&connection)?;
        self.idle().push(connection);
        Ok(answer)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stored value that this server cannot read.
fn unreadable(
    column: usize,
    stored_as: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, stored_as, Box::new(error))
}

#[cfg(test)]
mod tests;
