//! Location and limits of the records in Redis.

use std::fmt;
use std::time::Duration;

use redis::{Client, Connection, ConnectionInfo, IntoConnectionInfo, RedisResult};
use reqwest::Url;

use super::trust;
use crate::defaults::DEFAULT_REDIS_MAX_BYTES;
use crate::error::ConfigError;

/// Timeout for connecting to Redis, and for each answer.
pub const REDIS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a process keeps its records after it last renewed its lease.
pub const REDIS_LEASE: Duration = Duration::from_secs(30);

/// Location and limits of a [`RedisStore`](super::RedisStore).
///
/// ```
/// use guard_agent::store::RedisOptions;
///
/// let options = RedisOptions::new("redis://127.0.0.1:6379/0")?.project("shop");
/// # Ok::<(), guard_agent::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    info: ConnectionInfo,
    encrypted: bool,
    /// Host, port and database, for messages.
    place: String,
    project: String,
    pub(super) max_bytes: u64,
    pub(super) lease: Duration,
}

impl RedisOptions {
    /// Parses a URL: `redis://` or, with TLS, `rediss://`, then
    /// `user:password@host:port/database`. Only the host is required.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; it does not contain the password.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let fail = |remedy: &str| ConfigError::Secret {
            field: "redis_url",
            remedy: remedy.to_owned(),
        };
        let form = "not such a URL; give redis://user:password@host:port/database, \
                    or rediss:// for TLS";
        let parsed = Url::parse(url.trim()).map_err(|_| fail(form))?;
        let encrypted = match parsed.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(fail(form)),
        };
        let host = parsed.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| fail(form))?;
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(fail(
                "has a part after ? or #, which is not supported; leave it out",
            ));
        }
        let info = parsed.as_str().into_connection_info().map_err(|_| {
            fail("its database is not a number, or its password is not percent-encoded text")
        })?;
        let port = parsed.port().unwrap_or(6379);
        let place = format!("{host}:{port}/{}", info.redis_settings().db());
        Ok(Self {
            info,
            encrypted,
            place,
            project: "default".to_owned(),
            max_bytes: DEFAULT_REDIS_MAX_BYTES,
            lease: REDIS_LEASE,
        })
    }

    /// Sets the project of the records. Agents of a project share them.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    /// Sets the maximum number of bytes of the project's records, of all processes
    /// together. Default [`DEFAULT_REDIS_MAX_BYTES`].
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Sets how long a process keeps its records after it last renewed its lease. Others
    /// take them over within twice that time. Default [`REDIS_LEASE`].
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Host, port and database.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A key of the project. The braces keep all of them on one node of a cluster.
    pub(super) fn key(&self, name: &str) -> String {
        format!("guard_agent:{{{}}}:{name}", self.project)
    }

    pub(super) fn connect(&self) -> RedisResult<Connection> {
        let client = if self.encrypted {
            trust::choose_cryptography();
            Client::build_with_tls(self.info.clone(), trust::certificates())?
        } else {
            Client::open(self.info.clone())?
        };
        let connection = client.get_connection_with_timeout(REDIS_TIMEOUT)?;
        connection.set_read_timeout(Some(REDIS_TIMEOUT))?;
        connection.set_write_timeout(Some(REDIS_TIMEOUT))?;
        Ok(connection)
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("place", &self.place)
            .field("project", &self.project)
            .field("max_bytes", &self.max_bytes)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_parsed_and_its_password_is_never_shown() {
        let options = RedisOptions::new("rediss://me:hush%21@cache.example:7000/3").unwrap();
        assert_eq!(options.place(), "cache.example:7000/3");
        assert!(options.encrypted);
        assert_eq!(options.info.redis_settings().password(), Some("hush!"));
        let shown = format!("{options:?}");
        assert!(
            shown.contains("cache.example:7000/3") && !shown.contains("hush"),
            "{shown}"
        );
        let plain = RedisOptions::new("redis://localhost").unwrap();
        assert_eq!(plain.place(), "localhost:6379/0");
    }

    #[test]
    fn invalid_urls_are_refused_without_repeating_them() {
        for url in [
            "",
            "localhost:6379",
            "http://:hush@localhost",
            "redis://:hush@",
            "redis://:hush@localhost/seven",
            "redis://localhost?password=hush",
            "rediss://:hush@localhost#insecure",
        ] {
            let error = RedisOptions::new(url).unwrap_err().to_string();
            assert!(error.starts_with("redis_url: "), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn all_keys_of_a_project_share_one_cluster_slot() {
        let options = RedisOptions::new("redis://localhost")
            .unwrap()
            .project("shop");
        assert_eq!(options.key("records"), "guard_agent:{shop}:records");
    }
}
