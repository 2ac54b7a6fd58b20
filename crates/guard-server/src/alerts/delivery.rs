//! Delivers the notifications that wait in the outbox.
//!
//! Each channel gets its notifications in order, one at a time; channels do not wait for each other.
//! After a failed attempt the next one follows in 5 seconds, then 10, 20 and so on, up to 15
//! minutes, or when the receiver says. A notification is given up when the receiver refuses it for
//! good, or after [`GIVE_UP_AFTER`]; that is logged and noted in the history of its alert.
//!
//! A notification leaves the outbox after the receiver accepted it. If the server is killed in
//! between, it is sent again with the same id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinSet;

use super::evaluator::LIMITS;
use super::sender::ATTEMPT;
use super::{Answer, Channel, Notification, Retry, SendError, Sender};
use crate::monitoring::AlertMeters;
use crate::store::{Alerts, NewHistory, OutboxEntry, StoreError};

/// After this time a notification that could not be delivered is given up.
pub const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// The pause after the first failed attempt. It doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(900);
/// How many channels are served at the same time.
const AT_ONCE: usize = 16;
/// The most that a sender may take, with some time for it to notice.
const DEADLINE: Duration = ATTEMPT.saturating_add(Duration::from_secs(5));

/// Delivers what waits in the outbox.
pub struct Delivery {
    alerts: Arc<dyn Alerts>,
    sender: Arc<dyn Sender>,
    meter: AlertMeters,
    /// The channels that are being served, and the attempts.
    busy: HashSet<String>,
    attempts: JoinSet<String>,
}

impl Delivery {
    /// Delivers from the outbox of `alerts` by `sender`.
    pub fn new(alerts: Arc<dyn Alerts>, sender: Arc<dyn Sender>, meter: AlertMeters) -> Self {
        Self {
            alerts,
            sender,
            meter,
            busy: HashSet::new(),
            attempts: JoinSet::new(),
        }
    }

    /// Begins an attempt for each channel whose first notification is due and that is not being
    /// served. Does not wait for the attempts.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the outbox cannot be read.
    pub async fn begin(&mut self, now: Timestamp) -> Result<(), StoreError> {
        while let Some(ended) = self.attempts.try_join_next() {
            self.ended(ended);
        }
        let firsts = self.alerts.outbox().await?;
        let due = |entry: &OutboxEntry| {
            let wait = entry.due_at.duration_since(now);
            // A longer wait was planned before the clock was set back.
            wait <= SignedDuration::ZERO || wait.unsigned_abs() > 4 * MAX_PAUSE
        };
        let busy = &self.busy;
        let due = firsts
            .into_iter()
            .filter(|entry| due(entry) && !busy.contains(&entry.notification.channel));
        let due: Vec<_> = due.take(AT_ONCE.saturating_sub(self.busy.len())).collect();
        if due.is_empty() {
            return Ok(());
        }
        let channels = channels(&*self.alerts).await?;
        for entry in due {
            let channel = channels.get(&entry.notification.channel).cloned();
            self.busy.insert(entry.notification.channel.clone());
            let attempt = Attempt {
                alerts: Arc::clone(&self.alerts),
                sender: Arc::clone(&self.sender),
                meter: self.meter.clone(),
                channel,
                entry,
                now,
            };
            self.attempts.spawn(attempt.make());
        }
        Ok(())
    }

    /// Waits for an attempt to end. Never completes while there is none.
    pub async fn next(&mut self) {
        match self.attempts.join_next().await {
            Some(ended) => self.ended(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits for all attempts to end. For tests.
    pub async fn finish(&mut self) {
        while let Some(ended) = self.attempts.join_next().await {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(channel) => drop(self.busy.remove(&channel)),
            Err(error) => {
                tracing::error!(%error, "an attempt to deliver a notification broke off");
                // Which one is not known; the others of `busy` are only tried earlier.
                self.busy.clear();
            }
        }
    }
}

/// The channels of the server, by id.
///
/// # Errors
///
/// [`StoreError`] if they cannot be read.
pub async fn channels(alerts: &dyn Alerts) -> Result<HashMap<String, Channel>, StoreError> {
    let stored = alerts.channels().await?.into_iter();
    let channels = stored.filter_map(|it| Some((it.id.clone(), Channel::stored(it)?)));
    Ok(channels.collect())
}

/// Makes one attempt, with a deadline.
///
/// # Errors
///
/// [`SendError`] if the receiver did not accept the notification.
pub async fn attempt(
    sender: &dyn Sender,
    channel: &Channel,
    notification: &Notification,
) -> Result<Answer, SendError> {
    let sent = tokio::time::timeout(DEADLINE, sender.send(channel, notification)).await;
    sent.unwrap_or_else(|_| Err(SendError::Unreachable("no answer in time".to_owned())))
}

/// One attempt to deliver one notification.
struct Attempt {
    alerts: Arc<dyn Alerts>,
    sender: Arc<dyn Sender>,
    meter: AlertMeters,
    channel: Option<Channel>,
    entry: OutboxEntry,
    now: Timestamp,
}

impl Attempt {
    /// Returns the id of the channel.
    async fn make(self) -> String {
        let id = self.entry.notification.channel.clone();
        if let Err(error) = self.try_once().await {
            // The store has logged the reason. It is tried again from the outbox.
            tracing::debug!(%error, channel = id, "cannot note what became of a notification");
        }
        id
    }

    async fn try_once(&self) -> Result<(), StoreError> {
        let content = serde_json::from_str::<Notification>(&self.entry.notification.content);
        let (Some(channel), Ok(notification)) = (&self.channel, content) else {
            return self.settle("given_up", "there is no such channel").await;
        };
        let sent = attempt(&*self.sender, channel, &notification).await;
        let kind = channel.kind.name();
        match sent {
            Ok(answer) => {
                self.meter.attempted(kind, "delivered");
                self.settle("delivered", &answer.to_string()).await
            }
            Err(error) => {
                let age = self.now.duration_since(self.entry.notification.created_at);
                let is_over = age > GIVE_UP_AFTER;
                let retry = error.retry();
                if retry == Retry::Never || is_over {
                    self.meter.attempted(kind, "given_up");
                    tracing::error!(
                        channel = channel.label, alert = notification.alert, %error,
                        "a notification is given up"
                    );
                    return self.settle("given_up", &error.to_string()).await;
                }
                self.meter.attempted(kind, "failed");
                if self.entry.attempts == 0 {
                    tracing::warn!(
                        channel = channel.label, alert = notification.alert, %error,
                        "a notification cannot be delivered yet"
                    );
                }
                let pause = pause(self.entry.attempts, retry);
                let due_at = self.now.saturating_add(pause).unwrap_or(self.now);
                let id = &self.entry.notification.id;
                self.alerts.postpone(id, due_at).await
            }
        }
    }

    async fn settle(&self, event: &'static str, detail: &str) -> Result<(), StoreError> {
        let channel = self.channel.as_ref();
        let content = json!({
            "event": event,
            "channel": self.entry.notification.channel,
            "channel_label": channel.map(|it| &it.label),
            "notification": self.entry.notification.id,
            "attempts": self.entry.attempts + 1,
            "detail": detail,
        });
        let history = NewHistory {
            at: self.now,
            content: content.to_string(),
        };
        self.alerts
            .settle(self.entry.clone(), history, LIMITS)
            .await
    }
}

/// How long to wait after this many failed attempts and another one.
fn pause(attempts: u32, retry: Retry) -> SignedDuration {
    let usual = FIRST_PAUSE
        .saturating_mul(1 << attempts.min(16))
        .min(MAX_PAUSE);
    let pause = match retry {
        Retry::After(asked) => asked.clamp(FIRST_PAUSE, MAX_PAUSE),
        Retry::Later | Retry::Never => usual,
    };
    SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
