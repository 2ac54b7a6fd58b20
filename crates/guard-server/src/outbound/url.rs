//! The URL of a webhook.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;
use url::{Host, Url};

/// The longest URL, in bytes.
pub const MAX_URL: usize = 2048;

/// Why a text is no URL of a webhook. The message does not repeat the text, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this is no URL such as https://hooks.example.com/abc: {0}")]
pub struct InvalidTarget(String);

/// A URL that requests are sent to. Most services put a secret into its path, so its `Debug` and
/// `Display` output shows only scheme, host and port.
///
/// ```
/// use guard_server::outbound::TargetUrl;
///
/// let url = TargetUrl::parse("https://hooks.slack.com/services/T0/B0/hush")?;
/// assert_eq!(url.to_string(), "https://hooks.slack.com/…");
/// # Ok::<(), guard_server::outbound::InvalidTarget>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(Url);

impl TargetUrl {
    /// Reads a URL as browsers do.
    ///
    /// # Errors
    ///
    /// [`InvalidTarget`] if it is longer than [`MAX_URL`] bytes, has another scheme than http and
    /// https, or a user name.
    pub fn parse(text: &str) -> Result<Self, InvalidTarget> {
        let invalid = |what: &str| InvalidTarget(what.to_owned());
        if text.len() > MAX_URL {
            return Err(InvalidTarget(format!("it is longer than {MAX_URL} bytes")));
        }
        let mut url = Url::parse(text.trim()).map_err(|error| invalid(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("it must begin with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "it must have no user name and no password; give a token as the secret",
            ));
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The whole URL, which is a secret. Never log it.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is an https URL.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The name or address of the host, without brackets.
    pub fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        }
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// The host and port as in the `Host` header.
    pub(super) fn authority(&self) -> &str {
        self.0.authority()
    }

    /// The path and query.
    pub(super) fn path_and_query(&self) -> &str {
        &self.0[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// The segments of the path.
    pub fn segments(&self) -> Vec<&str> {
        let segments = self.0.path_segments().into_iter().flatten();
        segments.filter(|segment| !segment.is_empty()).collect()
    }

    /// The same origin with another path.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(path);
        url.set_query(None);
        Self(url)
    }

    /// The parts that must not be shown: path and query, and what they consist of.
    pub fn secrets(&self) -> Vec<String> {
        let values = self.0.query_pairs().map(|(_, value)| value.into_owned());
        let segments = self.segments().into_iter().map(str::to_owned);
        let mut parts: Vec<_> = [self.path_and_query(), self.0.path()]
            .map(str::to_owned)
            .into();
        parts.extend(values.chain(segments));
        parts
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.0[..url::Position::BeforePath];
        let is_bare = self.path_and_query() == "/";
        write!(f, "{origin}/{}", if is_bare { "" } else { "…" })
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_only_its_origin() {
        for (text, shown) in [
            (
                "https://hooks.slack.com/services/T0/B0/hush",
                "https://hooks.slack.com/…",
            ),
            (
                "http://Example.com:8080/?key=hush",
                "http://example.com:8080/…",
            ),
            ("https://example.com", "https://example.com/"),
            ("https://[2001:db8::7]:443/hush", "https://[2001:db8::7]/…"),
        ] {
            let url = TargetUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }

    #[test]
    fn what_is_no_webhook_is_refused_and_not_repeated() {
        for (text, expected) in [
            ("", "relative URL"),
            ("hooks.example.com/hush", "relative URL"),
            ("ftp://example.com/hush", "https://"),
            ("file:///etc/hush", "https://"),
            ("gopher://example.com/hush", "https://"),
            ("javascript:hush()", "https://"),
            ("https://", "empty host"),
            ("https://user:hush@example.com/", "no user name"),
            ("https://hush@example.com/", "no user name"),
            ("https://exa mple.com/hush", "invalid"),
            ("https://example.com:99999/hush", "invalid port"),
        ] {
            let error = TargetUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
        let long = format!("https://example.com/{}", "a".repeat(MAX_URL));
        let error = TargetUrl::parse(&long).unwrap_err().to_string();
        assert!(error.contains("longer than 2048"), "{error}");
    }

    #[test]
    fn other_spellings_of_an_address_are_that_address() {
        for (text, expected) in [
            ("http://127.0.0.1/", Some("127.0.0.1")),
            ("http://2130706433/", Some("127.0.0.1")),
            ("http://0x7f.1/", Some("127.0.0.1")),
            ("http://0177.0.0.1/", Some("127.0.0.1")),
            ("http://127.1/", Some("127.0.0.1")),
            ("http://１２７.0.0.1/", Some("127.0.0.1")),
            ("http://[::ffff:127.0.0.1]/", Some("::ffff:127.0.0.1")),
            ("http://localhost/", None),
        ] {
            let url = TargetUrl::parse(text).unwrap();
            let address = url.address().map(|address| address.to_string());
            assert_eq!(address.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_fragment_is_not_sent() {
        let url = TargetUrl::parse("https://example.com/a?b=1#c").unwrap();
        assert_eq!(url.path_and_query(), "/a?b=1");
    }
}
