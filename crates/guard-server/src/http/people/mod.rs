//! People, sessions, tokens and the audit log over HTTP.

pub(super) mod audit;
#[expect(clippy::module_inception, reason = "people are one kind of principal")]
pub(super) mod people;
pub(super) mod session;
pub(super) mod setup;
mod sign_ins;
pub(super) mod tokens;

pub(crate) use self::sign_ins::SignIns;

use axum::http::StatusCode;

use super::error::ApiError;
use crate::accounts::PeopleError;

impl From<PeopleError> for ApiError {
    fn from(error: PeopleError) -> Self {
        let detail = error.to_string();
        match error {
            PeopleError::Field { field, .. } => Self::bad_request(detail).field(field),
            PeopleError::Full { .. } => Self::bad_request(detail).code("too_many"),
            PeopleError::NotFound(_) => Self::not_found(detail),
            PeopleError::Link => Self::not_found(detail).code("no_such_link"),
            PeopleError::LastAdmin => Self::new(StatusCode::CONFLICT, detail).code("last_admin"),
            PeopleError::Store(error) => error.into(),
            PeopleError::NoRandomness(_) | PeopleError::Password => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
        }
    }
}
