//! Alerts and channels over HTTP.

mod bodies;
pub(super) mod channels;
mod project;

use std::sync::Arc;

use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::state::AppState;
use crate::alerts::manage::ManageError;

/// The routes of a project.
pub(super) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::default()
        .routes(routes!(project::list, project::add))
        .routes(routes!(project::change, project::remove))
        .routes(routes!(project::history))
        .routes(routes!(project::mute))
}

impl From<ManageError> for ApiError {
    fn from(error: ManageError) -> Self {
        let detail = error.to_string();
        match error {
            ManageError::Field(error) => {
                let refused = Self::bad_request(detail).code(error.code);
                let refused = refused.field(error.field);
                match error.position {
                    Some(position) => refused.position(position),
                    None => refused,
                }
            }
            ManageError::NoSuchAlert(_) => Self::not_found(detail).code("no_such_alert"),
            ManageError::NoSuchChannel(_) => Self::not_found(detail).code("no_such_channel"),
            ManageError::TooMany { .. } => Self::bad_request(detail).code("too_many"),
            ManageError::InUse(_) => Self::bad_request(detail).code("in_use"),
            ManageError::Changed => Self::new(StatusCode::PRECONDITION_FAILED, detail),
            ManageError::Store(error) => error.into(),
            ManageError::NoRandomness(_) => Self::unavailable(detail),
        }
    }
}
