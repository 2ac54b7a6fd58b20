//! Where a server stores everything.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::clickhouse::{
    ClickHouse, Cluster, ClusterError, Endpoint, EndpointError, OpenError as ClickHouseError,
};
use super::postgres::{self, OpenError as PostgresError, Postgres, Server};
use super::{Node, OpenError, Progress, Sqlite, Stores};
use crate::secret::Secret;

/// Where a server stores everything.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file of SQLite, which one server has for itself.
    File(PathBuf),
    /// Databases that several servers may share.
    Shared(Box<Shared>),
}

/// PostgreSQL for everything but events and metrics, and ClickHouse for those. Shows no password.
#[derive(Debug, Clone)]
pub struct Shared {
    pub(super) control: Server,
    telemetry: Endpoint,
    /// The cluster of ClickHouse that holds replicated tables.
    cluster: Option<Cluster>,
}

/// Why a location cannot be used. The message shows no password.
#[derive(Debug, Error)]
pub enum LocationError {
    /// The URL of PostgreSQL is not one.
    #[error(transparent)]
    Control(#[from] PostgresError),
    /// The URL of ClickHouse is not one.
    #[error(transparent)]
    Telemetry(#[from] EndpointError),
    /// The name of the cluster is not one.
    #[error("--clickhouse-cluster: {0}")]
    Cluster(#[from] ClusterError),
}

/// Why the stores cannot be opened. Each is one line, without a password.
#[derive(Debug, Error)]
pub enum StoresError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] OpenError),
    /// PostgreSQL cannot be used.
    #[error(transparent)]
    Control(#[from] PostgresError),
    /// ClickHouse cannot be used.
    #[error(transparent)]
    Telemetry(#[from] ClickHouseError),
}

/// Without passwords.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Shared(shared) => write!(f, "{} and {}", shared.control, shared.telemetry),
        }
    }
}

impl Location {
    /// Opens the stores for a server, and makes what is missing. Tells `progress` how far it is: the
    /// database of an older server is converted, which may take minutes. If the process ends
    /// meanwhile, the next call continues.
    ///
    /// # Errors
    ///
    /// [`StoresError`] if they cannot be used.
    pub async fn open(&self, progress: &Progress) -> Result<Stores, StoresError> {
        match self {
            Self::File(path) => Ok(Stores::of(Arc::new(Sqlite::open_with(path, progress)?))),
            Self::Shared(shared) => shared.open(progress).await,
        }
    }

    /// Opens the stores for a command, while servers may be running. Makes nothing.
    ///
    /// # Errors
    ///
    /// [`StoresError`] if they do not exist or cannot be used.
    pub async fn open_existing(&self) -> Result<Stores, StoresError> {
        match self {
            Self::File(path) => Ok(Stores::of(Arc::new(Sqlite::open_existing(path)?))),
            Self::Shared(shared) => shared.open_existing().await,
        }
    }
}

impl Shared {
    /// Checks the form of the URLs and of the name. Connects to nothing.
    ///
    /// # Errors
    ///
    /// [`LocationError`] for the first that is wrong.
    pub fn new(
        control: &Secret,
        telemetry: &Secret,
        cluster: Option<&str>,
    ) -> Result<Self, LocationError> {
        Ok(Self {
            control: Server::of(control.expose())?,
            telemetry: telemetry.expose().parse()?,
            cluster: cluster.map(str::parse).transpose()?,
        })
    }

    async fn open(&self, progress: &Progress) -> Result<Stores, StoresError> {
        let control = Postgres::open_on(self.control.clone(), progress).await?;
        control.check_moved().await?;
        self.join(control).await
    }

    /// Opens the stores to move a database to them. A server could not open them before that is
    /// finished.
    ///
    /// # Errors
    ///
    /// [`StoresError`] if they cannot be used.
    pub async fn open_target(&self, progress: &Progress) -> Result<Stores, StoresError> {
        let control = Postgres::open_on(self.control.clone(), progress).await?;
        self.join(control).await
    }

    async fn join(&self, control: Postgres) -> Result<Stores, StoresError> {
        let node = postgres::join(&self.control).await?;
        self.split(control, node).await
    }

    async fn open_existing(&self) -> Result<Stores, StoresError> {
        let control = Postgres::open_existing(self.control.clone()).await?;
        self.split(control, Node::visitor()).await
    }

    async fn split(&self, control: Postgres, node: Node) -> Result<Stores, StoresError> {
        let place = node.clone();
        let slot = move || place.slot();
        let telemetry =
            ClickHouse::open(self.telemetry.clone(), self.cluster.clone(), slot).await?;
        Ok(Stores::split(Arc::new(control), Arc::new(telemetry), node))
    }

    /// Looks at PostgreSQL and at ClickHouse, and changes nothing. Returns what each is, or why it
    /// cannot be used.
    pub async fn inspect(&self) -> [Result<String, StoresError>; 2] {
        let control = Postgres::inspect(&self.control);
        let telemetry = ClickHouse::inspect(&self.telemetry);
        let (control, telemetry) = tokio::join!(control, telemetry);
        [
            control.map_err(StoresError::from),
            telemetry.map_err(StoresError::from),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "postgres://guard:hush@db.internal:5432/guard?sslmode=require";
    const TELEMETRY: &str = "https://guard:hush@ch.internal:8443/guard";

    fn new(control: &str, telemetry: &str, cluster: Option<&str>) -> Result<Shared, String> {
        let shared = Shared::new(&control.into(), &telemetry.into(), cluster);
        shared.map_err(|error| error.to_string())
    }

    #[test]
    fn urls_with_passwords_are_taken_and_never_shown() {
        for cluster in [None, Some("eu-1.guard_a")] {
            let shared = new(CONTROL, TELEMETRY, cluster).unwrap();
            assert!(!format!("{shared:?}").contains("hush"));
            let shown = Location::Shared(Box::new(shared)).to_string();
            assert!(shown.contains("db.internal:5432/guard") && shown.contains("ch.internal"));
            assert!(!shown.contains("hush"));
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_a_password() {
        for (control, telemetry, cluster, named) in [
            (
                "mysql://guard:hush@db/guard",
                TELEMETRY,
                None,
                "--control-url",
            ),
            (
                CONTROL,
                "clickhouse://guard:hush@ch",
                None,
                "--telemetry-url",
            ),
            (CONTROL, TELEMETRY, Some("a'b"), "--clickhouse-cluster"),
        ] {
            let text = new(control, telemetry, cluster).unwrap_err();
            assert!(text.starts_with(named), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }
}
