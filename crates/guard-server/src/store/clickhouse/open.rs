//! Opens the database: checks the version of ClickHouse, and makes or renews the tables.

use std::sync::Arc;

use clickhouse::Client;
use clickhouse::error::Error;
use thiserror::Error as ThisError;

use super::client::{Engine, QUERY_TIME, code, code_of};
use super::endpoint::Endpoint;
use super::schema::{self, Cluster};

/// The oldest ClickHouse that works.
const OLDEST: (u32, u32) = (24, 8);

/// Why ClickHouse cannot be used.
#[derive(Debug, ThisError)]
pub enum OpenError {
    /// It does not answer.
    #[error(
        "cannot reach ClickHouse at {url} ({why}): check --telemetry-url; its HTTP port is usually \
         8123, or 8443 for https"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// The error of the connection.
        why: String,
    },
    /// It refuses user and password.
    #[error(
        "ClickHouse at {url} refuses the user {user}: check the user and password of --telemetry-url"
    )]
    Refused {
        /// Where.
        url: String,
        /// The user.
        user: String,
    },
    /// The user lacks a right.
    #[error("the user {user} of ClickHouse at {url} lacks a right: {what}")]
    Rights {
        /// Where.
        url: String,
        /// The user.
        user: String,
        /// What ClickHouse says.
        what: String,
    },
    /// Its version is too old.
    #[error("ClickHouse at {url} has version {found}: guard-server needs 24.8 or later")]
    Old {
        /// Where.
        url: String,
        /// Its version.
        found: String,
    },
    /// The tables were made by a newer server.
    #[error(
        "the database {url} has schema version {found}, this server knows {known}: use a newer \
         guard-server"
    )]
    Newer {
        /// Where.
        url: String,
        /// The version of the tables.
        found: u32,
        /// The newest known version.
        known: u32,
    },
    /// It failed otherwise.
    #[error("cannot open the database {url} of ClickHouse: {what}")]
    Failed {
        /// Where.
        url: String,
        /// What it says.
        what: String,
    },
}

/// Opens the database of `endpoint`, and makes what is missing.
pub(super) async fn open(
    endpoint: &Arc<Endpoint>,
    cluster: Option<&Cluster>,
) -> Result<Engine, OpenError> {
    let engine = Engine::new(Arc::clone(endpoint), cluster.is_some());
    let opening = Opening { endpoint, cluster };
    // The database may be missing.
    let server = engine.client().clone().with_database("system");
    opening.check_version(&server).await?;
    opening.make_database(&server).await?;
    opening.make_tables(engine.client()).await?;
    opening.check_rights(engine.client()).await?;
    Ok(engine)
}

/// Looks at the database, and changes nothing. Returns what it is.
pub(super) async fn inspect(endpoint: &Endpoint) -> Result<String, OpenError> {
    let engine = Engine::new(Arc::new(endpoint.clone()), false);
    let opening = Opening {
        endpoint,
        cluster: None,
    };
    let server = engine.client().clone().with_database("system");
    let version = opening.check_version(&server).await?;
    let tables = server
        .query_raw(
            "SELECT count() FROM system.tables WHERE database = {name:String} AND name = 'events'",
        )
        .param("name", endpoint.database())
        .fetch_one::<u64>();
    let tables = match opening.within(tables).await? {
        0 => "no tables yet: the first start makes them",
        _ => "the tables are there",
    };
    Ok(format!("version {version} at {endpoint}, {tables}"))
}

struct Opening<'a> {
    endpoint: &'a Endpoint,
    cluster: Option<&'a Cluster>,
}

impl Opening<'_> {
    /// Returns the version.
    async fn check_version(&self, server: &Client) -> Result<String, OpenError> {
        let version = server.query_raw("SELECT version()").fetch_one::<String>();
        let found = self.within(version).await?;
        if is_old(&found) {
            let url = self.endpoint.to_string();
            return Err(OpenError::Old { url, found });
        }
        Ok(found)
    }

    async fn make_database(&self, server: &Client) -> Result<(), OpenError> {
        let name = self.endpoint.database();
        let known = server
            .query_raw("SELECT count() FROM system.databases WHERE name = {name:String}")
            .param("name", name)
            .fetch_one::<u64>();
        // A user without the right to make databases can use one that is there.
        if self.within(known).await? == 0 {
            let make = schema::database(name, self.cluster);
            self.within(server.query_raw(&make).execute()).await?;
        }
        Ok(())
    }

    async fn make_tables(&self, client: &Client) -> Result<(), OpenError> {
        let known = client
            .query_raw("SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'schema_version'")
            .fetch_one::<u64>();
        if self.within(known).await? == 0 {
            let make = schema::versions(self.cluster);
            self.within(client.query_raw(&make).execute()).await?;
        }
        let found = client
            .query_raw("SELECT max(version) FROM schema_version")
            .fetch_one::<u32>();
        let found = self.within(found).await?;
        if found > schema::KNOWN {
            return Err(OpenError::Newer {
                url: self.endpoint.to_string(),
                found,
                known: schema::KNOWN,
            });
        }
        for (version, statements) in schema::steps(found, self.cluster) {
            for statement in statements {
                self.within(client.query_raw(&statement).execute()).await?;
            }
            let note = format!("INSERT INTO schema_version SELECT {version}");
            self.within(client.query_raw(&note).execute()).await?;
        }
        Ok(())
    }

    /// Tries what the server needs later.
    async fn check_rights(&self, client: &Client) -> Result<(), OpenError> {
        for statement in [
            "INSERT INTO events (project) SELECT 0 FROM numbers(0)",
            "INSERT INTO metrics (project) SELECT 0 FROM numbers(0)",
            "INSERT INTO cutoffs (project) SELECT 0 FROM numbers(0)",
            "INSERT INTO left_out (project) SELECT 0 FROM numbers(0)",
            "SELECT bytes_on_disk FROM system.parts LIMIT 0",
            "SELECT free_space, total_space FROM system.disks LIMIT 0",
            "SELECT is_done FROM system.mutations LIMIT 0",
        ] {
            self.within(client.query_raw(statement).execute()).await?;
        }
        Ok(())
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, OpenError> {
        let answer = tokio::time::timeout(QUERY_TIME, answer).await;
        let answer = answer.unwrap_or(Err(Error::TimedOut));
        answer.map_err(|error| self.explained(&error))
    }

    fn explained(&self, error: &Error) -> OpenError {
        let (url, user) = (self.endpoint.to_string(), self.endpoint.user().to_owned());
        let text = match error {
            // The reason is in the source.
            Error::Network(source) => innermost(&**source),
            error => error.to_string(),
        };
        let text = self
            .endpoint
            .redact(text.lines().next().unwrap_or_default());
        match (error, code_of(error)) {
            (Error::Network(_) | Error::TimedOut, _) => OpenError::Unreachable { url, why: text },
            (_, Some(code::AUTHENTICATION_FAILED)) => OpenError::Refused { url, user },
            (_, Some(code::ACCESS_DENIED)) => OpenError::Rights {
                url,
                user,
                what: text,
            },
            _ => OpenError::Failed { url, what: text },
        }
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Whether a version such as `24.8.1.1` is too old. One that cannot be read is not.
fn is_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(year)), Some(Ok(month))) => (year, month) < OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_24_8_are_too_old() {
        for (version, expected) in [
            ("18.16.1", true),
            ("23.12.1.1", true),
            ("24.7.9", true),
            ("24.8.1.2684", false),
            ("26.9.2.1", false),
            ("head", false),
        ] {
            assert_eq!(is_old(version), expected, "{version}");
        }
    }
}
