//! The arguments of every command that works over the operator API.

use std::path::PathBuf;

use clap::Args;
use reqwest::Url;

use super::super::secret_file::secret_in;
use super::super::{Outcome, USAGE};
use crate::DEFAULT_PROJECT;
use crate::secret::Secret;

/// The environment variable with the token.
const TOKEN: &str = "GUARD_SERVER_TOKEN";

/// Which server, and how to be let in.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// The server, such as `https://guard.example.com`
    #[arg(
        long,
        env = "GUARD_SERVER_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8400",
        value_parser = server_url
    )]
    pub server: Url,
    /// A file with the token, or - for standard input; without it, GUARD_SERVER_TOKEN has the token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The certificates of a private CA, a PEM file; trusted in place of those of the system
    #[arg(long, env = "GUARD_SERVER_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The project
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PROJECT)]
    pub project: String,
}

impl ServerArgs {
    pub(in crate::cli) fn token(&self) -> Outcome<Secret> {
        let token = match &self.token_file {
            Some(path) => Some(secret_in(path)?),
            None => std::env::var(TOKEN).ok().map(Secret::from),
        };
        let token = token.filter(|token| !token.expose().is_empty());
        token.ok_or_else(|| {
            let message = format!(
                "no token: set {TOKEN} or give --token-file; on the server, guard-server tokens add \
                 LABEL --role viewer makes one"
            );
            (USAGE, message)
        })
    }
}

pub(in crate::cli) fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        return Err("give a URL such as https://guard.example.com".to_owned());
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "give no user and password in it; {TOKEN} has the token"
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("leave out what follows the path".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_http_url_without_credentials() {
        for text in ["http://127.0.0.1:8400", "https://[::1]/guard/"] {
            assert!(server_url(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:8400",
            "localhost:8400",
            "ftp://host",
            "https://me:hush@host",
            "https://host/?x",
            "https://host/#x",
        ] {
            let error = server_url(text).unwrap_err();
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
