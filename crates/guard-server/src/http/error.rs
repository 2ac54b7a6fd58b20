//! The answer to a failed request: `{"detail": "...", "code": "...", "field": ... or null}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use super::wrong_keys::WrongKey;
use crate::ingest::BatchError;
use crate::store::StoreError;

/// Seconds after which an agent may retry.
const RETRY_AFTER: u16 = 2;

/// The longest detail, in characters. A detail may quote the request.
const MAX_DETAIL: usize = 2000;

/// The code of a refusal, as an extension of its answer. It is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusalCode(pub(crate) &'static str);

/// Why a request failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorAnswer {
    /// What is wrong and what to do, for people.
    #[schema(max_length = 2001)]
    detail: String,
    /// What is wrong, for programs.
    code: &'static str,
    /// The path of the wrong field or the name of the wrong parameter.
    #[schema(required = true)]
    field: Option<String>,
    /// Where in the field the error is, in characters; only for filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
}

/// An answer that reports a failure.
#[derive(Debug, Error)]
#[error("{detail}")]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: String,
    code: &'static str,
    /// The path of the wrong field.
    field: Option<String>,
    /// Where in the field, in characters.
    position: Option<usize>,
    retry_after: u16,
    is_wrong_key: bool,
}

/// The code of an error that has no other.
fn default_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "bad_request",
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::REQUEST_TIMEOUT => "timeout",
        StatusCode::CONFLICT => "needs_confirmation",
        StatusCode::PRECONDITION_FAILED => "changed_since",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_encoding",
        StatusCode::TOO_MANY_REQUESTS => "too_many_requests",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "error",
    }
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
            code: default_code(status),
            field: None,
            position: None,
            retry_after: RETRY_AFTER,
            is_wrong_key: false,
        }
    }

    /// Replaces the code.
    #[must_use]
    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    /// How many seconds to wait before the next request.
    #[must_use]
    pub(crate) fn retry_after(self, retry_after: u16) -> Self {
        Self {
            retry_after,
            ..self
        }
    }

    /// Names the wrong field by its path.
    #[must_use]
    pub(crate) fn field(self, field: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }

    /// Says where in the field the error is, in characters.
    #[must_use]
    pub(crate) fn position(self, position: usize) -> Self {
        Self {
            position: Some(position),
            ..self
        }
    }

    /// The key, token or password in the request is not valid. Many of them from one address are
    /// answered late.
    pub(crate) fn wrong_key(detail: &str) -> Self {
        Self {
            is_wrong_key: true,
            ..Self::unauthorized(detail)
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
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
        if error == StoreError::TimedOut {
            let detail = format!(
                "{error}; shorten the range, or filter by event_type, endpoint or another field"
            );
            return Self::unavailable(detail).code("query_timeout");
        }
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
        tracing::debug!(status = self.status.as_u16(), code = self.code, detail = %self.detail, "refused");
        let body = ErrorAnswer {
            detail: self.detail,
            code: self.code,
            field: self.field,
            position: self.position,
        };
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(RefusalCode(self.code));
        if self.is_wrong_key {
            response.extensions_mut().insert(WrongKey);
        }
        let headers = response.headers_mut();
        let is_temporary = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if is_temporary.contains(&self.status) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
