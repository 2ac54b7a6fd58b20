//! What a receiver is told.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::query::Utc;

/// The most addresses and endpoints that a notification names.
pub const TOP: usize = 3;

/// What a receiver is told. Its JSON form is the body of a webhook, and is documented for users.
///
/// A notification belongs to one channel. It keeps its `id` over all attempts to deliver it, so a
/// receiver that remembers ids sees each notification once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Identifies it. 32 hexadecimal digits.
    pub id: String,
    /// Identifies the alert.
    pub alert_id: String,
    /// The name of the alert, for people.
    pub alert: String,
    /// The name of the project.
    pub project: String,
    /// The type of the condition, such as `threshold`.
    pub condition: String,
    /// Whether it starts, continues, or has ended.
    pub state: NotificationState,
    /// What happened, in one line, without a full stop.
    pub summary: String,
    /// The group, for an alert that is grouped by a field.
    pub group: Option<Group>,
    /// When the alert started.
    #[serde(serialize_with = "utc")]
    pub since: Timestamp,
    /// When this was noticed.
    #[serde(serialize_with = "utc")]
    pub at: Timestamp,
    /// How many: events, losses, agents, new values. 0 if nothing is counted, as for storage.
    pub count: u64,
    /// The addresses with the most of these events, at most [`TOP`]. Empty if it is not about events.
    pub top_addresses: Vec<TopEntry>,
    /// The endpoints with the most of these events, at most [`TOP`].
    pub top_endpoints: Vec<TopEntry>,
    /// Where to go from here.
    pub links: Links,
    /// Whether it only tests the channel.
    #[serde(default)]
    pub test: bool,
}

fn utc<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    Utc(*at).serialize(serializer)
}

/// How an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    /// It starts.
    Started,
    /// It continues.
    Ongoing,
    /// It has ended.
    Ended,
}

impl NotificationState {
    /// What `state` is in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ongoing => "ongoing",
            Self::Ended => "ended",
        }
    }
}

/// The group that a notification is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// The field that the alert is grouped by.
    pub field: String,
    /// Its value. `None` for the groups beyond the limit, which share one notification.
    #[schema(required = true)]
    pub value: Option<String>,
}

/// A value and how many events have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopEntry {
    /// The value.
    pub value: String,
    /// How many events have it.
    pub count: u64,
}

/// Links into the dashboard: full URLs, or paths if the server does not know its address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Links {
    /// What the alert is about, in exactly this range.
    pub view: String,
    /// The same page, which opens its dialog to ban: the parameter `ban` has the addresses of
    /// `top_addresses`, separated by commas.
    #[schema(required = true)]
    pub ban: Option<String>,
}

impl Notification {
    /// A notification that only tests a channel. `base` is what the URL of the dashboard begins with.
    pub fn test(id: String, now: Timestamp, base: &str) -> Self {
        Self {
            id,
            alert_id: "test".to_owned(),
            alert: "Test".to_owned(),
            project: "-".to_owned(),
            condition: "test".to_owned(),
            state: NotificationState::Started,
            summary: "this only tests the channel".to_owned(),
            group: None,
            since: now,
            at: now,
            count: 0,
            top_addresses: Vec::new(),
            top_endpoints: Vec::new(),
            links: Links {
                view: format!("{base}/"),
                ban: None,
            },
            test: true,
        }
    }
}
