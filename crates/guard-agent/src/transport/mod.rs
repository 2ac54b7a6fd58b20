//! The seam between the agent and the network.

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
    /// Where, below the endpoint: `/api/v1/events`.
    pub path: &'static str,
    /// Headers beside those every request has.
    pub headers: Vec<(&'static str, String)>,
    /// What to post; nothing for a GET.
    pub body: Option<Bytes>,
    /// How long the backend may hold the request before it answers. This comes on
    /// top of the time that requests have otherwise.
    pub hold: Duration,
    /// How much of the answer is read, in bytes.
    pub max_response: usize,
}

impl Request {
    /// A GET of `path`, answered at once by at most [`MAX_RESPONSE`] bytes.
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

/// What came back, read to at most [`Request::max_response`] bytes.
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

/// How much of an answer is read, in bytes, unless a request says otherwise.
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
    /// The program's own transport did not take the request; says why.
    #[error("{0}")]
    Refused(String),
}

/// Carries requests to a backend. HTTP is built in; tests and special
/// environments bring their own.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request. Must end on its own: the agent sets no limit of its own.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>>;
}
