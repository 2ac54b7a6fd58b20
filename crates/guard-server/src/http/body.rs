//! Reads a request body, decompresses it and checks its signature, all within limits. The result is
//! the bytes that the agent wrote. If a request is refused before its body was read, the rest of
//! the body is read and dropped, so that the client receives the answer.

use std::borrow::Cow;
use std::io::Read as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt as _;
use guard_wire::header::SIGNATURE;
use guard_wire::sign;
use hyper::body::{Frame, SizeHint};

use crate::http::capacity::memory::{Memory, Reserved, SMALL};
use crate::http::error::ApiError;
use crate::http::state::{AppState, Limits};
use crate::store::Project;

/// How long a client may take to send its body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The rest of a refused body is read up to this multiple of the limit.
const DRAIN_FACTOR: usize = 8;

/// Reads a body of at most `limit` bytes. The bytes count against the memory budget until they are
/// dropped.
pub(crate) async fn read(body: Body, limit: usize, memory: &Memory) -> Result<Bytes, ApiError> {
    tokio::time::timeout(READ_TIMEOUT, collect(body, limit, memory))
        .await
        .unwrap_or_else(|_| {
            Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("The body did not come within {} s", READ_TIMEOUT.as_secs()),
            ))
        })
}

async fn collect(body: Body, limit: usize, memory: &Memory) -> Result<Bytes, ApiError> {
    let declared = body.size_hint().upper();
    let declared = declared.and_then(|len| usize::try_from(len).ok());
    let mut stream = body.into_data_stream();
    let (mut read, mut reserved) = (Vec::new(), Reserved::default());
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|_| ApiError::bad_request("The body ended before it was complete"))?;
        if chunk.len() > limit - read.len() {
            return Err(ApiError::too_large(limit));
        }
        let len = read.len() + chunk.len();
        if len > read.capacity() {
            let capacity = match declared {
                // Reserve memory for the whole body at once: bodies that each hold a part of theirs
                // could block each other. A client that declares a large body and sends little of
                // it reserves little.
                Some(declared) if len > SMALL => declared.clamp(len, limit),
                _ => len.max((2 * read.capacity()).min(limit)),
            };
            reserved.grow(memory, capacity).await?;
            read.reserve_exact(capacity - read.len());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(reserved.keep(read.into()))
}

/// If a request is refused, reads and drops the rest of its body, within limits. The client can
/// then finish writing and read the answer.
pub(crate) async fn drain(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let asks_first = request.headers().contains_key(header::EXPECT);
    let (head, body) = request.into_parts();
    let rest = Rest(Arc::new(Mutex::new(body)));
    let body = Body::new(rest.clone());
    let response = next.run(Request::from_parts(head, body)).await;
    let is_read_on = match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => true,
        // The client has used up its time.
        StatusCode::REQUEST_TIMEOUT => false,
        // A client that sends `Expect` has not sent its body yet.
        status => (status.is_client_error() || status.is_server_error()) && !asks_first,
    };
    if is_read_on {
        // The answer is the same however the body ends.
        let _ = tokio::time::timeout(READ_TIMEOUT, skip(rest, state.limits.encoded)).await;
    }
    response
}

async fn skip(rest: Rest, limit: usize) {
    let mut room = limit.saturating_mul(DRAIN_FACTOR);
    let mut rest = Body::new(rest).into_data_stream();
    while let Some(Ok(chunk)) = rest.next().await {
        let Some(left) = room.checked_sub(chunk.len()) else {
            return;
        };
        room = left;
    }
}

/// The unread part of a body. Clones share it: each continues where the others stopped.
#[derive(Clone)]
struct Rest(Arc<Mutex<Body>>);

impl Rest {
    fn body(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}

/// Returns the bytes that the agent wrote. If the project has a signing secret, their signature is
/// checked; without one they are accepted only if the project does not require it. Some agents sign
/// before compression, older ones after it.
pub(crate) fn decode<'a>(
    raw: &'a [u8],
    headers: &HeaderMap,
    project: &Project,
    limits: Limits,
) -> Result<Cow<'a, [u8]>, ApiError> {
    let Some(secret) = &project.signing_secret else {
        return inflate(raw, headers, limits.decoded);
    };
    let signature = headers.get(SIGNATURE);
    if signature.is_none() && !project.settings.require_signature {
        return inflate(raw, headers, limits.decoded);
    }
    let signature = signature
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| {
            ApiError::unauthorized("This project wants signed requests: send X-Payload-Signature")
                .code("signature_required")
        })?;
    let is_signed = |bytes: &[u8]| sign::verify(bytes, signature, secret.expose());
    let plain = inflate(raw, headers, limits.decoded);
    if is_signed(raw) {
        return plain;
    }
    match plain {
        // The body is too large to check its signature, so the answer names only the limit.
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(error),
        Ok(Cow::Owned(plain)) if is_signed(&plain) => Ok(Cow::Owned(plain)),
        // Garbled or badly signed: the sender is unknown either way.
        _ => Err(
            ApiError::unauthorized("X-Payload-Signature does not match the body")
                .code("wrong_signature"),
        ),
    }
}

fn inflate<'a>(
    raw: &'a [u8],
    headers: &HeaderMap,
    limit: usize,
) -> Result<Cow<'a, [u8]>, ApiError> {
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map_or("", |value| value.to_str().unwrap_or("?"))
        .trim();
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
        if raw.len() > limit {
            return Err(ApiError::too_large(limit));
        }
        return Ok(Cow::Borrowed(raw));
    }
    if !encoding.eq_ignore_ascii_case("gzip") && !encoding.eq_ignore_ascii_case("x-gzip") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding is neither gzip nor identity",
        ));
    }
    let mut plain = Vec::new();
    // Read one byte more than allowed, to tell a full body from one that is too large.
    let most = u64::try_from(limit).map_or(u64::MAX, |limit| limit.saturating_add(1));
    MultiGzDecoder::new(raw)
        .take(most)
        .read_to_end(&mut plain)
        .map_err(|error| ApiError::bad_request(format!("Malformed gzip: {error}")))?;
    if plain.len() > limit {
        return Err(ApiError::too_large(limit));
    }
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::response::IntoResponse as _;
    use futures_util::stream;

    use super::*;

    async fn status_of(chunks: Vec<io::Result<&'static str>>, stalls: bool) -> StatusCode {
        let chunks = stream::iter(chunks);
        let body = if stalls {
            Body::from_stream(chunks.chain(stream::pending()))
        } else {
            Body::from_stream(chunks)
        };
        match read(body, 4, &Memory::new(1024)).await {
            Ok(_) => StatusCode::OK,
            Err(error) => error.into_response().status(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_times_out() {
        let status = status_of(vec![Ok("ab")], true).await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn a_body_may_be_as_long_as_the_limit() {
        assert_eq!(status_of(vec![Ok("ab"), Ok("cd")], false).await, 200);
        assert_eq!(status_of(vec![Ok("ab"), Ok("cde")], false).await, 413);
    }

    #[tokio::test]
    async fn an_endless_body_is_refused_after_the_limit() {
        let chunks = (0..4).map(|_| Ok("0123456789")).collect();
        assert_eq!(status_of(chunks, true).await, 413);
    }

    #[tokio::test]
    async fn a_connection_cut_within_the_body_is_an_error() {
        let cut = Err(io::ErrorKind::ConnectionReset.into());
        assert_eq!(status_of(vec![Ok("ab"), cut], false).await, 400);
    }
}
