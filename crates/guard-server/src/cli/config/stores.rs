//! The options that say where everything is stored.

use std::path::PathBuf;

use clap::Args;
use thiserror::Error;

use crate::secret::Secret;
use crate::store::{Location, LocationError, Shared};

/// Default of `--data-dir`.
const DATA_DIR: &str = "./guard-data";
/// The scheme of `--database-url`.
const SQLITE_SCHEME: &str = "sqlite://";
/// The database's file name in the data directory.
const DATABASE_FILE: &str = "guard.db";

/// Where the server stores everything.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Directory of the database; created if it is missing.
    #[arg(
        long,
        env = "GUARD_SERVER_DATA_DIR",
        default_value = DATA_DIR,
        value_name = "DIR",
        global = true
    )]
    pub data_dir: PathBuf,

    /// The database, sqlite://PATH; by default guard.db in the data directory.
    #[arg(
        long,
        env = "GUARD_SERVER_DATABASE_URL",
        value_name = "URL",
        global = true
    )]
    pub database_url: Option<String>,

    /// For several servers that share their data: a database of PostgreSQL 13 or later for everything
    /// but events and metrics, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Needs --telemetry-url, and
    /// takes the place of --data-dir. Prefer the environment variable: others can see the command line.
    #[arg(
        long,
        env = "GUARD_SERVER_CONTROL_URL",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub control_url: Option<Secret>,

    /// A database of ClickHouse 24.8 or later for events and metrics,
    /// `http://USER:PASSWORD@HOST:PORT/DATABASE` or https. Needs --control-url. Prefer the environment
    /// variable: others can see the command line.
    #[arg(
        long,
        env = "GUARD_SERVER_TELEMETRY_URL",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub telemetry_url: Option<Secret>,

    /// The cluster of ClickHouse on which the tables are replicated, as its configuration names it. By
    /// default they are on one server.
    #[arg(
        long,
        env = "GUARD_SERVER_CLICKHOUSE_CLUSTER",
        value_name = "NAME",
        global = true
    )]
    pub clickhouse_cluster: Option<String>,
}

/// The options do not name a place to store everything.
#[derive(Debug, Error)]
pub enum StoreArgsError {
    /// This server cannot use the database.
    #[error("--database-url: {url:?} is not supported; give sqlite://PATH")]
    DatabaseUrl {
        /// The given value.
        url: String,
    },
    /// One of the two databases is missing.
    #[error("--control-url and --telemetry-url belong together: give both or none")]
    Pair,
    /// Both one file and shared databases.
    #[error(
        "--database-url and --control-url exclude each other: give the first for one server, or the \
         second and --telemetry-url for several"
    )]
    Both,
    /// There is no ClickHouse for this cluster.
    #[error("--clickhouse-cluster needs --control-url and --telemetry-url")]
    Cluster,
    /// A URL is wrong.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The command works on a file only.
    #[error(
        "this command works on a database of SQLite, not on --control-url and --telemetry-url: \
         {instead}"
    )]
    NotAFile {
        /// What to do instead.
        instead: &'static str,
    },
}

impl StoreArgs {
    /// Where everything is stored.
    ///
    /// # Errors
    ///
    /// [`StoreArgsError`] for options that are wrong or exclude each other.
    pub fn location(&self) -> Result<Location, StoreArgsError> {
        let shared = match (&self.control_url, &self.telemetry_url) {
            (None, None) if self.clickhouse_cluster.is_some() => {
                return Err(StoreArgsError::Cluster);
            }
            (None, None) => return Ok(Location::File(self.file()?)),
            (Some(control), Some(telemetry)) => (control, telemetry),
            _ => return Err(StoreArgsError::Pair),
        };
        if self.database_url.is_some() {
            return Err(StoreArgsError::Both);
        }
        let cluster = self.clickhouse_cluster.as_deref();
        let shared = Shared::new(shared.0, shared.1, cluster)?;
        Ok(Location::Shared(Box::new(shared)))
    }

    /// The file, for a command that works on nothing else. `instead` says what to do about shared
    /// databases.
    ///
    /// # Errors
    ///
    /// [`StoreArgsError`] for options that are wrong or do not name a file.
    pub fn only_file(&self, instead: &'static str) -> Result<PathBuf, StoreArgsError> {
        match self.location()? {
            Location::File(path) => Ok(path),
            Location::Shared(_) => Err(StoreArgsError::NotAFile { instead }),
        }
    }

    fn file(&self) -> Result<PathBuf, StoreArgsError> {
        match &self.database_url {
            Some(url) => sqlite_file(url),
            None => Ok(self.data_dir.join(DATABASE_FILE)),
        }
    }
}

/// The file that a URL of SQLite names.
pub(in crate::cli) fn sqlite_file(url: &str) -> Result<PathBuf, StoreArgsError> {
    url.strip_prefix(SQLITE_SCHEME)
        .and_then(plain_path)
        .map(PathBuf::from)
        .ok_or_else(|| StoreArgsError::DatabaseUrl {
            url: without_userinfo(url),
        })
}

/// The path that SQLite opens for `text`, which may be a URI without parameters.
fn plain_path(text: &str) -> Option<&str> {
    let Some(uri) = text.strip_prefix("file:") else {
        let is_path = !text.is_empty() && text != ":memory:" && !text.contains('?');
        return is_path.then_some(text);
    };
    let path = match uri.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => uri,
    };
    // After an authority, a path begins with a slash.
    let is_path = path.starts_with('/') || (path == uri && !uri.is_empty());
    let is_plain = !path.contains(['?', '#', '%']) && path != ":memory:";
    (is_path && is_plain).then_some(path)
}

/// Removes the user part: a URL of another database may contain a password.
fn without_userinfo(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        stores: StoreArgs,
    }

    fn location(args: &[&str]) -> Result<Location, StoreArgsError> {
        let args = ["guard-server"].iter().chain(args);
        Line::try_parse_from(args).unwrap().stores.location()
    }

    fn database(args: &[&str]) -> PathBuf {
        match location(args).unwrap() {
            Location::File(path) => path,
            Location::Shared(shared) => panic!("{shared:?}"),
        }
    }

    #[test]
    fn the_database_is_in_the_data_directory_unless_a_url_names_it() {
        assert_eq!(
            database(&["--data-dir", "/var/lib/guard"]),
            PathBuf::from("/var/lib/guard/guard.db")
        );
        assert_eq!(
            database(&["--database-url", "sqlite:///srv/g.db"]),
            PathBuf::from("/srv/g.db")
        );
    }

    #[test]
    fn a_uri_of_sqlite_names_the_file_that_sqlite_opens() {
        for url in [
            "sqlite://file:/srv/g.db",
            "sqlite://file:///srv/g.db",
            "sqlite://file://localhost/srv/g.db",
        ] {
            assert_eq!(
                database(&["--database-url", url]),
                PathBuf::from("/srv/g.db"),
                "{url}"
            );
        }
        assert_eq!(
            database(&["--database-url", "sqlite://file:g.db"]),
            PathBuf::from("g.db")
        );
        for url in [
            "sqlite://file:",
            "sqlite://file://host/srv/g.db",
            "sqlite://file:/srv/g.db?mode=memory",
            "sqlite://file:/srv/g%2edb",
            "sqlite://file::memory:",
            "sqlite://:memory:",
            "sqlite://",
        ] {
            assert!(location(&["--database-url", url]).is_err(), "{url}");
        }
    }

    #[test]
    fn another_database_is_refused_without_its_password() {
        let error = location(&["--database-url", "postgres://me:hush@host/db"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("postgres://host/db") && text.contains("sqlite://PATH"));
        assert!(!text.contains("hush"));
    }

    const CONTROL: [&str; 2] = ["--control-url", "postgres://guard:hush@db/guard"];
    const TELEMETRY: [&str; 2] = ["--telemetry-url", "http://guard:hush@ch:8123/guard"];

    #[test]
    fn two_urls_name_shared_databases() {
        let cluster = ["--clickhouse-cluster", "guard"];
        let given = [CONTROL, TELEMETRY, cluster].concat();
        let shown = location(&given).unwrap().to_string();
        assert!(shown.contains("db") && shown.contains("ch:8123"), "{shown}");
    }

    #[test]
    fn options_that_do_not_belong_together_are_named() {
        for (given, named) in [
            (CONTROL.to_vec(), "--telemetry-url"),
            (TELEMETRY.to_vec(), "--control-url"),
            (vec!["--clickhouse-cluster", "x"], "--clickhouse-cluster"),
            (
                [CONTROL, TELEMETRY, ["--database-url", "sqlite://x"]].concat(),
                "--database-url",
            ),
        ] {
            let text = location(&given).unwrap_err().to_string();
            assert!(text.contains(named), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }

    #[test]
    fn a_command_for_a_file_refuses_shared_databases_and_says_what_to_do() {
        let args = ["guard-server"].into_iter().chain(CONTROL).chain(TELEMETRY);
        let stores = Line::try_parse_from(args).unwrap().stores;
        let text = stores.only_file("use pg_dump").unwrap_err().to_string();
        assert!(text.ends_with("use pg_dump"), "{text}");
    }
}
