//! Protects requests with a cookie: a browser sends it by itself, so the request may come from a page
//! of another site.

use axum::http::header;
use axum::http::request::Parts;

use super::client::Client;
use super::error::ApiError;
use super::state::AppState;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Checks that a request with a cookie comes from a page of this server. Browsers say so in
/// `Sec-Fetch-Site`, which a page cannot forge; older ones, and all over plain HTTP, send `Origin`.
///
/// # Errors
///
/// 403 `cross_site`, which says what was seen and what was expected.
pub(crate) fn check(parts: &Parts, state: &AppState) -> Result<(), ApiError> {
    let text = |name: &str| parts.headers.get(name).and_then(|it| it.to_str().ok());
    let (site, origin) = (text(SEC_FETCH_SITE), text(header::ORIGIN.as_str()));
    let expected = origin_of(parts, state);
    let is_ours = match site {
        Some(site) => site == "same-origin",
        None => origin.is_some_and(|origin| origin == expected),
    };
    if is_ours {
        return Ok(());
    }
    let seen =
        |value: Option<&str>| value.map_or_else(|| "none".to_owned(), |it| format!("{it:?}"));
    Err(ApiError::forbidden(format!(
        "A request that changes something with a session must come from a page of this server. \
         Seen: Origin {}, Sec-Fetch-Site {}. Expected: Origin {expected:?} or Sec-Fetch-Site \
         \"same-origin\". Behind a proxy, start the server with --public-url",
        seen(origin),
        seen(site)
    ))
    .code("cross_site"))
}

/// The origin of this server as the browser sees it.
fn origin_of(parts: &Parts, state: &AppState) -> String {
    if let Some(url) = &state.public_url {
        return url.origin().to_owned();
    }
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|it| it.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(|it| it.as_str()));
    let scheme = if is_https(parts, state) {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{}", host.unwrap_or_default())
}

/// Whether the browser uses HTTPS.
fn is_https(parts: &Parts, state: &AppState) -> bool {
    match &state.public_url {
        Some(url) => url.is_https(),
        None => Client::of_parts(parts, state).is_https,
    }
}
