//! Mail by SMTP: one message to one address, on one connection.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::message::header::{self, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error as SmtpError, SUBMISSION_PORT, SUBMISSIONS_PORT};
use lettre::{Address, Message};

use super::connect::Deadline;
use super::failure::{Failure, Step};
use super::resolve::Resolver;
use crate::secret::Secret;
use crate::visible::visible;

/// How long a mail may take.
const TIMEOUT: Duration = Duration::from_secs(14);
/// How long one address of the server may take to accept a connection.
const PER_ADDRESS: Duration = Duration::from_secs(5);
/// The port without TLS.
const PLAIN_PORT: u16 = 25;
/// How to sign in, the best first.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// How the connection to the mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// By the command STARTTLS. Nothing is sent if the server does not offer it.
    StartTls,
    /// From the first byte on.
    Implicit,
    /// Not at all.
    None,
}

impl MailTls {
    /// The usual port.
    pub const fn port(self) -> u16 {
        match self {
            Self::StartTls => SUBMISSION_PORT,
            Self::Implicit => SUBMISSIONS_PORT,
            Self::None => PLAIN_PORT,
        }
    }
}

/// The mail server, as the operator set it up. It may be on a private network.
#[derive(Debug, Clone)]
pub struct MailServer {
    /// Its name, which its certificate must have, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How to encrypt.
    pub tls: MailTls,
    /// The sender of all mail, with or without a name: `Guard <guard@example.com>`.
    pub from: Mailbox,
    /// User name and password, if the server asks for them.
    pub sign_in: Option<(String, Secret)>,
}

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Identifies the mail. It becomes the `Message-ID`, so that a mail that came twice can be found.
    pub id: String,
    /// Mails with the same thread are shown as one conversation.
    pub thread: String,
    /// The recipients: at least one.
    pub to: Vec<Address>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// When it was written.
    pub at: Timestamp,
}

/// The mail server took the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its code.
    pub code: u16,
    /// What it said, and which of several addresses it refused.
    pub reply: String,
}

/// Sends mail.
#[derive(Clone)]
pub struct Mailer {
    server: Option<Arc<MailServer>>,
    resolver: Arc<dyn Resolver>,
    /// Made at the first use, because that reads the certificate authorities.
    tls: Arc<OnceLock<TlsParameters>>,
}

impl Mailer {
    /// Sends through `server`; without one, every mail fails.
    pub fn new(server: Option<MailServer>, resolver: Arc<dyn Resolver>) -> Self {
        Self {
            server: server.map(Arc::new),
            resolver,
            tls: Arc::default(),
        }
    }

    /// Hands a mail to the mail server. It is sent if the server takes one of the addresses.
    ///
    /// # Errors
    ///
    /// [`Failure`] says which step failed.
    pub async fn send(&self, mail: Mail) -> Result<Receipt, Failure> {
        let server = self.server.as_deref().ok_or(Failure::NoMailServer)?;
        let message = message(server, mail)?;
        let deadline = Deadline::after(TIMEOUT);
        let mut connection = self.connect(server, deadline).await?;
        let sent = hand_over(&mut connection, server, &message, deadline).await;
        // The mail is delivered or refused by now, so the answer to QUIT does not matter.
        let _ = deadline.within(Step::Handover, connection.abort()).await;
        sent
    }

    /// A connection with TLS as it was asked for, after the greeting.
    async fn connect(
        &self,
        server: &MailServer,
        deadline: Deadline,
    ) -> Result<AsyncSmtpConnection, Failure> {
        let addresses = self.addresses(server, deadline).await?;
        let tls = self.tls(server).await?;
        let (hello, implicit) = (
            hello(),
            tls.clone().filter(|_| server.tls == MailTls::Implicit),
        );
        let connecting = AsyncSmtpConnection::connect_tokio1(
            addresses.as_slice(),
            Some(PER_ADDRESS),
            &hello,
            implicit,
            None,
        );
        let connected = deadline.within(Step::Greeting, connecting).await?;
        let mut connection = connected.map_err(|error| match unreachable(&error) {
            Some(what) => Failure::Connect {
                address: addresses[addresses.len() - 1],
                what,
            },
            None => failure(&error, Step::Greeting),
        })?;
        if let (MailTls::StartTls, Some(tls)) = (server.tls, tls) {
            if !connection.can_starttls() {
                return Err(Failure::NoStartTls);
            }
            let upgrading = connection.starttls(tls, &hello);
            let upgraded = deadline.within(Step::StartTls, upgrading).await?;
            upgraded.map_err(|error| failure(&error, Step::StartTls))?;
        }
        Ok(connection)
    }

    /// The addresses of the server: one at least.
    async fn addresses(
        &self,
        server: &MailServer,
        deadline: Deadline,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let failed = |what: String| Failure::Name {
            host: visible(&server.host).into_owned(),
            what,
        };
        let found = match server.host.parse() {
            Ok(address) => vec![address],
            Err(_) => {
                let looking = self.resolver.resolve(&server.host);
                let found = deadline.within(Step::Resolve, looking).await?;
                found.map_err(|error| failed(error.to_string()))?
            }
        };
        if found.is_empty() {
            return Err(failed("it has no address".to_owned()));
        }
        let with_port = |address| SocketAddr::new(address, server.port);
        Ok(found.into_iter().map(with_port).collect())
    }

    async fn tls(&self, server: &MailServer) -> Result<Option<TlsParameters>, Failure> {
        if server.tls == MailTls::None {
            return Ok(None);
        }
        let (cell, host) = (Arc::clone(&self.tls), server.host.clone());
        let made = tokio::task::spawn_blocking(move || {
            if let Some(made) = cell.get() {
                return Ok(made.clone());
            }
            let made = TlsParameters::new(host).map_err(|error| Failure::Tls(text(&error)))?;
            Ok(cell.get_or_init(|| made).clone())
        });
        let made = made
            .await
            .map_err(|error| Failure::Tls(error.to_string()))?;
        made.map(Some)
    }
}

async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    server: &MailServer,
    message: &Message,
    deadline: Deadline,
) -> Result<Receipt, Failure> {
    if let Some((user, password)) = &server.sign_in {
        if connection
            .server_info()
            .get_auth_mechanism(&MECHANISMS)
            .is_none()
        {
            return Err(Failure::NoSignIn);
        }
        let credentials = Credentials::new(user.clone(), password.expose().to_owned());
        let signing_in = connection.auth(&MECHANISMS, &credentials);
        let signed_in = deadline.within(Step::SignIn, signing_in).await?;
        signed_in.map_err(|error| failure(&error, Step::SignIn))?;
    }
    let sending = transfer(connection, message);
    let sent = deadline.within(Step::Handover, sending).await?;
    sent.map_err(|error| failure(&error, Step::Handover))
}

/// Sends the mail to the addresses that the server takes.
async fn transfer(
    connection: &mut AsyncSmtpConnection,
    message: &Message,
) -> Result<Receipt, SmtpError> {
    let envelope = message.envelope();
    let sender = envelope.from().cloned();
    connection
        .command(commands::Mail::new(sender, vec![]))
        .await?;
    let mut refused = Vec::new();
    for address in envelope.to() {
        let command = commands::Rcpt::new(address.clone(), vec![]);
        match connection.command(command).await {
            Err(error) if error.status().is_some() && refused.len() + 1 < envelope.to().len() => {
                refused.push(format!("; it refused {address}: {}", text(&error)));
            }
            answer => drop(answer?),
        }
    }
    connection.command(commands::Data).await?;
    let response = connection.message(&message.formatted()).await?;
    let lines: Vec<_> = response.message().collect();
    Ok(Receipt {
        code: response.code().into(),
        reply: visible(&[&lines.join(" "), &*refused.concat()].concat()).into_owned(),
    })
}

/// The mail with its headers. Control characters in the subject become visible, so they cannot add
/// headers.
fn message(server: &MailServer, mail: Mail) -> Result<Message, Failure> {
    let domain = server.from.email.domain();
    let id = |id: &str| format!("<{}@{domain}>", id.replace(|c| !is_plain(c), "-"));
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let to = mail.to.into_iter().map(Mailbox::from);
    let message = Message::builder()
        .from(server.from.clone())
        .mailbox(header::To::from(to.collect::<Mailboxes>()))
        .subject(visible(&mail.subject))
        .date(SystemTime::from(mail.at))
        .message_id(Some(id(&mail.id)))
        .references(id(&mail.thread))
        // RFC 3834: no vacation notices as an answer, please.
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(mail.text, mail.html));
    message.map_err(|error| Failure::Mail(error.to_string()))
}

const fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

/// How this machine names itself to the mail server: by its name, if that is one.
fn hello() -> ClientId {
    match gethostname::gethostname().into_string() {
        Ok(name) if !name.is_empty() && name.chars().all(is_plain) => ClientId::Domain(name),
        _ => ClientId::default(),
    }
}

/// The reason why there is no connection, if that is the error.
fn unreachable(error: &SmtpError) -> Option<String> {
    let source = error.source()?.downcast_ref::<io::Error>()?;
    let is_inner = source.get_ref().is_some();
    (!is_inner || source.kind() == io::ErrorKind::TimedOut).then(|| source.to_string())
}

fn failure(error: &SmtpError, step: Step) -> Failure {
    if let Some(code) = error.status() {
        return Failure::MailRefused {
            step,
            code: code.into(),
            reply: visible(&text(error)).into_owned(),
        };
    }
    match tls_error(error) {
        Some(tls) => Failure::Tls(tls.to_string()),
        None => Failure::Broken {
            step,
            what: visible(&text(error)).into_owned(),
        },
    }
}

/// The error of TLS that caused this one, if it did.
fn tls_error(error: &SmtpError) -> Option<&rustls::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        let io = cause.downcast_ref::<io::Error>();
        if let Some(tls) = io.and_then(|io| io.get_ref()?.downcast_ref()) {
            return Some(tls);
        }
        source = cause.source();
    }
    None
}

/// The cause of an error, or itself.
fn text(error: &SmtpError) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
