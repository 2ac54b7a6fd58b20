//! The answer to a failed request: `{"detail": "..."}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;

use super::wrong_keys::WrongKey;
use crate::ingest::BatchError;
use crate::store::StoreError;

/// Seconds after which an agent may retry.
const RETRY_AFTER: u16 = 2;

/// The longest detail, in characters. A detail may quote the request.
const MAX_DETAIL: usize = 2000;

/// An answer that reports a failure.
#[derive(Debug, Error)]
#[error("{detail}")]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: String,
    is_wrong_key: bool,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
            detail.truncate(end);
            detail.push('…');
        }
        Self {
            status,
            detail,
            is_wrong_key: false,
        }
    }

    /// The API key in the request is not valid.
    pub(crate) fn wrong_key() -> Self {
        Self {
            is_wrong_key: true,
            ..Self::unauthorized("Unknown API key")
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Payload exceeds {limit} bytes"),
        )
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error == StoreError::InvalidCursor {
            return Self::bad_request(format!("before: {error}"));
        }
        Self::unavailable(format!("{error}; send the request again later"))
    }
}

impl From<BatchError> for ApiError {
    fn from(error: BatchError) -> Self {
        let status = match error {
            BatchError::TooManyRecords { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BatchError::Json(_) | BatchError::NoRecords => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        tracing::debug!(status = self.status.as_u16(), detail = %self.detail, "refused");
        let mut response = (self.status, Json(json!({ "detail": self.detail }))).into_response();
        if self.is_wrong_key {
            response.extensions_mut().insert(WrongKey);
        }
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
