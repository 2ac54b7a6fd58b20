//! Alerts, where they stand, and the notifications that wait to be delivered.
//!
//! The store knows neither conditions nor channels: what they are is JSON of the layer above.

use jiff::Timestamp;

use super::{BoxFuture, Cursor, ProjectId};
use crate::people::AuditEntry;
use crate::secret::Secret;

/// An alert of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAlert {
    /// The project.
    pub project: ProjectId,
    /// Identifies it in its project.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: String,
    /// Its settings, as JSON.
    pub content: String,
    /// No notifications are sent until then.
    pub muted_until: Option<Timestamp>,
}

/// A channel of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChannel {
    /// Identifies it.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: String,
    /// Its name.
    pub label: String,
    /// Its kind.
    pub kind: String,
    /// Where it delivers to.
    pub target: Secret,
    /// Its secret, if it has one.
    pub secret: Option<Secret>,
}

/// Where an alert stands, for one of its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredState {
    /// The project.
    pub project: ProjectId,
    /// The alert.
    pub alert: String,
    /// The group.
    pub group: String,
    /// The state, as JSON.
    pub content: String,
}

/// What one evaluation of the alerts of a project changes. All of it is stored, or nothing.
#[derive(Debug, Clone)]
pub struct AlertCommit {
    /// The project.
    pub project: ProjectId,
    /// The position in the order of arrival up to which events were evaluated.
    pub position: Option<Cursor>,
    /// What became of its alerts.
    pub updates: Vec<AlertUpdate>,
}

/// What became of one alert in one evaluation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertUpdate {
    /// The alert. If it was removed meanwhile, nothing is stored.
    pub alert: String,
    /// The new state of each group that changed; `None` removes it.
    pub states: Vec<(String, Option<String>)>,
    /// Values that the alert saw for the first time.
    pub seen: Vec<String>,
    /// Values to forget.
    pub forgotten: Vec<String>,
    /// What to add to its history.
    pub history: Vec<NewHistory>,
    /// Notifications to deliver.
    pub outbox: Vec<NewNotification>,
}

impl AlertUpdate {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        let Self {
            alert: _,
            states,
            seen,
            forgotten,
            history,
            outbox,
        } = self;
        let is_same = states.is_empty() && seen.is_empty() && forgotten.is_empty();
        is_same && history.is_empty() && outbox.is_empty()
    }
}

/// An entry to add to the history of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHistory {
    /// When it happened.
    pub at: Timestamp,
    /// What happened, as JSON.
    pub content: String,
}

/// A notification to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    /// Identifies it.
    pub id: String,
    /// The channel.
    pub channel: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The notification, as JSON.
    pub content: String,
}

/// A notification that waits to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The project.
    pub project: ProjectId,
    /// The alert.
    pub alert: String,
    /// The notification.
    pub notification: NewNotification,
    /// How many attempts have failed.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due_at: Timestamp,
}

/// A part of the history of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// The newest first.
    pub items: Vec<NewHistory>,
    /// Where the next part begins, if there is more.
    pub next: Option<Cursor>,
}

/// How much the outbox and the histories may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertLimits {
    /// Notifications that wait. Further ones are left out.
    pub outbox: usize,
    /// Entries of the history of an alert. The oldest are removed first.
    pub history: usize,
}

/// How full the outbox is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxSize {
    /// How many notifications wait.
    pub waiting: u64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
}

/// Alerts, where they stand, and the notifications that wait to be delivered. The
/// [`Audit`](super::Audit) log says what an `entry` is.
pub trait Alerts: Send + Sync {
    /// The alerts of all projects, by project and age.
    fn all_alerts(&self) -> BoxFuture<'_, Vec<StoredAlert>>;

    /// The alerts of a project, the oldest first.
    fn alerts(&self, project: ProjectId) -> BoxFuture<'_, Vec<StoredAlert>>;

    /// Adds an alert. Returns whether there was room: a project has at most `limit`.
    fn add_alert(
        &self,
        alert: StoredAlert,
        limit: usize,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Adds these alerts to a project for which this was not called before. Returns whether it was
    /// not.
    fn add_default_alerts(
        &self,
        project: ProjectId,
        alerts: Vec<StoredAlert>,
    ) -> BoxFuture<'_, bool>;

    /// Replaces the settings of an alert, unless they changed since `from` was read. Returns whether
    /// they did not.
    fn change_alert(
        &self,
        from: StoredAlert,
        to: StoredAlert,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Removes an alert, with its states, its history and its notifications. Returns it if it was
    /// there.
    fn remove_alert<'a>(
        &'a self,
        project: ProjectId,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<StoredAlert>>;

    /// The channels, the oldest first.
    fn channels(&self) -> BoxFuture<'_, Vec<StoredChannel>>;

    /// Adds a channel. Returns whether there was room for at most `limit`.
    fn add_channel(
        &self,
        channel: StoredChannel,
        limit: usize,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Replaces a channel, unless it changed since `from` was read. Returns whether it did not.
    fn change_channel(
        &self,
        from: StoredChannel,
        to: StoredChannel,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Removes a channel, with the notifications that wait for it. Returns it if it was there.
    fn remove_channel<'a>(
        &'a self,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<StoredChannel>>;

    /// Where the alerts of all projects stand.
    fn alert_states(&self) -> BoxFuture<'_, Vec<StoredState>>;

    /// The values that an alert has seen, in the order in which they were first seen.
    fn seen<'a>(&'a self, project: ProjectId, alert: &'a str) -> BoxFuture<'a, Vec<String>>;

    /// The position up to which the events of a project were evaluated.
    fn evaluated(&self, project: ProjectId) -> BoxFuture<'_, Option<Cursor>>;

    /// Stores what became of alerts: all of it in one transaction. A notification whose id waits
    /// already is not stored again. Returns how many notifications were left out because the outbox
    /// is full.
    fn commit_alerts(&self, commit: AlertCommit, limits: AlertLimits) -> BoxFuture<'_, usize>;

    /// A part of the history of an alert, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidCursor`](super::StoreError::InvalidCursor) for a cursor that this
    /// engine did not make.
    fn alert_history<'a>(
        &'a self,
        project: ProjectId,
        alert: &'a str,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> BoxFuture<'a, HistoryPage>;

    /// The first notification of each channel, whether it is due or not. Those behind it wait, so
    /// that a receiver gets them in order.
    fn outbox(&self) -> BoxFuture<'_, Vec<OutboxEntry>>;

    /// Plans the next attempt of a notification after a failed one.
    fn postpone<'a>(&'a self, id: &'a str, due_at: Timestamp) -> BoxFuture<'a, ()>;

    /// Removes a notification that was delivered or given up, and adds that to the history, in one
    /// transaction.
    fn settle(
        &self,
        entry: OutboxEntry,
        history: NewHistory,
        limits: AlertLimits,
    ) -> BoxFuture<'_, ()>;

    /// How full the outbox is.
    fn outbox_size(&self) -> BoxFuture<'_, OutboxSize>;
}
