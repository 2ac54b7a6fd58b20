//! The options of the mail server, and of requests to webhooks.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use lettre::message::Mailbox;
use thiserror::Error;

use crate::outbound::{MailServer, MailTls, Reach};
use crate::secret::Secret;

/// How alerts leave the server.
#[derive(Debug, Args)]
pub struct OutboundArgs {
    /// Webhooks may be on this machine and on private networks. Whoever may set up channels can then
    /// send requests to services that only this machine reaches.
    #[arg(long, env = "GUARD_SERVER_ALLOW_PRIVATE_WEBHOOKS")]
    pub allow_private_webhooks: bool,

    /// The mail server for alerts by mail, a name or an address. It may be on a private network.
    #[arg(long, env = "GUARD_SERVER_MAIL_HOST", value_name = "HOST")]
    pub mail_host: Option<String>,

    /// The port of the mail server; by default 587 with starttls, 465 with implicit, 25 with none.
    #[arg(
        long,
        env = "GUARD_SERVER_MAIL_PORT",
        value_name = "PORT",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub mail_port: Option<u16>,

    /// How to encrypt the connection to the mail server. With starttls, nothing is sent if the server
    /// does not offer it.
    #[arg(
        long,
        env = "GUARD_SERVER_MAIL_TLS",
        default_value = "starttls",
        value_name = "HOW"
    )]
    pub mail_tls: MailTls,

    /// The sender of mail, such as `guard@example.com` or `Guard <guard@example.com>`.
    #[arg(long, env = "GUARD_SERVER_MAIL_FROM", value_name = "ADDRESS")]
    pub mail_from: Option<String>,

    /// The user name at the mail server.
    #[arg(long, env = "GUARD_SERVER_MAIL_USER", value_name = "NAME")]
    pub mail_user: Option<String>,

    /// A file with the password at the mail server, read at the start. Line breaks at its end do not
    /// belong to the password.
    #[arg(long, env = "GUARD_SERVER_MAIL_PASSWORD_FILE", value_name = "FILE")]
    pub mail_password_file: Option<PathBuf>,
}

/// Why the options of the mail server cannot be used.
#[derive(Debug, Error)]
pub enum MailError {
    /// Only one of two options that belong together.
    #[error("{0} and {1} belong together: give both or none")]
    Pair(&'static str, &'static str),
    /// There is a password, and no server to sign in to.
    #[error("--mail-user: give --mail-host too")]
    NoHost,
    /// The host is no name and no address.
    #[error(
        "--mail-host: {0:?} is no name and no address of a mail server, such as mail.example.com"
    )]
    Host(String),
    /// The sender is no address.
    #[error("--mail-from: {text:?} is no mail address such as guard@example.com: {problem}")]
    From {
        /// The given text.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// The password cannot be read.
    #[error("--mail-password-file: cannot read {}: {source}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl ValueEnum for MailTls {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::StartTls, Self::Implicit, Self::None]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::StartTls => "starttls",
            Self::Implicit => "implicit",
            Self::None => "none",
        }))
    }
}

impl OutboundArgs {
    /// Which addresses webhooks may have.
    pub const fn reach(&self) -> Reach {
        if self.allow_private_webhooks {
            Reach::All
        } else {
            Reach::Public
        }
    }

    /// The mail server, if there is one.
    ///
    /// # Errors
    ///
    /// [`MailError`] names the option.
    pub fn mail_server(&self) -> Result<Option<MailServer>, MailError> {
        let sign_in = match (&self.mail_user, &self.mail_password_file) {
            (Some(user), Some(file)) => Some((user.clone(), password(file)?)),
            (None, None) => None,
            _ => return Err(MailError::Pair("--mail-user", "--mail-password-file")),
        };
        match (&self.mail_host, &self.mail_from) {
            (Some(host), Some(from)) => Ok(Some(MailServer {
                host: checked_host(host)?,
                port: self.mail_port.unwrap_or(self.mail_tls.port()),
                tls: self.mail_tls,
                from: sender(from)?,
                sign_in,
            })),
            (None, None) if sign_in.is_some() => Err(MailError::NoHost),
            (None, None) => Ok(None),
            _ => Err(MailError::Pair("--mail-host", "--mail-from")),
        }
    }
}

fn checked_host(host: &str) -> Result<String, MailError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':');
    let is_host = !host.is_empty() && host.bytes().all(is_plain);
    let has_port = host.parse::<std::net::IpAddr>().is_err() && host.contains(':');
    if !is_host || has_port {
        return Err(MailError::Host(host.to_owned()));
    }
    Ok(host.to_owned())
}

fn sender(text: &str) -> Result<Mailbox, MailError> {
    let invalid = |problem: String| MailError::From {
        text: text.to_owned(),
        problem,
    };
    let mailbox: Mailbox = text.parse().map_err(|error| invalid(format!("{error}")))?;
    if !AsRef::<str>::as_ref(&mailbox.email).is_ascii() {
        return Err(invalid("it has characters other than ASCII".to_owned()));
    }
    Ok(mailbox)
}

fn password(path: &Path) -> Result<Secret, MailError> {
    let text = fs::read_to_string(path).map_err(|source| MailError::Password {
        path: path.to_owned(),
        source,
    })?;
    Ok(Secret::from(text.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::config::Args;

    fn server(line: &[&str]) -> Result<Option<MailServer>, MailError> {
        let line = ["guard-server"].iter().chain(line);
        Args::try_parse_from(line).unwrap().outbound.mail_server()
    }

    const MAIL: [&str; 4] = [
        "--mail-host",
        "mail.example.com",
        "--mail-from",
        "guard@example.com",
    ];

    fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
        MAIL.iter().copied().chain(more.iter().copied()).collect()
    }

    #[test]
    fn the_port_follows_from_the_encryption_unless_it_is_given() {
        assert!(server(&[]).unwrap().is_none());
        for (line, tls, port) in [
            (&[][..], MailTls::StartTls, 587),
            (&["--mail-tls", "implicit"], MailTls::Implicit, 465),
            (&["--mail-tls", "none"], MailTls::None, 25),
            (&["--mail-port", "2525"], MailTls::StartTls, 2525),
        ] {
            let server = server(&with(line)).unwrap().unwrap();
            assert_eq!((server.tls, server.port), (tls, port), "{line:?}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_the_option() {
        for (line, expected) in [
            (
                vec!["--mail-host", "mail.example.com"],
                "--mail-host and --mail-from",
            ),
            (
                vec!["--mail-from", "guard@example.com"],
                "--mail-host and --mail-from",
            ),
            (
                with(&["--mail-user", "guard"]),
                "--mail-user and --mail-password-file",
            ),
            (
                with(&[
                    "--mail-user",
                    "guard",
                    "--mail-password-file",
                    "/nonexistent/hush",
                ]),
                "--mail-password-file: cannot read /nonexistent/hush",
            ),
            (
                vec!["--mail-host", "mail.example.com:25", "--mail-from", "a@b.c"],
                "--mail-host: ",
            ),
            (
                vec![
                    "--mail-host",
                    "smtp://mail.example.com",
                    "--mail-from",
                    "a@b.c",
                ],
                "--mail-host: ",
            ),
            (
                vec!["--mail-host", "mail.example.com", "--mail-from", "guard"],
                "--mail-from: ",
            ),
        ] {
            let error = server(&line).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_password_is_the_content_of_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "hush hush\r\n").unwrap();
        let path = file.path().to_str().unwrap();
        let line = with(&["--mail-user", "guard", "--mail-password-file", path]);
        let server = server(&line).unwrap().unwrap();
        assert!(!format!("{server:?}").contains("hush"));
        assert_eq!(server.sign_in.unwrap().1.expose(), "hush hush");
    }

    #[test]
    fn webhooks_reach_private_addresses_only_if_asked_for() {
        let reach = |line: &[&str]| {
            let line = ["guard-server"].iter().chain(line);
            Args::try_parse_from(line).unwrap().outbound.reach()
        };
        assert_eq!(reach(&[]), Reach::Public);
        assert_eq!(reach(&["--allow-private-webhooks"]), Reach::All);
    }
}
