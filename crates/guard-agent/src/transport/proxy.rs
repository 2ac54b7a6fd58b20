//! The route to the endpoint: direct, or through a proxy from the environment.
//!
//! The rules are those of curl and of Python's requests. They differ from reqwest's: a
//! lower-case variable takes precedence over the same one in upper case, and `NO_PROXY`
//! accepts a star, and ports and brackets for addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use reqwest::Url;

/// The proxy schemes that reqwest supports.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// How requests reach an endpoint.
#[derive(Debug, PartialEq)]
pub(crate) enum Route {
    Direct,
    /// Through this proxy. The URL may hold a password.
    Proxy(Url),
    /// The environment names no proxy: the operating system's settings decide.
    System,
}

impl Route {
    /// The route to `endpoint` in the environment of this process.
    pub(crate) fn of(endpoint: &Url) -> Self {
        Self::choose(endpoint, &|name| std::env::var(name).ok())
    }

    fn choose(endpoint: &Url, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let either_case =
            |name: &str| variable(name).or_else(|| variable(&name.to_ascii_uppercase()));
        // In a CGI script, clients can set HTTP_PROXY through the `Proxy` header.
        if variable("REQUEST_METHOD").is_some() || is_excepted(endpoint, variable) {
            return Self::Direct;
        }
        let own = either_case(&[endpoint.scheme(), "_proxy"].concat());
        let named = [own, either_case("all_proxy")];
        match named.iter().flatten().find_map(|text| parse(text)) {
            Some(proxy) => Self::Proxy(proxy),
            None if named.iter().any(Option::is_some) => Self::Direct,
            None => Self::System,
        }
    }
}

/// The URL of the proxy for requests to `endpoint`, from the variables `HTTPS_PROXY`,
/// `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` of this process, lower case first. `None`
/// without a proxy. The URL may hold a password.
pub fn proxy_for(endpoint: &str) -> Option<String> {
    match Route::of(&Url::parse(endpoint).ok()?) {
        Route::Proxy(proxy) => Some(proxy.into()),
        Route::Direct | Route::System => None,
    }
}

/// Parses a proxy URL, with or without a scheme. An invalid one counts as absent.
fn parse(text: &str) -> Option<Url> {
    let text = text.trim();
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&["http://", text].concat())
    };
    url.ok().filter(|url| {
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        SCHEMES.contains(&url.scheme()) && has_host && url.port() != Some(0)
    })
}

fn is_excepted(endpoint: &Url, variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let mut lists = ["no_proxy", "NO_PROXY"].into_iter().filter_map(variable);
    let list = lists.find(|text| !text.is_empty());
    let Some(host) = endpoint.host_str() else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
    list.unwrap_or_default()
        .split(|letter: char| letter == ',' || letter.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .any(|entry| covers(entry, host, endpoint.port_or_known_default()))
}

/// True if an entry of `NO_PROXY` matches `host` (without brackets) and `port`.
fn covers(entry: &str, host: &str, port: Option<u16>) -> bool {
    if entry == "*" {
        return true;
    }
    let address: Option<IpAddr> = host.parse().ok();
    if let Some(network) = network(entry) {
        return address.is_some_and(|address| network.contains(&address));
    }
    let (name, its_port) = match entry.rsplit_once(':') {
        Some((name, digits)) => match digits.parse() {
            Ok(its_port) => (name, Some(its_port)),
            Err(_) => return false,
        },
        None => (entry, None),
    };
    if its_port.is_some() && its_port != port {
        return false;
    }
    if let Some(network) = network(name) {
        return address.is_some_and(|address| network.contains(&address));
    }
    let name = name.trim_matches('.').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let front = host.strip_suffix(&name);
    !name.is_empty() && front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// An address, optionally in brackets, or a block in CIDR notation.
fn network(text: &str) -> Option<IpNet> {
    let plain = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, prefix)) if prefix.is_empty() || prefix.starts_with('/') => {
            [address, prefix].concat()
        }
        Some(_) => return None,
        None => text.to_owned(),
    };
    let address = plain.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| plain.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "http://proxy:3128";

    fn route(endpoint: &str, variables: &[(&str, &str)]) -> Route {
        let endpoint = Url::parse(endpoint).expect("a URL");
        Route::choose(&endpoint, &|name| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, text)| (*text).to_owned())
        })
    }

    fn by(proxy: &str) -> Route {
        Route::Proxy(Url::parse(proxy).expect("a URL"))
    }

    #[test]
    fn no_proxy_is_read_as_curl_and_requests_read_it() {
        for (no_proxy, endpoint, is_direct) in [
            ("*", "http://192.0.2.7", true),
            ("*", "http://[2001:db8::7]:8400", true),
            ("*", "http://guard.example", true),
            ("example.org, * ", "http://192.0.2.7", true),
            ("*.example", "http://guard.example", false),
            // Spaces separate entries, as commas do.
            ("example.org, 192.0.2.7 , x", "http://192.0.2.7", true),
            ("example.org 192.0.2.7", "http://192.0.2.7", true),
            (" ,,", "http://192.0.2.7", false),
            // Addresses, networks, ports.
            ("192.0.2.7", "http://192.0.2.7:8400", true),
            ("192.0.2.7", "http://192.0.2.70", false),
            ("192.0.2.7:8400", "http://192.0.2.7:8400", true),
            ("192.0.2.7:1", "http://192.0.2.7:8400", false),
            ("192.0.2.7:443", "https://192.0.2.7", true),
            ("192.0.2.7:x", "http://192.0.2.7", false),
            ("192.0.2.0/24", "http://192.0.2.7", true),
            ("192.0.2.99/24", "http://192.0.2.7", true),
            ("192.0.3.0/24", "http://192.0.2.7", false),
            ("192.0.2.0/33", "http://192.0.2.7", false),
            ("192.0.2.0/24", "http://guard.example", false),
            ("2001:db8::7", "http://[2001:db8::7]:8400", true),
            ("[2001:db8::7]", "http://[2001:db8::7]:8400", true),
            ("[2001:db8::7]:8400", "http://[2001:db8::7]:8400", true),
            ("[2001:db8::7]:1", "http://[2001:db8::7]:8400", false),
            ("2001:DB8:0::/32", "http://[2001:db8::7]", true),
            ("[2001:db8::]/32", "http://[2001:db8::7]", true),
            ("[2001:db8::8]", "http://[2001:db8::7]", false),
            // Names.
            ("guard.example", "http://guard.example", true),
            ("GUARD.Example", "http://guard.example", true),
            ("example", "http://guard.example", true),
            (".example", "http://guard.example", true),
            (".guard.example", "http://guard.example", true),
            ("guard.example.", "http://guard.example", true),
            ("guard.example", "http://guard.example.", true),
            ("ample", "http://guard.example", false),
            ("guard.example", "http://example", false),
            (".", "http://guard.example", false),
            ("guard.example:80", "http://guard.example", true),
            (".example:8400", "http://guard.example:8400", true),
            ("guard.example:443", "http://guard.example", false),
            ("guard.example:", "http://guard.example", false),
            ("localhost", "http://127.0.0.1", false),
        ] {
            for name in ["NO_PROXY", "no_proxy"] {
                let found = route(
                    endpoint,
                    &[
                        ("http_proxy", PROXY),
                        ("https_proxy", PROXY),
                        (name, no_proxy),
                    ],
                );
                let expected = if is_direct { Route::Direct } else { by(PROXY) };
                assert_eq!(found, expected, "{name}={no_proxy} {endpoint}");
            }
        }
    }

    #[test]
    fn lower_case_takes_precedence_and_a_scheme_proxy_precedes_all_proxy() {
        let (one, other) = ("http://one:1", "http://other:2");
        let plain = "http://guard.example";
        for (variables, expected) in [
            (&[("HTTP_PROXY", one)][..], by(one)),
            (&[("http_proxy", one), ("HTTP_PROXY", other)], by(one)),
            (&[("http_proxy", one), ("ALL_PROXY", other)], by(one)),
            (&[("all_proxy", one), ("ALL_PROXY", other)], by(one)),
            (&[("http_proxy", ""), ("ALL_PROXY", other)], by(other)),
            // As in requests: an empty lower-case variable disables the upper-case one.
            (&[("http_proxy", ""), ("HTTP_PROXY", other)], Route::Direct),
            (
                &[("http_proxy", "ftp://no.proxy"), ("ALL_PROXY", other)],
                by(other),
            ),
            (&[("http_proxy", "host:0"), ("ALL_PROXY", other)], by(other)),
            (&[("http_proxy", "one:1")], by(one)),
            (&[("https_proxy", one)], Route::System),
            (&[], Route::System),
            (
                &[("HTTP_PROXY", one), ("REQUEST_METHOD", "GET")],
                Route::Direct,
            ),
            (
                &[("HTTP_PROXY", one), ("no_proxy", ""), ("NO_PROXY", "*")],
                Route::Direct,
            ),
            (
                &[
                    ("HTTP_PROXY", one),
                    ("no_proxy", "example.org"),
                    ("NO_PROXY", "*"),
                ],
                by(one),
            ),
        ] {
            assert_eq!(route(plain, variables), expected, "{variables:?}");
        }
        assert_eq!(
            route("https://guard.example", &[("HTTPS_PROXY", one)]),
            by(one)
        );
        let login = "http://someone:pass-word@one:1";
        assert_eq!(route(plain, &[("http_proxy", login)]), by(login));
    }
}
