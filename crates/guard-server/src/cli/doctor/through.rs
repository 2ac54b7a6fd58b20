//! `doctor --url`: asks the running server, through the proxies in front of it, how it sees the
//! request.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use reqwest::header::ORIGIN;
use reqwest::{Method, Url};
use serde::Deserialize;

use super::{Fail, Finding, Fine, Warn};
use crate::DEFAULT_PROJECT;
use crate::cli::Outcome;
use crate::cli::client::{Client, ServerArgs, is_loopback, server_url};
use crate::cli::config::Config;

/// The header that proxies extend with the address that they see.
const X_FORWARDED_FOR: &str = "X-Forwarded-For";
/// An address that no client has: a server that takes it for the client's believes what anybody
/// writes.
const FORGED: &str = "192.0.2.1";

/// What to check besides.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Also check the way to the running server by the URL that clients use, through its proxies
    #[arg(long, value_name = "URL", value_parser = server_url)]
    pub url: Option<Url>,
    /// A file with a token for that, or - for standard input; without it, GUARD_SERVER_TOKEN or the
    /// admin token of the settings
    #[arg(long, value_name = "FILE", requires = "url")]
    pub token_file: Option<PathBuf>,
    /// The certificates of a private CA, a PEM file; trusted in place of those of the system
    #[arg(long, value_name = "FILE", requires = "url")]
    pub ca_file: Option<PathBuf>,
}

/// How the server sees a request: the answer of `GET /api/v1/client`.
#[derive(Debug, Default, Clone, Deserialize)]
struct Seen {
    address: Option<IpAddr>,
    peer: Option<IpAddr>,
    trusted_proxy: bool,
    https: bool,
    public_url: Option<String>,
    cross_site: Option<String>,
    x_forwarded_for: Option<String>,
    forwarded: Option<String>,
}

/// Asks the server at `url`, and judges what it sees.
pub(super) async fn through(url: &Url, asked: &DoctorArgs, config: &Config) -> Vec<Finding> {
    match ask(url, asked, config).await {
        Ok((plain, forged)) => judge(url, &plain, &forged),
        Err((_, why)) => vec![Finding(Fail, "url", why)],
    }
}

/// How the server sees a plain request, and one with a forged forwarding header.
async fn ask(url: &Url, asked: &DoctorArgs, config: &Config) -> Outcome<(Seen, Seen)> {
    let args = ServerArgs {
        server: url.clone(),
        token_file: asked.token_file.clone(),
        ca_file: asked.ca_file.clone(),
        project: DEFAULT_PROJECT.to_owned(),
    };
    let token = match (args.token(), &config.admin_token) {
        (Err(_), Some(token)) if asked.token_file.is_none() => token.clone(),
        (token, _) => token?,
    };
    let client = Client::with_token(&args, &token, "--url")?;
    let request = || {
        let origin = url.origin().ascii_serialization();
        client
            .request(Method::GET, &["client"])
            .header(ORIGIN, origin)
    };
    let plain = client.json(request()).await?;
    let forged = client
        .json(request().header(X_FORWARDED_FOR, FORGED))
        .await?;
    Ok((plain, forged))
}

fn judge(url: &Url, plain: &Seen, forged: &Seen) -> Vec<Finding> {
    vec![
        Finding(Fine, "url", format!("{url} leads to the server")),
        address(plain, forged),
        https(url, plain),
        origin(url, plain),
        public_url(url, plain),
    ]
}

fn address(plain: &Seen, forged: &Seen) -> Finding {
    let finding = |level, what| Finding(level, "address", what);
    let text = |address: Option<IpAddr>| address.map_or("unknown".to_owned(), |it| it.to_string());
    let (address, peer) = (text(plain.address), text(plain.peer));
    let is_named = plain.x_forwarded_for.is_some() || plain.forwarded.is_some();
    let nearest = forged.x_forwarded_for.as_deref().unwrap_or_default();
    let nearest = nearest.rsplit(',').next().map(str::trim);
    match (plain.trusted_proxy, is_named) {
        (true, false) => finding(
            Fail,
            format!(
                "the proxy {peer} is trusted, but does not say who its clients are: let it send \
                 {X_FORWARDED_FOR}"
            ),
        ),
        (true, true) if nearest == Some(FORGED) => finding(
            Fail,
            format!(
                "the proxy {peer} passes on {X_FORWARDED_FOR} as clients write it, so everybody can \
                 choose an address: let it append the address that it sees"
            ),
        ),
        (true, true)
            if plain.address == plain.peer
                && plain.x_forwarded_for.is_some()
                && plain.forwarded.is_some() =>
        {
            finding(
                Fail,
                format!(
                    "{X_FORWARDED_FOR} and Forwarded name different clients, so neither is \
                     believed: let the proxy {peer} remove the one that it does not write"
                ),
            )
        }
        (true, true) => finding(
            Fine,
            format!("the server sees {address}, through the trusted proxy {peer}"),
        ),
        (false, true) => finding(
            Fail,
            format!(
                "the server sees the proxy {peer} in place of its clients: start it with \
                 --trusted-proxy {peer}"
            ),
        ),
        (false, false) => finding(
            Fine,
            format!("the server sees {address}, and no proxy names another client"),
        ),
    }
}

fn https(url: &Url, seen: &Seen) -> Finding {
    let finding = |level, what: &str| Finding(level, "https", what.to_owned());
    let is_public = seen
        .public_url
        .as_deref()
        .and_then(|public| Url::parse(public).ok())
        .is_some_and(|public| public.origin() == url.origin());
    match (url.scheme() == "https", seen.https) {
        (true, true) => finding(Fine, "the server knows that clients use HTTPS"),
        (true, false) if is_public => finding(
            Warn,
            "the server knows HTTPS only from --public-url, and sends no Strict-Transport-Security: \
             let the proxy send X-Forwarded-Proto, and trust it with --trusted-proxy",
        ),
        (true, false) => finding(
            Fail,
            "clients use HTTPS, and the server sees plain HTTP: let the proxy send \
             X-Forwarded-Proto, and trust it with --trusted-proxy; or set --public-url",
        ),
        (false, true) => finding(
            Fail,
            "clients use plain HTTP, and the server sees HTTPS: browsers drop its cookie, so nobody \
             can sign in; correct what the proxy sends as X-Forwarded-Proto",
        ),
        (false, false) if is_loopback(url) => finding(Fine, "plain HTTP, on this machine"),
        (false, false) => finding(
            Warn,
            "plain HTTP: everybody on the way can read passwords and keys; use TLS",
        ),
    }
}

fn origin(url: &Url, seen: &Seen) -> Finding {
    match &seen.cross_site {
        None => Finding(
            Fine,
            "origin",
            format!(
                "pages at {} may make changes",
                url.origin().ascii_serialization()
            ),
        ),
        Some(why) => Finding(
            Fail,
            "origin",
            format!("every change in the dashboard is refused: {why}"),
        ),
    }
}

fn public_url(url: &Url, seen: &Seen) -> Finding {
    let finding = |level, what| Finding(level, "public url", what);
    let own = |url: &Url| {
        let base = url.path().trim_end_matches('/');
        format!("{}{base}", url.origin().ascii_serialization())
    };
    let asked = own(url);
    match &seen.public_url {
        Some(public) if *public == asked => finding(Fine, public.clone()),
        Some(public) => finding(
            Fail,
            format!("--public-url is {public}: links and cookies do not fit {asked}"),
        ),
        None if url.path().trim_end_matches('/').is_empty() && is_loopback(url) => {
            finding(Fine, "not set, and not needed on this machine".to_owned())
        }
        None => finding(
            Fail,
            format!(
                "not set: links in notifications and invitations lead to the address that the \
                 server listens on, and pages below a path do not load; set --public-url {asked}"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://guard.example/guard";

    fn url(text: &str) -> Url {
        server_url(text).unwrap()
    }

    /// What a server sees behind a proxy that is configured correctly.
    fn well() -> (Seen, Seen) {
        let plain = Seen {
            address: Some("203.0.113.7".parse().unwrap()),
            peer: Some("10.0.0.5".parse().unwrap()),
            trusted_proxy: true,
            https: true,
            public_url: Some(URL.to_owned()),
            x_forwarded_for: Some("203.0.113.7".to_owned()),
            ..Seen::default()
        };
        let forged = Seen {
            x_forwarded_for: Some(format!("{FORGED}, 203.0.113.7")),
            ..plain.clone()
        };
        (plain, forged)
    }

    /// The finding of this name: its level and its text.
    fn found(name: &str, at: &str, (plain, forged): &(Seen, Seen)) -> (char, String) {
        let findings = judge(&url(at), plain, forged).into_iter();
        let mut findings = findings.filter(|finding| finding.1 == name);
        let Finding(level, _, what) = findings.next().unwrap();
        let level = match level {
            Fine => 'o',
            Warn => 'w',
            Fail => 'f',
        };
        (level, what)
    }

    #[test]
    fn behind_a_proxy_that_is_set_up_well_all_is_well() {
        for name in ["url", "address", "https", "origin", "public url"] {
            let (level, what) = found(name, URL, &well());
            assert_eq!(level, 'o', "{name}: {what}");
        }
        let (_, what) = found("address", URL, &well());
        assert_eq!(
            what,
            "the server sees 203.0.113.7, through the trusted proxy 10.0.0.5"
        );
    }

    #[test]
    fn a_proxy_that_is_not_trusted_or_says_too_little_is_named_with_the_remedy() {
        let with = |change: &dyn Fn(&mut Seen)| {
            let (mut plain, mut forged) = well();
            change(&mut plain);
            change(&mut forged);
            (plain, forged)
        };
        let (mut plain, mut forged) = well();
        plain.x_forwarded_for = None;
        forged.x_forwarded_for = Some(FORGED.to_owned());
        let silent = (plain, forged);
        let (plain, mut forged) = well();
        forged.x_forwarded_for = Some(FORGED.to_owned());
        let naive = (plain, forged);
        for (seen, expected) in [
            (
                with(&|it| it.trusted_proxy = false),
                "--trusted-proxy 10.0.0.5",
            ),
            (silent, "let it send X-Forwarded-For"),
            (naive, "let it append"),
            (
                with(&|it| {
                    it.address = it.peer;
                    it.forwarded = Some("for=198.51.100.1".to_owned());
                }),
                "remove the one that it does not write",
            ),
        ] {
            let (level, what) = found("address", URL, &seen);
            assert!(level == 'f' && what.contains(expected), "{level} {what}");
        }
    }

    #[test]
    fn without_a_proxy_the_address_is_that_of_the_connection() {
        let plain = Seen {
            address: Some("203.0.113.7".parse().unwrap()),
            peer: Some("203.0.113.7".parse().unwrap()),
            ..Seen::default()
        };
        let forged = Seen {
            x_forwarded_for: Some(FORGED.to_owned()),
            ..plain.clone()
        };
        assert_eq!(found("address", URL, &(plain, forged)).0, 'o');
    }

    #[test]
    fn the_scheme_that_the_server_sees_must_be_that_of_clients() {
        let seen = |https, public: Option<&str>| {
            let (plain, forged) = well();
            let public_url = public.map(str::to_owned);
            let plain = Seen {
                https,
                public_url,
                ..plain
            };
            (plain, forged)
        };
        for (at, https, public, expected) in [
            (URL, true, None, 'o'),
            (URL, false, Some(URL), 'w'),
            (URL, false, None, 'f'),
            (URL, false, Some("https://other.example"), 'f'),
            ("http://guard.example", true, None, 'f'),
            ("http://guard.example", false, None, 'w'),
            ("http://127.0.0.1:8400", false, None, 'o'),
        ] {
            let (level, what) = found("https", at, &seen(https, public));
            assert_eq!(level, expected, "{at} {https} {public:?}: {what}");
        }
    }

    #[test]
    fn the_public_url_must_be_the_one_that_clients_use() {
        let seen = |public: Option<&str>| {
            let (plain, forged) = well();
            let public_url = public.map(str::to_owned);
            (
                Seen {
                    public_url,
                    ..plain
                },
                forged,
            )
        };
        for (at, public, expected) in [
            (URL, Some(URL), 'o'),
            ("https://guard.example/guard/", Some(URL), 'o'),
            ("https://guard.example", Some(URL), 'f'),
            ("https://guard.example:8443/guard", Some(URL), 'f'),
            (URL, None, 'f'),
            ("http://localhost:8400", None, 'o'),
            ("http://localhost:8400/guard", None, 'f'),
        ] {
            let (level, what) = found("public url", at, &seen(public));
            assert_eq!(level, expected, "{at} {public:?}: {what}");
        }
    }

    #[test]
    fn a_refused_origin_is_told_in_the_words_of_the_server() {
        let (mut plain, forged) = well();
        plain.cross_site = Some("Seen: Origin none".to_owned());
        let (level, what) = found("origin", URL, &(plain, forged));
        assert!(
            level == 'f' && what.ends_with("Seen: Origin none"),
            "{what}"
        );
    }
}
