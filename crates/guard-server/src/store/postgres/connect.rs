//! Where the server is, and how it is connected to.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use rustls::RootCertStore;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{OpenError, Postgres, tls};
use crate::store::StoreError;

/// The most connections of one node, beside those that it holds for locks and notifications.
const CONNECTIONS: usize = 10;
/// How long a call waits for a free connection.
const WAIT_TIME: Duration = Duration::from_secs(3);
/// How long a new connection may take, with the hosts that are tried before.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long one host may take to answer at all.
const HOST_TIME: Duration = Duration::from_secs(2);
/// How long the check of a connection may take.
const CHECK_TIME: Duration = Duration::from_secs(2);
/// How long a call may take to get a connection, with waiting, checking and connecting.
const TAKE_TIME: Duration = Duration::from_secs(8);
/// What each session sets, whatever the server's or the database's own settings are. A lock is given
/// up before a statement, and a statement before the client gives up. A transaction that a vanished
/// node left open ends and releases its locks. A commit is durable when it is answered.
const SETTINGS: &str = "-c statement_timeout=10s -c lock_timeout=5s \
     -c idle_in_transaction_session_timeout=15s -c synchronous_commit=on \
     -c default_transaction_isolation=read\\ committed \
     -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=2";
/// What the sessions of a node are called in PostgreSQL.
const APPLICATION: &str = "guard-server";

/// What drives a connection.
pub(super) type Connection =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// A PostgreSQL database, and how to connect to it. Its `Debug` and its text have no password.
#[derive(Clone)]
pub(crate) struct Server {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Server {
    /// The server of a URL `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. With `sslmode=require`,
    /// `verify-ca` or `verify-full` its certificate is checked.
    pub(crate) fn of(url: &str) -> Result<Self, OpenError> {
        Self::trusting(url, tls::system_roots)
    }

    /// The same as [`of`](Self::of), with the certificate authorities to trust.
    pub(super) fn trusting(
        url: &str,
        roots: impl FnOnce() -> RootCertStore,
    ) -> Result<Self, OpenError> {
        let mut config = parse(url)?;
        let roots = (config.get_ssl_mode() == SslMode::Require).then(roots);
        let tls = tls::connector(roots).map_err(|error| OpenError::Tls(error.to_string()))?;
        let options = match config.get_options() {
            Some(own) => format!("{SETTINGS} {own}"),
            None => SETTINGS.to_owned(),
        };
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION);
        }
        config
            .options(options)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(HOST_TIME)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(2)
            .tcp_user_timeout(Duration::from_secs(10));
        Ok(Self { config, tls })
    }

    /// A connection beside the pool. It is closed when the client is dropped.
    pub(crate) async fn connect(&self) -> Result<Client, OpenError> {
        let (client, connection) = self.connection().await?;
        // It ends when the client is dropped. What fails, fails the statements of the client.
        tokio::spawn(connection);
        Ok(client)
    }

    /// A connection beside the pool, and what drives it and receives its notifications.
    pub(super) async fn connection(&self) -> Result<(Client, Connection), OpenError> {
        let connecting = self.config.connect(self.tls.clone());
        let connected = timeout(CONNECT_TIME, connecting).await;
        connected
            .map_err(|_| self.unreachable("no answer in time"))?
            .map_err(|error| OpenError::connecting(self, &error))
    }

    /// A pool of connections. None is made yet.
    pub(super) fn pool(&self) -> Result<Pool, OpenError> {
        let how = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), how);
        let check = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(check(client))
        });
        Pool::builder(manager)
            .max_size(CONNECTIONS)
            .wait_timeout(Some(WAIT_TIME))
            .create_timeout(Some(CONNECT_TIME))
            .post_recycle(check)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| OpenError::Tls(error.to_string()))
    }

    pub(super) fn unreachable(&self, why: impl Into<String>) -> OpenError {
        OpenError::Unreachable {
            server: self.to_string(),
            why: why.into(),
        }
    }

    /// The name to sign in with.
    pub(super) fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// The name of the database.
    pub(super) fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_else(|| self.user())
    }
}

/// The hosts and the database, without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            let separator = if index > 0 { "," } else { "" };
            match host {
                Host::Tcp(host) => write!(f, "{separator}{host}:{port}")?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{separator}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.database())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

/// Reads a URL. The error shows nothing of it, because any part may belong to a password.
fn parse(url: &str) -> Result<Config, OpenError> {
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(OpenError::Url);
    }
    // The client knows one way to check a certificate, and that is the strictest one.
    let url = ["verify-ca", "verify-full"]
        .iter()
        .fold(url.to_owned(), |url, mode| {
            url.replace(&format!("sslmode={mode}"), "sslmode=require")
        });
    let config: Config = url.parse().map_err(|_| OpenError::Url)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(OpenError::Url);
    }
    Ok(config)
}

/// Checks a connection that was idle: whether it still answers, and whether the server is still the
/// primary. One that was demoted takes reads, and answers with what was.
async fn check(client: &Client) -> Result<(), HookError> {
    let asked = timeout(
        CHECK_TIME,
        client.simple_query("SHOW transaction_read_only"),
    );
    let answer = asked.await.map_err(|_| HookError::message("no answer"))?;
    let answer = answer.map_err(HookError::Backend)?;
    let is_writable = answer.iter().any(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0) == Some("off"),
        _ => false,
    });
    if is_writable {
        Ok(())
    } else {
        Err(HookError::message("the server takes no writes"))
    }
}

impl Postgres {
    /// Takes a connection from the pool.
    pub(super) async fn connection(&self) -> Result<Object, StoreError> {
        match timeout(TAKE_TIME, self.pool.get()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.health.no_connection(&error)),
            Err(_) => Err(self.health.silent()),
        }
    }
}
