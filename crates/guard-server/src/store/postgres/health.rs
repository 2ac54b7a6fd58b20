//! What a failure means, and its line in the log.

use std::error::Error as _;
use std::fmt::Display;
use std::time::Instant;

use deadpool_postgres::PoolError;
use deadpool_postgres::TimeoutType;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::store::StoreError;
use crate::trouble::TroubleLog;

/// Kinds of failures without a SQLSTATE.
const NO_CONNECTION: i32 = -1;
const NO_ANSWER: i32 = -2;
const UNREADABLE: i32 = -3;

/// Logs each kind of failure once, until a call succeeds.
#[derive(Debug, Default)]
pub(super) struct Health(TroubleLog);

impl Health {
    /// Records an answer.
    pub(super) fn answered(&self) {
        if let Some(failures) = self.0.succeeded() {
            tracing::info!(failures, "PostgreSQL works again");
        }
    }

    /// Records that a statement failed.
    pub(super) fn failed(&self, error: &Error) -> StoreError {
        let Some(code) = error.code() else {
            self.log(NO_CONNECTION, &describe(error));
            return StoreError::Unavailable;
        };
        if is_contention(code) {
            return StoreError::Busy;
        }
        // A SQLSTATE has five digits of base 36.
        let kind = i32::from_str_radix(code.code(), 36).unwrap_or(NO_CONNECTION);
        self.log(kind, &describe(error));
        StoreError::Unavailable
    }

    /// Records that there was no connection to take.
    pub(super) fn no_connection(&self, error: &PoolError) -> StoreError {
        match error {
            // The server may be well, and have much to do.
            PoolError::Timeout(TimeoutType::Wait) => return StoreError::Busy,
            PoolError::Backend(error) => return self.failed(error),
            error => self.log(NO_CONNECTION, error),
        }
        StoreError::Unavailable
    }

    /// Records that the server did not answer in time.
    pub(super) fn silent(&self) -> StoreError {
        self.log(NO_ANSWER, &"no answer in time");
        StoreError::Unavailable
    }

    /// Records that a stored value cannot be read.
    pub(super) fn unreadable(&self, error: &(dyn std::error::Error + Send + Sync)) -> StoreError {
        self.log(
            UNREADABLE,
            &format_args!("a stored value cannot be read: {error}"),
        );
        StoreError::Unavailable
    }

    /// Records that a value cannot be written.
    pub(super) fn unwritable(&self, error: &(dyn std::error::Error + Send + Sync)) -> StoreError {
        self.log(
            UNREADABLE,
            &format_args!("a value cannot be written: {error}"),
        );
        StoreError::Unavailable
    }

    fn log(&self, kind: i32, error: &dyn Display) {
        if self.0.failed(kind, Instant::now()) {
            tracing::error!(
                %error,
                "PostgreSQL failed; the log is silent about others until a call succeeds"
            );
        }
    }
}

/// Whether others were in the way, so that the same call may succeed later.
fn is_contention(code: &SqlState) -> bool {
    [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ]
    .contains(code)
}

/// The cause of an error, for a line. Leaves out what the server tells of stored values.
pub(super) fn describe(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", db.message(), db.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
