//! Why a change to people or tokens was refused.

use thiserror::Error;

use crate::people::credential::NoRandomness;
use crate::store::StoreError;

/// Why a change to people or tokens was refused. Nothing changed then.
#[derive(Debug, Error)]
pub enum PeopleError {
    /// A field is not valid.
    #[error("{field}: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// The problem and its remedy.
        problem: String,
    },
    /// There are too many already.
    #[error("there are {limit} {what} already; remove some that are no longer used")]
    Full {
        /// What.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The link is unknown or used up.
    #[error("this link is unknown or was used; make another with guard-server people link NAME")]
    Link,
    /// The change would leave no one who can manage the server.
    #[error("this is the last admin with a password and all projects; make another one first")]
    LastAdmin,
    /// The password could not be hashed.
    #[error("the password cannot be hashed: the system gives no random bytes or no memory")]
    Password,
    /// There is no such person or token.
    #[error("{0}")]
    NotFound(String),
    /// The change could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No credential could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl PeopleError {
    pub(super) fn field(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Field {
            field,
            problem: problem.into(),
        }
    }
}
