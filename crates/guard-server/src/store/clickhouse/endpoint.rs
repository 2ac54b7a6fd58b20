//! Where ClickHouse is: the value of `--telemetry-url`.

use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;

use thiserror::Error;
use url::Url;

/// The database of a URL that names none.
const DATABASE: &str = "guard";

/// The address of a database in ClickHouse, with its user and password. Shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Without user, password and database.
    url: Url,
    user: String,
    password: String,
    database: String,
}

/// Why a URL is not one of ClickHouse.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error(
    "--telemetry-url {what}; give http(s)://USER:PASSWORD@HOST:PORT/DATABASE, such as \
     http://guard:PASSWORD@localhost:8123/guard"
)]
pub struct EndpointError {
    what: &'static str,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = |what| EndpointError { what };
        let mut url = Url::parse(text).map_err(|_| wrong("is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("begins with neither http:// nor https://"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has a ? or # part, which is not used"));
        }
        let database = decoded(url.path().trim_matches('/'));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !database.chars().all(is_plain) {
            return Err(wrong(
                "names a database with other characters than letters, digits, _ and -",
            ));
        }
        let user = decoded(url.username());
        let password = decoded(url.password().unwrap_or_default());
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| wrong("has no host"))?;
        url.set_path("/");
        let or = |text: String, default: &str| match text.as_str() {
            "" => default.to_owned(),
            _ => text,
        };
        Ok(Self {
            url,
            user: or(user, "default"),
            password,
            database: or(database, DATABASE),
        })
    }
}

/// Decodes a part of a URL.
fn decoded(part: &str) -> String {
    let pair = format!("x={}", part.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

impl Endpoint {
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// The same text without the password.
    pub(super) fn redact(&self, text: &str) -> String {
        if self.password.is_empty() {
            return text.to_owned();
        }
        text.replace(&self.password, "***")
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { url, database, .. } = self;
        write!(f, "{url}{database}")
    }
}

impl Debug for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_user_password_and_database() {
        let endpoint: Endpoint = "https://guard:p%40ss+%26w@ch.example:8443/telemetry"
            .parse()
            .unwrap();
        assert_eq!(endpoint.url(), "https://ch.example:8443/");
        assert_eq!((endpoint.user(), endpoint.password()), ("guard", "p@ss+&w"));
        assert_eq!(endpoint.database(), "telemetry");
        let short: Endpoint = "http://localhost:8123".parse().unwrap();
        assert_eq!((short.user(), short.password()), ("default", ""));
        assert_eq!(short.database(), "guard");
    }

    #[test]
    fn no_password_is_shown() {
        let endpoint: Endpoint = "http://guard:secret@localhost:8123/guard".parse().unwrap();
        let shown = format!("{endpoint} {endpoint:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert_eq!(endpoint.redact("wrong: secret"), "wrong: ***");
    }

    #[test]
    fn a_wrong_url_is_refused_without_showing_it() {
        for text in [
            "",
            "localhost:8123",
            "ftp://secret@host/db",
            "http://u:secret@host/a/b",
            "http://u:secret@host/db?x=1",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.starts_with("--telemetry-url "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
