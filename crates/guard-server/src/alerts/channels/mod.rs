//! How each kind of [channel](super::channel) delivers a [notification](super::notification): one
//! file for each service turns the notification into its message.
//!
//! Addresses, endpoints and user agents come from attackers. `words` makes their control characters
//! visible and cuts them; each service then shows them in a form in which nothing is markup, a link or
//! a mention.

mod check;
mod discord;
mod email;
mod ntfy;
mod redact;
mod slack;
mod teams;
mod telegram;
#[cfg(test)]
mod tests;
mod webhook;
mod words;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

pub use self::check::check;
use self::redact::redacted;
pub use self::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use self::words::Words;
use super::sender::{Answer, Attempt, Retry, SendError, Sender};
use super::{AlertError, Channel, ChannelKind, Notification};
use crate::outbound::{
    Failure, Http, MailServer, Mailer, Post, Reach, Receipt, Reply, Resolver, SystemResolver,
    TargetUrl,
};

/// Answers that ask to try again.
const RETRIED: [u16; 3] = [408, 425, 429];

/// Delivers notifications by HTTP and by mail.
#[derive(Clone)]
pub struct Channels {
    http: Http,
    mailer: Mailer,
}

impl Channels {
    /// Sends requests to the addresses of `webhooks`, and mail through `mail`. Names are looked up by
    /// the system.
    pub fn new(webhooks: Reach, mail: Option<MailServer>) -> Self {
        let resolver: Arc<dyn Resolver> = Arc::new(SystemResolver);
        Self {
            http: Http::new(Arc::clone(&resolver), webhooks),
            mailer: Mailer::new(mail, resolver),
        }
    }

    async fn deliver(
        &self,
        channel: &Channel,
        notification: &Notification,
    ) -> Result<Answer, SendError> {
        if channel.kind == ChannelKind::Email {
            let mail = email::mail(channel, notification).map_err(misconfigured)?;
            let sent = self.mailer.send(mail).await;
            return sent.map(taken).map_err(|failure| failed(failure, channel));
        }
        let post = request(channel, notification, Timestamp::now()).map_err(misconfigured)?;
        let replied = self.http.post(post).await;
        let reply = replied.map_err(|failure| failed(failure, channel))?;
        answered(reply, channel)
    }
}

impl Sender for Channels {
    fn send<'a>(&'a self, channel: &'a Channel, notification: &'a Notification) -> Attempt<'a> {
        Box::pin(self.deliver(channel, notification))
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channels")
    }
}

/// The request that delivers a notification to a channel other than mail.
fn request(
    channel: &Channel,
    notification: &Notification,
    now: Timestamp,
) -> Result<Post, AlertError> {
    let words = Words::of(notification);
    match channel.kind {
        ChannelKind::Webhook => webhook::request(channel, notification, now),
        ChannelKind::Slack => Ok(Post::json(url(channel)?, &slack::body(&words))),
        ChannelKind::Discord => Ok(Post::json(url(channel)?, &discord::body(&words))),
        ChannelKind::Teams => Ok(Post::json(url(channel)?, &teams::body(&words))),
        ChannelKind::Ntfy => ntfy::request(channel, &words),
        ChannelKind::Telegram => telegram::request(channel, &words),
        ChannelKind::Email => Err(AlertError::channel("type", "mail is no HTTP request")),
    }
}

/// The URL of a channel that has one.
fn url(channel: &Channel) -> Result<TargetUrl, AlertError> {
    TargetUrl::parse(channel.target.expose())
        .map_err(|error| AlertError::channel("url", error.to_string()))
}

fn misconfigured(error: AlertError) -> SendError {
    SendError::Misconfigured(error.to_string())
}

fn answered(reply: Reply, channel: &Channel) -> Result<Answer, SendError> {
    let text = redacted(&reply.body, channel);
    let answer = |text| Answer {
        status: Some(reply.status),
        text,
    };
    let wait = match channel.kind {
        ChannelKind::Telegram => telegram::retry_after(&reply.body),
        _ => None,
    };
    let retry = match (reply.status, reply.retry_after.or(wait)) {
        (200..300, _) => return Ok(answer(text)),
        (300..400, _) => {
            let answer = answer(
                format!("a redirect, which is not followed {text}")
                    .trim()
                    .to_owned(),
            );
            let retry = Retry::Never;
            return Err(SendError::Refused { answer, retry });
        }
        (status, Some(wait)) if RETRIED.contains(&status) || status >= 500 => Retry::After(wait),
        (status, None) if RETRIED.contains(&status) || status >= 500 => Retry::Later,
        _ => Retry::Never,
    };
    let answer = answer(text);
    Err(SendError::Refused { answer, retry })
}

fn taken(receipt: Receipt) -> Answer {
    Answer {
        status: Some(receipt.code),
        text: receipt.reply,
    }
}

fn failed(failure: Failure, channel: &Channel) -> SendError {
    let text = redacted(&failure.to_string(), channel);
    match failure {
        Failure::Refused { .. } => SendError::Forbidden(text),
        Failure::NoMailServer | Failure::Mail(_) => SendError::Misconfigured(text),
        Failure::MailRefused { code, step, reply } => SendError::Refused {
            answer: Answer {
                status: Some(code),
                text: redacted(&format!("{reply} (while {step})"), channel),
            },
            retry: if code >= 500 {
                Retry::Never
            } else {
                Retry::Later
            },
        },
        _ => SendError::Unreachable(text),
    }
}
