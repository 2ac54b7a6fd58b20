//! Protects requests with a cookie: a browser sends it by itself, so the request may come from a page
//! of another site.

use axum::http::header;
use axum::http::request::Parts;

use super::client::Client;
use super::error::ApiError;
use super::public_url::PublicUrl;
use super::state::AppState;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Checks that a request with a cookie comes from a page of this server. Browsers say so in
/// `Sec-Fetch-Site`, which a page cannot forge; older ones, and all over plain HTTP, send `Origin`.
///
/// # Errors
///
/// 403 `cross_site`, which says what was seen and what was expected.
pub(crate) fn check(parts: &Parts, state: &AppState) -> Result<(), ApiError> {
    let (site, origin) = (
        text(parts, SEC_FETCH_SITE),
        text(parts, header::ORIGIN.as_str()),
    );
    let own = own_origin(parts, state);
    let public = state.public_url.as_ref().map(PublicUrl::origin);
    let is_ours = match site {
        Some(site) => site == "same-origin",
        None => origin.is_some_and(|origin| origin == own || Some(origin) == public),
    };
    if is_ours {
        return Ok(());
    }
    let seen = |it: Option<&str>| it.map_or_else(|| "none".to_owned(), |it| format!("{it:?}"));
    let expected = public.unwrap_or(&own);
    Err(ApiError::forbidden(format!(
        "A request that changes something with a session must come from a page of this server. \
         Seen: Origin {}, Sec-Fetch-Site {}. Expected: Origin {expected:?} or Sec-Fetch-Site \
         \"same-origin\". Behind a proxy, start the server with --public-url",
        seen(origin),
        seen(site)
    ))
    .code("cross_site"))
}

/// Like [`check`], but a program that names no origin passes: for requests that bring their own
/// password or link.
///
/// # Errors
///
/// 403 `cross_site`.
pub(crate) fn check_if_named(parts: &Parts, state: &AppState) -> Result<(), ApiError> {
    let names = [SEC_FETCH_SITE, header::ORIGIN.as_str()];
    if names.iter().all(|name| text(parts, name).is_none()) {
        return Ok(());
    }
    check(parts, state)
}

fn text<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

/// The origin that this request was sent to.
pub(crate) fn own_origin(parts: &Parts, state: &AppState) -> String {
    let scheme = if is_https(parts, state) {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{}", host(parts))
}

/// Whether the browser used HTTPS for this request: to this server, to a trusted proxy, or by the
/// public URL.
pub(crate) fn is_https(parts: &Parts, state: &AppState) -> bool {
    let by_public_url = state.public_url.as_ref().is_some_and(|url| {
        let host = host(parts);
        url.is_https() && url.origin().strip_prefix("https://") == Some(host)
    });
    by_public_url || Client::of_parts(parts, state).is_https
}

/// The host that this request was sent to.
fn host(parts: &Parts) -> &str {
    let authority = parts.uri.authority().map(|it| it.as_str());
    text(parts, header::HOST.as_str())
        .or(authority)
        .unwrap_or_default()
}
