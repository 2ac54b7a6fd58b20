//! Whether a channel can work: its address and its secret have the form that its service uses.

use lettre::Address;

use super::super::{AlertError, Channel, ChannelKind};
use super::{email, ntfy, telegram, url};

/// The shortest key that signs a webhook, in bytes.
const MIN_KEY: usize = 16;
/// The longest secret, in bytes.
const MAX_SECRET: usize = 500;

/// Checks the target and the secret of a channel. It does not connect.
///
/// # Errors
///
/// [`AlertError`] names the field: `url`, `to` or `secret`.
pub fn check(channel: &Channel) -> Result<(), AlertError> {
    check_secret(channel)?;
    match channel.kind {
        ChannelKind::Email => email::addresses(channel).map(|_: Vec<Address>| ()),
        ChannelKind::Telegram => telegram::check(channel),
        ChannelKind::Ntfy => ntfy::topic(&url(channel)?).map(|_| ()),
        ChannelKind::Webhook | ChannelKind::Slack | ChannelKind::Discord | ChannelKind::Teams => {
            url(channel).map(|_| ())
        }
    }
}

fn check_secret(channel: &Channel) -> Result<(), AlertError> {
    let error = |problem: String| Err(AlertError::channel("secret", problem));
    let Some(secret) = channel.secret.as_ref().map(|secret| secret.expose()) else {
        return Ok(());
    };
    let is_plain = secret.bytes().all(|byte| byte.is_ascii_graphic());
    match channel.kind {
        _ if secret.len() > MAX_SECRET => error(format!("give at most {MAX_SECRET} bytes")),
        ChannelKind::Webhook if secret.len() < MIN_KEY => error(format!(
            "give a key of at least {MIN_KEY} bytes, such as of `openssl rand -hex 32`"
        )),
        ChannelKind::Ntfy | ChannelKind::Telegram if !is_plain => {
            error("give a token of visible ASCII characters".to_owned())
        }
        ChannelKind::Webhook | ChannelKind::Ntfy | ChannelKind::Telegram => Ok(()),
        kind => error(format!(
            "a channel of type {} has none; leave it out",
            kind.name()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::channel;
    use super::*;

    const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";

    #[test]
    fn channels_of_every_kind_are_accepted() {
        for (kind, target, secret) in [
            (ChannelKind::Webhook, "https://hooks.example.com/a", None),
            (
                ChannelKind::Webhook,
                "http://hooks.example.com:8080/a",
                Some("0123456789abcdef"),
            ),
            (ChannelKind::Email, "ops@example.com", None),
            (
                ChannelKind::Email,
                " ops@example.com, on-call@example.com ",
                None,
            ),
            (
                ChannelKind::Slack,
                "https://hooks.slack.com/services/T/B/x",
                None,
            ),
            (
                ChannelKind::Discord,
                "https://discord.com/api/webhooks/1/x",
                None,
            ),
            (
                ChannelKind::Teams,
                "https://prod.westeurope.logic.azure.com/workflows/1?sig=x",
                None,
            ),
            (
                ChannelKind::Ntfy,
                "https://ntfy.sh/my-alerts_1",
                Some("tk_0123456789"),
            ),
            (ChannelKind::Telegram, "-1001234567890", Some(TOKEN)),
            (ChannelKind::Telegram, "@my_channel", Some(TOKEN)),
        ] {
            assert_eq!(
                check(&channel(kind, target, secret)),
                Ok(()),
                "{kind:?} {target}"
            );
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_field_and_without_the_value() {
        for (kind, target, secret, field) in [
            (ChannelKind::Webhook, "hush", None, "url"),
            (ChannelKind::Webhook, "ftp://example.com/hush", None, "url"),
            (
                ChannelKind::Slack,
                "https://u:hush@example.com",
                None,
                "url",
            ),
            (
                ChannelKind::Webhook,
                "https://example.com",
                Some("hush"),
                "secret",
            ),
            (
                ChannelKind::Slack,
                "https://example.com",
                Some("hush-hush-hush-hush"),
                "secret",
            ),
            (ChannelKind::Email, "", None, "to"),
            (ChannelKind::Email, "hush", None, "to"),
            (
                ChannelKind::Email,
                "ops@example.com\r\nRCPT TO:<hush@example.com>",
                None,
                "to",
            ),
            (ChannelKind::Email, "ops@example.com,", None, "to"),
            (ChannelKind::Email, "Ops <ops@example.com>", None, "to"),
            (ChannelKind::Email, "ops@exämple.com", None, "to"),
            (ChannelKind::Ntfy, "https://ntfy.sh/", None, "url"),
            (
                ChannelKind::Ntfy,
                "https://ntfy.sh/hush%20hush",
                None,
                "url",
            ),
            (
                ChannelKind::Ntfy,
                "https://ntfy.sh/topic",
                Some("hush\n"),
                "secret",
            ),
            (ChannelKind::Telegram, "-100123", None, "secret"),
            (ChannelKind::Telegram, "-100123", Some("hush"), "secret"),
            (
                ChannelKind::Telegram,
                "-100123",
                Some("1/../hush"),
                "secret",
            ),
            (ChannelKind::Telegram, "hush hush", Some(TOKEN), "to"),
        ] {
            let error = check(&channel(kind, target, secret)).unwrap_err();
            assert_eq!(
                (error.code, &*error.field),
                ("invalid_channel", field),
                "{target}"
            );
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
