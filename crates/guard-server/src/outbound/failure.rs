//! Why a request got no answer.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

/// A part of a request, as in "while ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Looking up the name.
    Resolve,
    /// Connecting.
    Connect,
    /// The handshake of TLS.
    Handshake,
    /// Waiting for the answer.
    Answer,
    /// Greeting the mail server.
    Greeting,
    /// Changing to TLS by STARTTLS.
    StartTls,
    /// Signing in.
    SignIn,
    /// Handing over the mail.
    Handover,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the name",
            Self::Connect => "connecting",
            Self::Handshake => "the TLS handshake",
            Self::Answer => "waiting for the answer",
            Self::Greeting => "greeting the mail server",
            Self::StartTls => "changing to TLS",
            Self::SignIn => "signing in",
            Self::Handover => "handing over the mail",
        })
    }
}

/// Why a request got no answer. The texts name the host, never the rest of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The name has no address.
    #[error("the name {host} was not found: {what}")]
    Name {
        /// The name.
        host: String,
        /// The system's message.
        what: String,
    },
    /// Requests may not reach the address.
    #[error(
        "{address} is not reached, because it is {what}; \
         the server's option --allow-private-webhooks allows it"
    )]
    Refused {
        /// The first address of the host.
        address: IpAddr,
        /// What the address is.
        what: &'static str,
    },
    /// There is no connection.
    #[error("no connection to {address}: {what}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// The system's message.
        what: String,
    },
    /// The receiver's certificate is not trusted, or it speaks no TLS.
    #[error("no TLS connection: {0}")]
    Tls(String),
    /// It took too long.
    #[error("no answer within {seconds} s, while {step}")]
    Timeout {
        /// The limit.
        seconds: u64,
        /// What took too long.
        step: Step,
    },
    /// The connection broke, or the answer cannot be read.
    #[error("the connection broke, while {step}: {what}")]
    Broken {
        /// During what.
        step: Step,
        /// What happened.
        what: String,
    },
    /// The mail server refused a command.
    #[error("the mail server refused, while {step}: {code} {reply}")]
    MailRefused {
        /// During what.
        step: Step,
        /// Its code: 400 and more for now, 500 and more for good.
        code: u16,
        /// What it said.
        reply: String,
    },
    /// The mail server offers no STARTTLS.
    #[error(
        "the mail server offers no STARTTLS, so nothing was sent; \
         choose --mail-tls implicit, or none for a server that you trust on a network that you trust"
    )]
    NoStartTls,
    /// The mail server offers no known way to sign in.
    #[error("the mail server offers neither PLAIN nor LOGIN to sign in")]
    NoSignIn,
    /// No mail server is configured.
    #[error("no mail server is set up: start the server with --mail-host and --mail-from")]
    NoMailServer,
    /// The mail cannot be built.
    #[error("the mail cannot be written: {0}")]
    Mail(String),
}
