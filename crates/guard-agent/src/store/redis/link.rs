//! The connection to Redis. It is closed after a failure.

use std::time::Duration;

use redis::{Cmd, Connection, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};

use super::options::{REDIS_TIMEOUT, RedisOptions};
use crate::store::StoreError;
use crate::transport::certificates::certificate_advice;

/// Timeout for Redis while the process ends.
const FAREWELL: Duration = Duration::from_millis(200);

/// A connection, open or closed.
pub(super) struct Link {
    pub(super) options: RedisOptions,
    connection: Option<Connection>,
}

impl Link {
    pub(super) fn new(options: RedisOptions) -> Self {
        Self {
            options,
            connection: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    pub(super) fn open(&mut self) -> Result<(), StoreError> {
        let connection = self.options.connect();
        self.connection = Some(connection.map_err(|error| self.describe(&error))?);
        // Only the first command shows whether a password was needed.
        let answered = self.run(|connection| redis::cmd("PING").query::<()>(connection));
        if answered.is_err() {
            self.close();
        }
        answered
    }

    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// Shortens the timeout for answers because the process ends.
    pub(super) fn shorten_timeout(&self) {
        if let Some(connection) = &self.connection
            && connection.set_read_timeout(Some(FAREWELL)).is_err()
        {
            // On failure the longer timeout stays in force.
        }
    }

    /// Runs a script. Redis accepts numbers, names and bytes alike as arguments.
    pub(super) fn script<T: FromRedisValue>(
        &mut self,
        script: &str,
        keys: &[&str],
        fill: impl FnOnce(&mut Cmd),
    ) -> Result<T, StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys);
        fill(&mut command);
        self.run(|connection| command.query(connection))
    }

    /// Runs an operation on the connection. Closes the connection if the answer may still
    /// be on its way.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let Some(connection) = &mut self.connection else {
            return Err(StoreError::Failed("not connected to Redis".to_owned()));
        };
        work(connection).map_err(|error| {
            if !is_harmless_refusal(&error) {
                self.connection = None;
            }
            self.describe(&error)
        })
    }

    /// Describes the failure and the remedy, without the URL, which may hold a password.
    fn describe(&self, error: &RedisError) -> StoreError {
        let trouble = match error.kind() {
            _ if error.code() == Some("OOM") => {
                "is out of memory: raise its maxmemory, or see why the backend does not keep up"
                    .to_owned()
            }
            ErrorKind::AuthenticationFailed => refused(),
            _ if error.code() == Some("NOAUTH") => refused(),
            ErrorKind::Server(ServerErrorKind::NoPerm) => format!(
                "does not let this user do it ({error}): allow EVAL, stream commands and INFO on \
                 keys guard_agent:*"
            ),
            _ if error.is_timeout() => format!(
                "does not answer within {REDIS_TIMEOUT:?}: see whether it is overloaded or \
                 unreachable"
            ),
            // The words of rustls for a certificate that it rejects.
            ErrorKind::Io if error.to_string().contains("invalid peer certificate") => {
                let advice = certificate_advice(&error.to_string());
                let advice = advice.map(|advice| [", as ", advice].concat());
                let general = ": set SSL_CERT_FILE to the certificate of its authority, and give \
                               the name that its own is for";
                let advice = advice.as_deref().unwrap_or(general);
                format!("cannot prove who it is ({error}){advice}")
            }
            // Redis 6 puts this code into the text of a script error.
            _ if error.to_string().contains("NOGROUP") => {
                "has lost the agents' consumer group, or its stream: somebody removed it; keep \
                 others away from keys guard_agent:*. It is made again, and what memory holds is \
                 saved there again"
                    .to_owned()
            }
            ErrorKind::Io => format!("cannot be reached ({error}): see whether it runs"),
            _ => format!("reports an error ({error}): see its log"),
        };
        StoreError::Failed(format!("the Redis at {} {trouble}", self.options.place()))
    }
}

fn refused() -> String {
    "refuses the user or the password: correct redis_url".to_owned()
}

/// True if Redis refused a command for a reason that affects neither the connection
/// nor the records.
fn is_harmless_refusal(error: &RedisError) -> bool {
    matches!(error.code(), Some("OOM" | "MISCONF" | "NOREPLICAS"))
}
