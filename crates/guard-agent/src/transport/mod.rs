//! The interface between the agent and the network.

pub(crate) mod certificates;
pub(crate) mod http;
pub(crate) mod proxy;

pub use self::proxy::proxy_for;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use thiserror::Error;

/// A request to the backend.
#[derive(Debug, Clone)]
pub struct Request {
    /// Path below the endpoint: `/api/v1/events`.
    pub path: &'static str,
    /// Headers in addition to those of every request.
    pub headers: Vec<(&'static str, String)>,
    /// The body to post; `None` for a GET.
    pub body: Option<Bytes>,
    /// How long the backend may hold the request before it answers, in addition to the
    /// usual timeout.
    pub hold: Duration,
    /// Maximum number of bytes to read of the answer.
    pub max_response: usize,
}

impl Request {
    /// A GET of `path` that is not held and reads at most [`MAX_RESPONSE`] bytes.
    #[must_use]
    pub fn new(path: &'static str) -> Self {
        Self {
            path,
            headers: Vec::new(),
            body: None,
            hold: Duration::ZERO,
            max_response: MAX_RESPONSE,
        }
    }
}

/// An answer, read up to [`Request::max_response`] bytes.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `Content-Type`, as sent.
    pub content_type: Option<String>,
    /// `Retry-After`, as sent.
    pub retry_after: Option<String>,
    /// `X-Payload-Signature`, as sent.
    pub signature: Option<String>,
    /// `ETag`, as sent.
    pub tag: Option<String>,
    /// `Preference-Applied`, as sent.
    pub preference_applied: Option<String>,
    /// The body, or the part of it that was read.
    pub body: Vec<u8>,
}

/// Default limit on the bytes read of an answer.
pub const MAX_RESPONSE: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransportError {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// No complete answer within the timeout.
    #[error("no answer within the timeout")]
    Timeout,
    /// The connection broke while sending or reading.
    #[error("connection broken: {0}")]
    Broken(String),
    /// The application's own transport failed; the message says why.
    #[error("{0}")]
    Refused(String),
}

/// Sends requests to a backend. HTTP is built in. Tests and special environments can
/// supply their own transport.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request. It must finish by itself: the agent applies no further timeout.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>>;
}
