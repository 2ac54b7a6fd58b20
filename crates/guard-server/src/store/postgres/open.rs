//! Opening: the checks at start, and what each failure tells the operator.

use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error as PgError};

use super::connect::Server;
use super::health::{Health, describe};
use super::{Postgres, schema};
use crate::store::Progress;

/// The oldest PostgreSQL that is supported, as PostgreSQL counts versions.
const OLDEST: i32 = 130_000;
/// How long a start waits while another node migrates the schema.
const LOCK_TIME: Duration = Duration::from_secs(30);

/// Why the database cannot be used. Each is one line, without the password.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL cannot be read. Any part of it may belong to the password, so it is not shown.
    #[error(
        "--control-url is no URL of PostgreSQL: write postgres://USER:PASSWORD@HOST:PORT/DATABASE, \
         with special characters of the password percent-encoded, such as %40 for @"
    )]
    Url,
    /// TLS cannot be set up.
    #[error("cannot prepare TLS to PostgreSQL: {0}")]
    Tls(String),
    /// No server answers there.
    #[error("cannot reach PostgreSQL at {server}: {why}; check --control-url and the network")]
    Unreachable {
        /// The hosts and the database.
        server: String,
        /// The cause.
        why: String,
    },
    /// The server takes no writes.
    #[error(
        "PostgreSQL at {server} takes no writes: name the primary in --control-url, or all hosts"
    )]
    ReadOnly {
        /// The hosts and the database.
        server: String,
    },
    /// The server refuses the user or has no such database.
    #[error("PostgreSQL at {server} refuses the user {user}: {why}")]
    Refused {
        /// The hosts and the database.
        server: String,
        /// The user.
        user: String,
        /// The server's reason.
        why: String,
    },
    /// The server is too old.
    #[error("PostgreSQL at {server} is version {found}: guard-server needs 13 or later")]
    TooOld {
        /// The hosts and the database.
        server: String,
        /// The server's version.
        found: String,
    },
    /// The database cannot store all text.
    #[error(
        "the PostgreSQL database {server} has the encoding {found}: create one with ENCODING 'UTF8'"
    )]
    Encoding {
        /// The hosts and the database.
        server: String,
        /// The encoding of the database.
        found: String,
    },
    /// The user may not do what is needed.
    #[error(
        "the PostgreSQL user {user} lacks a right in {server}: {why}; let it own the database: ALTER \
         DATABASE \"{database}\" OWNER TO \"{user}\""
    )]
    Rights {
        /// The hosts and the database.
        server: String,
        /// The database.
        database: String,
        /// The user.
        user: String,
        /// The server's reason.
        why: String,
    },
    /// The database has tables of another program.
    #[error(
        "the PostgreSQL database {server} belongs to another program: {why}; create a database for \
         guard-server alone"
    )]
    Foreign {
        /// The hosts and the database.
        server: String,
        /// What is in the way.
        why: String,
    },
    /// The schema was made by a newer server.
    #[error(
        "the PostgreSQL database {server} has schema version {found}, this server knows {known}: use \
         a newer guard-server"
    )]
    Newer {
        /// The hosts and the database.
        server: String,
        /// The version of the schema.
        found: i32,
        /// The newest known version.
        known: i32,
    },
    /// No node of this version has started yet.
    #[error(
        "the PostgreSQL database {server} has schema version {found}, this command needs {known}: \
         start a node of this version first"
    )]
    Older {
        /// The hosts and the database.
        server: String,
        /// The version of the schema. 0 if there are no tables.
        found: i32,
        /// The version of this command.
        known: i32,
    },
    /// Another session migrates the schema, or holds the lock since it died.
    #[error(
        "another session holds the migration lock of {server} for more than {waited} s: {holder}; \
         wait for it, or end it with SELECT pg_terminate_backend(PID)"
    )]
    Locked {
        /// The hosts and the database.
        server: String,
        /// How many seconds this start waited.
        waited: u64,
        /// Who holds the lock.
        holder: String,
    },
    /// As many nodes run as may be.
    #[error(
        "{nodes} other nodes use the PostgreSQL database {server}, and no more may: stop one first"
    )]
    Crowded {
        /// The hosts and the database.
        server: String,
        /// The limit.
        nodes: u16,
    },
    /// A file of SQLite is being moved to it.
    #[error(
        "a move from SQLite to {server} is not finished: run guard-server migrate again, or give \
         empty databases"
    )]
    Moving {
        /// The hosts and the database.
        server: String,
    },
    /// Another failure.
    #[error("cannot use the PostgreSQL database {server}: {why}")]
    Database {
        /// The hosts and the database.
        server: String,
        /// The cause.
        why: String,
    },
}

impl OpenError {
    /// What a failed attempt to connect means.
    pub(super) fn connecting(server: &Server, error: &PgError) -> Self {
        match error.code() {
            Some(code) if is_refusal(code) => Self::Refused {
                server: server.to_string(),
                user: server.user().to_owned(),
                why: describe(error),
            },
            Some(_) => Self::statement(server, error),
            None if is_read_only(error) => Self::ReadOnly {
                server: server.to_string(),
            },
            None => server.unreachable(describe(error)),
        }
    }

    /// What a failed statement means.
    pub(in crate::store) fn statement(server: &Server, error: &PgError) -> Self {
        let (database, why) = (server.to_string(), describe(error));
        match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Rights {
                server: database,
                database: server.database().to_owned(),
                user: server.user().to_owned(),
                why,
            },
            Some(&SqlState::DUPLICATE_TABLE | &SqlState::DUPLICATE_OBJECT) => Self::Foreign {
                server: database,
                why,
            },
            _ => Self::Database {
                server: database,
                why,
            },
        }
    }
}

/// Whether the server refuses this user, this password or this database.
fn is_refusal(code: &SqlState) -> bool {
    [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        SqlState::INVALID_CATALOG_NAME,
    ]
    .contains(code)
}

/// Whether the client found no server that takes writes.
fn is_read_only(error: &PgError) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
}

impl Postgres {
    /// Opens the database that `url` names, and brings its schema to the version of this server. Tells
    /// `progress` how far it is.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it cannot be reached or used.
    pub async fn open(url: &str, progress: &Progress) -> Result<Self, OpenError> {
        Self::open_on(Server::of(url)?, progress).await
    }

    /// The same as [`open`](Self::open).
    pub(crate) async fn open_on(server: Server, progress: &Progress) -> Result<Self, OpenError> {
        Self::open_at(server, progress, LOCK_TIME).await
    }

    /// Opens the database for a command, while nodes may be running. Makes nothing.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it cannot be reached or used, or has another schema.
    pub(crate) async fn open_existing(server: Server) -> Result<Self, OpenError> {
        let (_, found) = look(&server).await?;
        if found < schema::VERSION {
            return Err(OpenError::Older {
                server: server.to_string(),
                found,
                known: schema::VERSION,
            });
        }
        Ok(Self {
            pool: server.pool()?,
            server,
            health: Health::default(),
        })
    }

    /// Checks that no move to the database is unfinished.
    ///
    /// # Errors
    ///
    /// [`OpenError::Moving`] if one is, or another if PostgreSQL fails.
    pub(crate) async fn check_moved(&self) -> Result<(), OpenError> {
        let server = &self.server;
        let client = server.connect().await?;
        let find = "SELECT EXISTS (SELECT FROM moves WHERE finished_at IS NULL)";
        let failed = |error: PgError| OpenError::statement(server, &error);
        let is_moving = client.query_one(find, &[]).await.map_err(failed)?;
        if is_moving.try_get(0).map_err(failed)? {
            let server = server.to_string();
            return Err(OpenError::Moving { server });
        }
        Ok(())
    }

    /// Looks at the database, and changes nothing. Returns what it is.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it cannot be reached or used.
    pub(crate) async fn inspect(server: &Server) -> Result<String, OpenError> {
        let (version, found) = look(server).await?;
        let schema = match found {
            0 => "no tables yet: the first start makes them".to_owned(),
            schema::VERSION => format!("schema version {found}"),
            _ => format!(
                "schema version {found}: the next start of a node converts it to {}; make a backup first",
                schema::VERSION
            ),
        };
        Ok(format!("version {version} at {server}, {schema}"))
    }

    /// The same as [`open`](Self::open). Waits at most `lock_time` while another node migrates.
    pub(super) async fn open_at(
        server: Server,
        progress: &Progress,
        lock_time: Duration,
    ) -> Result<Self, OpenError> {
        // A connection for this alone: a migration may take longer than a statement of the pool.
        let mut client = server.connect().await?;
        check(&server, &client).await?;
        schema::migrate(&server, &mut client, progress, lock_time).await?;
        Ok(Self {
            pool: server.pool()?,
            server,
            health: Health::default(),
        })
    }
}

/// The version of PostgreSQL and that of the schema.
async fn look(server: &Server) -> Result<(String, i32), OpenError> {
    let client = server.connect().await?;
    let version = check(server, &client).await?;
    let found = schema::version(&client).await;
    let found = found.map_err(|error| OpenError::statement(server, &error))?;
    Ok((version, schema::known(server, found)?))
}

/// Checks what does not depend on the schema. Returns the version of PostgreSQL.
async fn check(server: &Server, client: &Client) -> Result<String, OpenError> {
    let ask =
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
        current_setting('server_encoding')";
    let failed = |error: PgError| OpenError::statement(server, &error);
    let row = client.query_one(ask, &[]).await.map_err(failed)?;
    let (number, version) = (row.try_get(0), row.try_get(1));
    check_version(server, number.map_err(failed)?, version.map_err(failed)?)?;
    let found: String = row.try_get(2).map_err(failed)?;
    if found != "UTF8" {
        let server = server.to_string();
        return Err(OpenError::Encoding { server, found });
    }
    row.try_get(1).map_err(failed)
}

pub(super) fn check_version(server: &Server, number: i32, version: &str) -> Result<(), OpenError> {
    if number >= OLDEST {
        return Ok(());
    }
    Err(OpenError::TooOld {
        server: server.to_string(),
        found: version.to_owned(),
    })
}
