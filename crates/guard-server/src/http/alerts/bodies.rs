//! What the calls on alerts and channels take and answer.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::alerts::manage::AlertView;
use crate::alerts::notification::{Group, Links, TopEntry};
use crate::alerts::standing::ActiveGroup;
use crate::alerts::{Channel, ChannelKind, QuietHours};
use crate::query::Utc;
use crate::store::{NewHistory, StoredChannel};

/// The settings of an alert.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read by the domain")]
#[schema(example = json!({
    "label": "Brute force", "group_by": "ip_address",
    "condition": { "type": "threshold", "filter": "endpoint:/login", "count": 20, "window_s": 60 },
}))]
pub(crate) struct AlertBody {
    /// What people call it.
    label: String,
    /// What it watches for: `type`, and the fields of that type.
    #[schema(value_type = Object)]
    condition: Value,
    /// The ids of the channels that are told.
    #[schema(required = false)]
    channels: Vec<String>,
    /// Watch for each value of this field alone; only with `threshold` and `rise`.
    group_by: Option<String>,
    /// Whether it is evaluated; true by default.
    #[schema(required = false)]
    enabled: bool,
    /// While it lasts, tell at most this often; 3600 by default.
    #[schema(required = false)]
    update_interval_s: u64,
    /// A span of each day without notifications.
    quiet_hours: Option<QuietHours>,
}

/// A change to the settings of an alert. A missing one stays; null sets one to its default.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read by the domain")]
#[schema(example = json!({ "enabled": false, "update_interval_s": 7200 }))]
pub(crate) struct AlertChange {
    /// What people call it.
    #[schema(required = false)]
    label: String,
    /// What it watches for: `type`, and the fields of that type.
    #[schema(value_type = Object, required = false)]
    condition: Value,
    /// The ids of the channels that are told; none by default.
    channels: Option<Vec<String>>,
    /// Watch for each value of this field alone; only with `threshold` and `rise`.
    group_by: Option<String>,
    /// Whether it is evaluated; true by default.
    enabled: Option<bool>,
    /// While it lasts, tell at most this often; 3600 by default.
    update_interval_s: Option<u64>,
    /// A span of each day without notifications.
    quiet_hours: Option<QuietHours>,
}

/// An alert, and where it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertAnswer {
    /// Identifies it in its project.
    id: String,
    /// What people call it.
    label: String,
    /// What it watches for.
    #[schema(value_type = Object)]
    condition: Value,
    /// The ids of the channels that are told.
    channels: Vec<String>,
    /// The field for whose values it is watched.
    #[schema(required = true)]
    group_by: Option<String>,
    /// Whether it is evaluated.
    enabled: bool,
    /// While it lasts, receivers are told at most this often.
    update_interval_s: u64,
    /// A span of each day without notifications.
    #[schema(required = true)]
    quiet_hours: Option<QuietHours>,
    /// No notifications are sent until then.
    #[schema(required = true)]
    muted_until: Option<Utc>,
    /// When it was created.
    created_at: Utc,
    /// Who created it.
    created_by: String,
    /// The groups that it is going on for.
    active: Vec<ActiveGroup>,
    /// Why it cannot be evaluated, if it cannot.
    #[schema(required = true)]
    failure: Option<String>,
}

impl AlertAnswer {
    pub(super) fn new(view: AlertView, active: Vec<ActiveGroup>, failure: Option<String>) -> Self {
        let settings = view.rule.settings;
        Self {
            id: view.rule.id,
            label: settings.label,
            condition: json!(settings.condition),
            channels: settings.channels,
            group_by: settings.group_by,
            enabled: settings.enabled,
            update_interval_s: settings.update_interval_s,
            quiet_hours: settings.quiet_hours,
            muted_until: view.rule.muted_until.map(Utc),
            created_at: view.created_at,
            created_by: view.created_by,
            active,
            failure,
        }
    }
}

/// For how long an alert is muted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "duration_s": 3600 }))]
pub(crate) struct MuteBody {
    /// Seconds; 0 ends the mute.
    #[schema(maximum = 2_592_000)]
    pub(super) duration_s: u64,
}

/// An entry of the history of an alert: what happened to it, or to a notification.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HistoryItem {
    /// When.
    #[serde(default)]
    #[schema(required = true)]
    at: String,
    /// `started`, `ongoing`, `ended`, or of a notification `delivered`, `given_up`.
    event: String,
    /// Whether receivers were told.
    #[schema(required = true)]
    told: Option<bool>,
    /// What happened, in one line.
    #[schema(required = true)]
    summary: Option<String>,
    /// The group, for an alert that is grouped by a field.
    #[schema(required = true)]
    group: Option<Group>,
    /// When the alert started.
    #[schema(required = true)]
    since: Option<String>,
    /// How many.
    #[schema(required = true)]
    count: Option<u64>,
    /// The addresses with the most of these events.
    #[serde(default)]
    #[schema(required = true)]
    top_addresses: Vec<TopEntry>,
    /// The endpoints with the most of these events.
    #[serde(default)]
    #[schema(required = true)]
    top_endpoints: Vec<TopEntry>,
    /// Where to go from here.
    #[schema(required = true)]
    links: Option<Links>,
    /// The ids of the channels that were told.
    #[serde(default)]
    #[schema(required = true)]
    channels: Vec<String>,
    /// The id of the channel of a notification.
    #[schema(required = true)]
    channel: Option<String>,
    /// The name of that channel.
    #[schema(required = true)]
    channel_label: Option<String>,
    /// The id of the notification.
    #[schema(required = true)]
    notification: Option<String>,
    /// How many attempts it took.
    #[schema(required = true)]
    attempts: Option<u32>,
    /// What the receiver answered, or why it was given up.
    #[schema(required = true)]
    detail: Option<String>,
}

impl HistoryItem {
    pub(super) fn stored(entry: &NewHistory) -> Option<Self> {
        let item: Self = serde_json::from_str(&entry.content).ok()?;
        let at = format!("{:.6}", entry.at);
        Some(Self { at, ..item })
    }
}

/// The settings of a channel.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read by the domain")]
#[schema(example = json!({
    "label": "Operations", "type": "webhook", "url": "https://hooks.example.com/guard",
    "secret": "0123456789abcdef0123456789abcdef",
}))]
pub(crate) struct ChannelBody {
    /// What people call it.
    label: String,
    /// How it delivers. It cannot be changed.
    r#type: ChannelKind,
    /// The URL, for types other than `email` and `telegram`.
    url: Option<String>,
    /// The mail addresses, separated by commas, or the chat.
    to: Option<String>,
    /// The key that signs a webhook, or the token of ntfy or of a Telegram bot.
    secret: Option<String>,
}

/// A change to the settings of a channel. A missing one stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read by the domain")]
#[schema(example = json!({ "label": "Operations, by night" }))]
pub(crate) struct ChannelChange {
    /// What people call it.
    #[schema(required = false)]
    label: String,
    /// How it delivers, which cannot change.
    #[schema(required = false)]
    r#type: ChannelKind,
    /// The URL, for types other than `email` and `telegram`.
    #[schema(required = false)]
    url: String,
    /// The mail addresses, separated by commas, or the chat.
    #[schema(required = false)]
    to: String,
    /// The key that signs a webhook, or the token of ntfy or of a Telegram bot; null removes it.
    secret: Option<String>,
}

/// A channel, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelAnswer {
    /// Identifies it.
    id: String,
    /// What people call it.
    label: String,
    /// How it delivers.
    r#type: ChannelKind,
    /// The mail addresses or the chat; of a URL only scheme and host.
    target: String,
    /// Whether it has a secret.
    has_secret: bool,
    /// When it was created.
    created_at: Utc,
    /// Who created it.
    created_by: String,
}

impl ChannelAnswer {
    /// `None` for a channel that only a newer version knows.
    pub(super) fn stored(stored: StoredChannel) -> Option<Self> {
        let (created_at, created_by) = (Utc(stored.created_at), stored.created_by.clone());
        let channel = Channel::stored(stored)?;
        Some(Self {
            target: channel.shown_target(),
            has_secret: channel.secret.is_some(),
            id: channel.id,
            label: channel.label,
            r#type: channel.kind,
            created_at,
            created_by,
        })
    }
}

/// What the receiver of a test answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestAnswer {
    /// Whether the receiver accepted it.
    pub(super) delivered: bool,
    /// The status of HTTP, or the reply code of SMTP, if there was an answer.
    #[schema(required = true)]
    pub(super) status: Option<u16>,
    /// What the receiver said, or why it did not get the test.
    pub(super) text: String,
    /// How long it took, in milliseconds.
    pub(super) took_ms: u64,
}
