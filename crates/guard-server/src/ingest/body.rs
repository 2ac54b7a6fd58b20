//! From what is on the wire to the bytes the agent wrote: read, inflated and
//! checked against their signature, within limits all the while.

use std::borrow::Cow;
use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt as _;
use guard_wire::header::SIGNATURE;
use guard_wire::sign;

use crate::error::ApiError;
use crate::state::Limits;
use crate::store::Project;

/// How long a client may take over its body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A body over the limit is read on up to so many times the limit, so that the
/// client is done writing and gets to read the answer.
const DRAIN_FACTOR: usize = 8;

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    tokio::time::timeout(READ_TIMEOUT, collect(body, limit))
        .await
        .unwrap_or_else(|_| {
            Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("The body did not come within {} s", READ_TIMEOUT.as_secs()),
            ))
        })
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut read = BytesMut::new();
    let mut len = 0_usize;
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|_| ApiError::bad_request("The body ended before it was complete"))?;
        len = len.saturating_add(chunk.len());
        if len <= limit {
            read.extend_from_slice(&chunk);
        } else if len > limit.saturating_mul(DRAIN_FACTOR) {
            break;
        }
    }
    if len > limit {
        return Err(ApiError::too_large(limit));
    }
    Ok(read.freeze())
}

/// The bytes the agent wrote. With a signing secret, only if they are signed:
/// some agents sign before compressing, older ones after.
pub(super) fn decode<'a>(
    raw: &'a [u8],
    headers: &HeaderMap,
    project: &Project,
    limits: Limits,
) -> Result<Cow<'a, [u8]>, ApiError> {
    let Some(secret) = &project.signing_secret else {
        return inflate(raw, headers, limits.decoded);
    };
    let signature = headers
        .get(SIGNATURE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| {
            ApiError::unauthorized("This project wants signed requests: send X-Payload-Signature")
        })?;
    let is_signed = |bytes: &[u8]| sign::verify(bytes, signature, secret.expose());
    let plain = inflate(raw, headers, limits.decoded);
    if is_signed(raw) {
        return plain;
    }
    match plain {
        // It may be signed, as nobody can tell: whoever sent it shall send less.
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(error),
        Ok(Cow::Owned(plain)) if is_signed(&plain) => Ok(Cow::Owned(plain)),
        // Whether it is garbled or badly signed, who sent it is not known.
        _ => Err(ApiError::unauthorized(
            "X-Payload-Signature does not match the body",
        )),
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
    // One byte more than allowed tells a full body from one that is too large.
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
        match read(body, 4).await {
            Ok(_) => StatusCode::OK,
            Err(error) => error.into_response().status(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let status = status_of(vec![Ok("ab")], true).await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn a_body_may_have_as_many_bytes_as_the_limit() {
        assert_eq!(status_of(vec![Ok("ab"), Ok("cd")], false).await, 200);
        assert_eq!(status_of(vec![Ok("ab"), Ok("cde")], false).await, 413);
    }

    #[tokio::test]
    async fn a_body_without_end_is_refused_after_some_of_it() {
        let chunks = (0..4).map(|_| Ok("0123456789")).collect();
        assert_eq!(status_of(chunks, true).await, 413);
    }

    #[tokio::test]
    async fn a_connection_cut_in_the_middle_is_an_error() {
        let cut = Err(io::ErrorKind::ConnectionReset.into());
        assert_eq!(status_of(vec![Ok("ab"), cut], false).await, 400);
    }
}
