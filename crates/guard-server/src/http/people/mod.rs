//! People, sessions, tokens and the audit log over HTTP.

pub(super) mod audit;
pub(super) mod session;
pub(super) mod tokens;

use axum::http::StatusCode;
use serde::Serialize;

use super::error::ApiError;
use crate::people::PeopleError;

/// A list in an answer.
#[derive(Debug, Serialize)]
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    /// Where the next page begins.
    pub(crate) next: Option<String>,
}

impl<T> Listed<T> {
    /// A list that fits into one page.
    pub(crate) const fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

impl From<PeopleError> for ApiError {
    fn from(error: PeopleError) -> Self {
        let detail = error.to_string();
        match error {
            PeopleError::Field { field, .. } => Self::bad_request(detail).field(field),
            PeopleError::Full { .. } => Self::bad_request(detail).code("too_many"),
            PeopleError::NotFound(_) => Self::not_found(detail),
            PeopleError::Store(error) => error.into(),
            PeopleError::NoRandomness(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
        }
    }
}
