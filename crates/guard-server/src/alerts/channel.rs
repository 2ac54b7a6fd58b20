//! Where notifications are delivered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::error::{AlertError, read};
use crate::projects::key::check_label;
use crate::secret::Secret;
use crate::store::StoredChannel;

/// The most channels of a server.
pub const MAX_CHANNELS: usize = 200;

/// The kinds of channels. Each is a file in [`channels`](super::channels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
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

    /// The kind with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

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

/// The fields of a channel, before they are checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    label: String,
    r#type: ChannelKind,
    url: Option<Secret>,
    to: Option<Secret>,
    secret: Option<Secret>,
}

impl Channel {
    /// Reads and checks a channel.
    ///
    /// # Errors
    ///
    /// [`AlertError`] with the wrong field. It quotes no secret.
    pub fn read(id: String, json: Value) -> Result<Self, AlertError> {
        let given: Given = read(json).map_err(|error| AlertError {
            code: "invalid_channel",
            ..error
        })?;
        let label = check_label(&given.label);
        label.map_err(|error| AlertError::channel("label", error.to_string()))?;
        let kind = given.r#type;
        let field = Self::target_field(kind);
        let (target, (other, extra)) = if field == "to" {
            (given.to, ("url", given.url))
        } else {
            (given.url, ("to", given.to))
        };
        if extra.is_some() {
            let problem = format!("a channel of type {} has {field} instead", kind.name());
            return Err(AlertError::channel(other, problem));
        }
        let Some(target) = target else {
            return Err(AlertError::channel(field, "it is missing"));
        };
        let channel = Self {
            id,
            label: given.label,
            kind,
            target,
            secret: given.secret.filter(|secret| !secret.expose().is_empty()),
        };
        super::channels::check(&channel)?;
        Ok(channel)
    }

    /// The channel after a change: each field that `change` names is replaced; null removes the
    /// secret. The type stays.
    ///
    /// # Errors
    ///
    /// [`AlertError`] with the wrong field.
    pub fn changed(&self, change: Map<String, Value>) -> Result<Self, AlertError> {
        if change
            .get("type")
            .is_some_and(|kind| kind != self.kind.name())
        {
            let problem = "the type of a channel stays; add another channel";
            return Err(AlertError::channel("type", problem));
        }
        let mut json = json!({
            "label": self.label,
            "type": self.kind,
            Self::target_field(self.kind): self.target.expose(),
            "secret": self.secret.as_ref().map(Secret::expose),
        });
        if let Value::Object(fields) = &mut json {
            fields.extend(change);
        }
        Self::read(self.id.clone(), json)
    }

    /// The channel as it may be shown, without secrets.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "label": self.label,
            "type": self.kind,
            "target": self.shown_target(),
            "has_secret": self.secret.is_some(),
        })
    }

    /// The form in which it is stored.
    pub fn to_stored(&self, created_at: Timestamp, created_by: String) -> StoredChannel {
        StoredChannel {
            id: self.id.clone(),
            created_at,
            created_by,
            label: self.label.clone(),
            kind: self.kind.name().to_owned(),
            target: self.target.clone(),
            secret: self.secret.clone(),
        }
    }

    /// From what is stored. `None` for a kind that only a newer version knows.
    pub fn stored(stored: StoredChannel) -> Option<Self> {
        Some(Self {
            kind: ChannelKind::of_name(&stored.kind)?,
            id: stored.id,
            label: stored.label,
            target: stored.target,
            secret: stored.secret,
        })
    }

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
