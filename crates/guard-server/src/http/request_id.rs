//! Request ids: each answer has an `X-Request-Id`, and so has each log line that the request
//! causes. A proxy may choose the id.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::client::Client;
use super::later::when_made;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that a client may choose.
const MAX_LEN: usize = 64;

/// Gives the request its id, and logs its answer at the level `debug`.
pub(super) async fn identify(request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(unique);
    let span = tracing::info_span!("request", id = %id);
    let (begun, method) = (Instant::now(), request.method().clone());
    let path = request.uri().path().to_owned();
    let client = request.extensions().get::<Client>().copied();
    let response = next.run(request).instrument(span.clone()).await;
    when_made(response, move |mut response| {
        let status = response.status().as_u16();
        span.in_scope(|| {
            tracing::debug!(
                %method, path, status,
                ms = begun.elapsed().as_millis(),
                address = client.map(|client| tracing::field::display(client.address)),
                "answered"
            );
        });
        if let Ok(id) = HeaderValue::try_from(id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    })
}

/// The id that the client chose, if it is harmless in a log.
fn given(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_usable = !id.is_empty() && id.len() <= MAX_LEN && id.bytes().all(is_plain);
    is_usable.then(|| id.to_owned())
}

/// An id that no other request of this process has, and hardly one of another process.
fn unique() -> String {
    static FIRST: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}", FIRST.wrapping_add(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(id: &'static str) -> Option<String> {
        let header = (REQUEST_ID, HeaderValue::from_static(id));
        given(&HeaderMap::from_iter([header]))
    }

    #[test]
    fn a_client_may_choose_an_id_that_is_harmless_in_a_log() {
        assert_eq!(chosen("a-B_1.2").as_deref(), Some("a-B_1.2"));
        for id in ["", "a b", "a\"b", "a=b"] {
            assert_eq!(chosen(id), None, "{id:?}");
        }
        let long = HeaderValue::try_from("x".repeat(MAX_LEN + 1)).unwrap();
        assert_eq!(given(&HeaderMap::from_iter([(REQUEST_ID, long)])), None);
    }

    #[test]
    fn each_request_has_another_id() {
        assert_ne!(unique(), unique());
    }
}
