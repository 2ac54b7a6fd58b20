//! Security headers on every answer. An answer that needs another policy sets it itself.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::client::Client;
use super::later::when_made;

/// Only this server's files, no inline code or styles, and no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
/// A year, so that browsers never use plain HTTP for this name again.
const TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// `same-origin` as the referrer policy: with `no-referrer`, browsers send `Origin: null`, and the
/// check of the origin would refuse the server's own pages.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Adds the headers that the answer does not have.
pub(super) async fn shield(request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Client>().copied();
    let is_https = client.is_some_and(|client| client.is_https);
    when_made(next.run(request).await, move |mut response| {
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers
                .entry(name)
                .or_insert(HeaderValue::from_static(value));
        }
        if is_https {
            headers
                .entry(header::STRICT_TRANSPORT_SECURITY)
                .or_insert(TRANSPORT);
        }
        response
    })
}
