//! Removes what a channel keeps secret from texts that others wrote.

use super::super::Channel;
use super::super::sender::MAX_TEXT;
use super::words::cut_bytes;
use crate::outbound::TargetUrl;
use crate::visible::visible;

/// Shown in place of a secret.
const MASK: &str = "[secret]";
/// Shorter parts of a URL are words such as `api`, not secrets.
const LEAST: usize = 6;

/// The start of a text that the receiver or a library wrote, without the channel's secrets and with
/// visible control characters.
pub(super) fn redacted(text: &str, channel: &Channel) -> String {
    let mut secrets: Vec<_> = channel
        .secret
        .iter()
        .map(|it| it.expose().to_owned())
        .collect();
    if let Ok(url) = TargetUrl::parse(channel.target.expose()) {
        secrets.push(url.expose().to_owned());
        secrets.extend(url.secrets());
    }
    secrets.retain(|secret| secret.len() >= LEAST);
    // The longest first: a part of it would leave the rest.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(&secret, MASK);
    }
    cut_bytes(visible(text.trim()).trim(), MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::super::super::ChannelKind;
    use super::super::tests::channel;
    use super::*;

    #[test]
    fn no_part_of_the_url_and_no_secret_stays() {
        let channel = channel(
            ChannelKind::Webhook,
            "https://hooks.example.com/services/T0AAAAAAA/hush-hush?token=hush-token",
            Some("hush-secret"),
        );
        for (text, expected) in [
            (
                "no https://hooks.example.com/services/T0AAAAAAA/hush-hush?token=hush-token here",
                "no [secret] here",
            ),
            (
                "Cannot POST /services/T0AAAAAAA/hush-hush",
                "Cannot POST [secret]",
            ),
            (
                r#"{"path":"\/services\/T0AAAAAAA\/hush-hush"}"#,
                r#"{"path":"\/[secret]\/[secret]\/[secret]"}"#,
            ),
            (
                "wrong token hush-token for hush-secret",
                "wrong token [secret] for [secret]",
            ),
            ("ok", "ok"),
        ] {
            assert_eq!(redacted(text, &channel), expected);
        }
    }

    #[test]
    fn the_text_is_visible_and_short() {
        let channel = channel(ChannelKind::Webhook, "https://example.com", None);
        assert_eq!(redacted("\n a\u{1b}[2J\r\n", &channel), r"a\u{1b}[2J");
        let long = redacted(&"é".repeat(4000), &channel);
        assert!(long.len() <= MAX_TEXT && long.ends_with('…'), "{long}");
    }
}
