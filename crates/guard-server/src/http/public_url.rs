//! The URL under which clients reach the server: its origin, and the path that it is mounted at.

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::{Authority, PathAndQuery};
use thiserror::Error;
use tower::ServiceExt as _;

/// The text is no URL under which the server can be reached.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is no URL such as https://guard.example or https://example.com/guard: {problem}")]
pub struct InvalidUrl {
    text: String,
    problem: &'static str,
}

/// The URL under which clients reach the server, such as `https://example.com/guard`.
///
/// ```
/// use guard_server::PublicUrl;
///
/// let url: PublicUrl = "https://Example.com:443/guard/".parse()?;
/// assert_eq!(url.origin(), "https://example.com");
/// assert_eq!(url.base(), "/guard");
/// assert_eq!(url.link("/setup"), "https://example.com/guard/setup");
/// # Ok::<(), guard_server::http::InvalidUrl>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    origin: Arc<str>,
    base: Arc<str>,
}

impl PublicUrl {
    /// Scheme, host, and the port unless it is the default one, as browsers send it in `Origin`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The path that the server is mounted at: empty, or a path that begins with a slash and does
    /// not end with one.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether clients use HTTPS.
    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https:")
    }

    /// The full URL of one of the server's paths.
    pub fn link(&self, path: &str) -> String {
        [self.origin(), self.base(), path].concat()
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let invalid = |problem| InvalidUrl {
            text: text.to_owned(),
            problem,
        };
        if text.contains(['?', '#']) {
            return Err(invalid("it must have no query and no fragment"));
        }
        let uri: Uri = text.parse().map_err(|_| invalid("it cannot be read"))?;
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        let default_port = match &*scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(invalid("it must begin with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
        if authority.as_str().contains('@') {
            // The text may hold a password.
            return Err(InvalidUrl {
                text: "the given URL".to_owned(),
                problem: "it must have no user name",
            });
        }
        let host = host_of(authority, default_port);
        let base = uri.path().trim_end_matches('/');
        if !base.split('/').skip(1).all(is_plain_segment) {
            return Err(invalid(
                "its path may have letters, digits and -._~, without empty parts, . and ..",
            ));
        }
        Ok(Self {
            origin: format!("{scheme}://{host}").into(),
            base: base.into(),
        })
    }
}

fn host_of(authority: &Authority, default_port: u16) -> String {
    let host = authority.host().to_ascii_lowercase();
    match authority.port_u16() {
        Some(port) if port != default_port => format!("{host}:{port}"),
        _ => host,
    }
}

fn is_plain_segment(segment: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain)
}

/// Makes `app` answer also below `base`. A proxy may remove the base path or pass it on.
pub(super) fn mounted(base: &str, app: Router) -> Router {
    if base.is_empty() {
        return app;
    }
    let base: Arc<str> = base.into();
    let app = app.map_request(move |mut request: Request| {
        if let Some(uri) = without_base(request.uri(), &base) {
            *request.uri_mut() = uri;
        }
        request
    });
    Router::new().fallback_service(app)
}

/// The URI without the base path. `None` if it is not below that path.
fn without_base(uri: &Uri, base: &str) -> Option<Uri> {
    let rest = uri.path().strip_prefix(base)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let path = if rest.is_empty() { "/" } else { rest };
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_and_base_are_read_in_the_form_that_browsers_use() {
        for (text, origin, base) in [
            ("https://guard.example", "https://guard.example", ""),
            ("https://guard.example/", "https://guard.example", ""),
            ("http://Guard.Example:80", "http://guard.example", ""),
            (
                "https://guard.example:8443/a/b/",
                "https://guard.example:8443",
                "/a/b",
            ),
            (
                "http://[2001:db8::7]:8400/x",
                "http://[2001:db8::7]:8400",
                "/x",
            ),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!((url.origin(), url.base()), (origin, base), "{text}");
            assert_eq!(url.is_https(), text.starts_with("https"));
        }
    }

    #[test]
    fn a_url_that_nobody_can_use_is_refused_with_the_reason() {
        for (text, expected) in [
            ("guard.example", "https://"),
            ("/guard", "https://"),
            ("ftp://guard.example", "https://"),
            ("https://", "read"),
            ("https://guard.example/?a=1", "query"),
            ("https://guard.example/#top", "fragment"),
            ("https://guard.example/a//b", "empty"),
            ("https://guard.example/a/../b", ".."),
            ("https://guard.example/a%2fb", "letters"),
        ] {
            let error = text.parse::<PublicUrl>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_password_of_a_url_is_not_repeated() {
        let error = "https://me:hush@guard.example"
            .parse::<PublicUrl>()
            .unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
    }

    #[test]
    fn only_the_whole_base_path_is_removed() {
        for (uri, expected) in [
            ("/guard", Some("/")),
            ("/guard/", Some("/")),
            ("/guard/api/v1/rules?a=%2F", Some("/api/v1/rules?a=%2F")),
            ("http://host/guard/health", Some("http://host/health")),
            ("/guardian", None),
            ("/api/guard", None),
        ] {
            let found = without_base(&uri.parse().unwrap(), "/guard");
            assert_eq!(found.map(|it| it.to_string()).as_deref(), expected, "{uri}");
        }
    }
}
