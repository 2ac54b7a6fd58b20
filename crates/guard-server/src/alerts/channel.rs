//! Where notifications are delivered.

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The most channels of a server.
pub const MAX_CHANNELS: usize = 200;

/// The kinds of channels. Each is a file in [`channels`](super::channels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// An HTTP request with the notification as JSON, signed.
    Webhook,
    /// A mail.
    Email,
    /// A Slack incoming webhook.
    Slack,
    /// A Discord webhook.
    Discord,
    /// A Microsoft Teams workflow.
    Teams,
    /// A topic of ntfy.
    Ntfy,
    /// A Telegram bot.
    Telegram,
}

impl ChannelKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Webhook,
        Self::Email,
        Self::Slack,
        Self::Discord,
        Self::Teams,
        Self::Ntfy,
        Self::Telegram,
    ];

    /// What `type` is in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Email => "email",
            Self::Slack => "slack",
            Self::Discord => "discord",
            Self::Teams => "teams",
            Self::Ntfy => "ntfy",
            Self::Telegram => "telegram",
        }
    }
}

/// Where notifications are delivered. Channels belong to the server, not to a project.
///
/// The address and the secret are both secrets: the address of a Slack webhook is its password. The
/// API never returns them; see [`shown_target`](Self::shown_target).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Identifies it.
    pub id: String,
    /// Its name, for people.
    pub label: String,
    /// How it delivers.
    pub kind: ChannelKind,
    /// `url` in JSON, or `to` for [`Email`](ChannelKind::Email) (addresses, separated by commas) and
    /// [`Telegram`](ChannelKind::Telegram) (the chat).
    pub target: Secret,
    /// The key that signs a webhook, the access token of ntfy, the token of a Telegram bot.
    pub secret: Option<Secret>,
}

impl Channel {
    /// The name of the field that holds the target: `url` or `to`.
    pub const fn target_field(kind: ChannelKind) -> &'static str {
        match kind {
            ChannelKind::Email | ChannelKind::Telegram => "to",
            _ => "url",
        }
    }

    /// The target as it may be shown: mail addresses and chats as they are, of a URL only scheme and
    /// host.
    pub fn shown_target(&self) -> String {
        let target = self.target.expose();
        if Self::target_field(self.kind) == "to" {
            return target.to_owned();
        }
        let Some((scheme, rest)) = target.split_once("://") else {
            return "[secret]".to_owned();
        };
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        // A user and a password may stand before the host.
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}/…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(kind: ChannelKind, target: &str) -> Channel {
        Channel {
            id: "c".to_owned(),
            label: "c".to_owned(),
            kind,
            target: target.into(),
            secret: Some("hush".into()),
        }
    }

    #[test]
    fn of_a_url_only_scheme_and_host_are_shown() {
        for (kind, target, shown) in [
            (
                ChannelKind::Slack,
                "https://hooks.slack.example/services/T0/B0/hush",
                "https://hooks.slack.example/…",
            ),
            (
                ChannelKind::Webhook,
                "http://anna:hush@[::1]:8080?token=hush",
                "http://[::1]:8080/…",
            ),
            (ChannelKind::Webhook, "hush", "[secret]"),
            (ChannelKind::Email, "ops@example.com", "ops@example.com"),
            (ChannelKind::Telegram, "-100123", "-100123"),
        ] {
            let channel = channel(kind, target);
            assert_eq!(channel.shown_target(), shown);
            assert!(!format!("{channel:?}").contains("hush"));
        }
    }

    #[test]
    fn kinds_are_read_by_their_names() {
        for kind in ChannelKind::ALL {
            let json = serde_json::json!(kind.name());
            assert_eq!(serde_json::from_value::<ChannelKind>(json).unwrap(), kind);
        }
    }
}
