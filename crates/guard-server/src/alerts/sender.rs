//! The interface between the outbox and the channels.
//!
//! The outbox decides when to try, how often, and when to give up. A [`Sender`] makes one attempt
//! and says what came of it. It does not retry, keeps no state of notifications, and bounds its own
//! time: an attempt ends within [`ATTEMPT`].
//!
//! What a sender returns is shown to people and logged: no address beyond the host, no secret, and at
//! most [`MAX_TEXT`] bytes of what the receiver said.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use super::{Channel, Notification};

/// The longest attempt. The outbox drops an attempt that takes longer.
pub const ATTEMPT: Duration = Duration::from_secs(15);
/// The longest text of an answer or an error, in bytes.
pub const MAX_TEXT: usize = 500;

/// The future of an attempt.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Answer, SendError>> + Send + 'a>>;

/// Delivers notifications. Tests replace it.
pub trait Sender: Send + Sync {
    /// Makes one attempt to deliver a notification.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the receiver did not accept it.
    fn send<'a>(&'a self, channel: &'a Channel, notification: &'a Notification) -> Attempt<'a>;
}

/// What the receiver answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The status of HTTP, or the reply code of SMTP.
    pub status: Option<u16>,
    /// The start of the answer's text, without secrets.
    pub text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{status} {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// The channel cannot work as it is set up, such as mail without a mail server.
    #[error("{0}")]
    Misconfigured(String),
    /// The receiver's address is private, and private addresses are not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// No connection, no TLS, or no answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// The receiver answered, and did not accept it.
    #[error("the receiver refused it: {answer}")]
    Refused {
        /// What it answered.
        answer: Answer,
        /// What that means for later attempts.
        retry: Retry,
    },
}

/// Whether another attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another attempt would fail in the same way.
    Never,
    /// After the usual pause.
    Later,
    /// The receiver said when, as by `Retry-After`.
    After(Duration),
}

impl SendError {
    /// Whether another attempt may succeed. A wrong setting may be corrected, and a name may resolve
    /// to another address, so only the receiver's own refusal is final.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Refused { retry, .. } => *retry,
            Self::Misconfigured(_) | Self::Forbidden(_) | Self::Unreachable(_) => Retry::Later,
        }
    }

    /// What the receiver answered, if it did.
    pub const fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Refused { answer, .. } => Some(answer),
            _ => None,
        }
    }
}

/// A sender that delivers nothing, for programs that build the server without channels.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSender;

impl Sender for NoSender {
    fn send<'a>(&'a self, _: &'a Channel, _: &'a Notification) -> Attempt<'a> {
        let error = SendError::Misconfigured("this server was built without channels".to_owned());
        Box::pin(async { Err(error) })
    }
}
