use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::alerts::manage;
use crate::alerts::sender::Attempt as Sending;
use crate::alerts::shop::shop;
use crate::people::Actor;
use crate::store::{AlertCommit, AlertUpdate, NewNotification, ProjectId, Stores};

/// Answers as planned for each channel, by its label.
#[derive(Default)]
struct Receivers {
    answers: Mutex<HashMap<String, SendError>>,
    /// The ids of the notifications that were accepted.
    accepted: Mutex<Vec<String>>,
    attempts: Mutex<u32>,
}

impl Sender for Receivers {
    fn send<'a>(&'a self, channel: &'a Channel, notification: &'a Notification) -> Sending<'a> {
        *self.attempts.lock().unwrap() += 1;
        if channel.label == "hangs" {
            return Box::pin(std::future::pending());
        }
        let planned = self.answers.lock().unwrap().get(&channel.label).cloned();
        if planned.is_none() {
            self.accepted.lock().unwrap().push(notification.id.clone());
        }
        Box::pin(async { planned.map_or(Ok(Answer::default()), Err) })
    }
}

struct World {
    stores: Stores,
    project: ProjectId,
    alert: String,
    receivers: Arc<Receivers>,
    delivery: Delivery,
    now: Timestamp,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let (directory, stores, project) = shop().await;
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        let settings = json!({ "label": "It", "condition": { "type": "storage" } });
        let alert = manage::add_alert(&stores, &project, settings, &Actor::CLI, now);
        let alert = alert.await.unwrap().rule.id;
        let receivers = Arc::new(Receivers::default());
        let delivery = Self::delivery(&stores, &receivers);
        Self {
            project: project.id,
            stores,
            alert,
            receivers,
            delivery,
            now,
            _directory: directory,
        }
    }

    fn delivery(stores: &Stores, receivers: &Arc<Receivers>) -> Delivery {
        let sender = Arc::clone(receivers) as Arc<dyn Sender>;
        Delivery::new(Arc::clone(&stores.alerts), sender, AlertMeters::default())
    }

    async fn channel(&self, label: &str) -> String {
        let settings = json!({ "label": label, "type": "webhook", "url": "https://example.com/x" });
        let added = manage::add_channel(&self.stores, settings, &Actor::CLI, self.now);
        added.await.unwrap().id
    }

    /// Puts notifications into the outbox.
    async fn enqueue(&self, ids: &[&str], channel: &str) {
        let outbox = ids.iter().map(|id| {
            let notification = Notification::test((*id).to_owned(), self.now, "");
            NewNotification {
                id: (*id).to_owned(),
                channel: channel.to_owned(),
                created_at: self.now,
                content: json!(notification).to_string(),
            }
        });
        let update = AlertUpdate {
            alert: self.alert.clone(),
            outbox: outbox.collect(),
            ..AlertUpdate::default()
        };
        let commit = AlertCommit {
            project: self.project,
            position: None,
            updates: vec![update],
        };
        self.stores
            .alerts
            .commit_alerts(commit, LIMITS)
            .await
            .unwrap();
    }

    /// Lets time pass, and delivers what is due then.
    async fn deliver_after(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.delivery.begin(self.now).await.unwrap();
        self.delivery.finish().await;
    }

    fn plan(&self, label: &str, answer: Option<SendError>) {
        let mut answers = self.receivers.answers.lock().unwrap();
        match answer {
            Some(answer) => answers.insert(label.to_owned(), answer),
            None => answers.remove(label),
        };
    }

    fn accepted(&self) -> Vec<String> {
        self.receivers.accepted.lock().unwrap().clone()
    }

    async fn history(&self) -> Vec<Value> {
        let page = self
            .stores
            .alerts
            .alert_history(self.project, &self.alert, None, 100);
        let items = page.await.unwrap().items.into_iter();
        items
            .map(|it| serde_json::from_str(&it.content).unwrap())
            .collect()
    }
}

fn unreachable() -> Option<SendError> {
    Some(SendError::Unreachable("no connection".to_owned()))
}

fn refused(retry: Retry) -> Option<SendError> {
    let answer = Answer {
        status: Some(400),
        text: "no".to_owned(),
    };
    Some(SendError::Refused { answer, retry })
}

#[tokio::test]
async fn a_channel_gets_its_notifications_in_order() {
    let mut world = World::new().await;
    let channel = world.channel("ops").await;
    world.enqueue(&["1", "2", "3"], &channel).await;
    for _ in 0..3 {
        world.deliver_after(0).await;
    }
    assert_eq!(world.accepted(), ["1", "2", "3"]);
    assert_eq!(world.stores.alerts.outbox().await, Ok(vec![]));
    let history = world.history().await;
    assert_eq!(history.len(), 3);
    assert_eq!(
        (&history[0]["event"], &history[0]["notification"]),
        (&json!("delivered"), &json!("3"))
    );
}

#[tokio::test]
async fn attempts_are_repeated_with_longer_pauses() {
    let mut world = World::new().await;
    let channel = world.channel("ops").await;
    world.enqueue(&["1", "2"], &channel).await;
    world.plan("ops", unreachable());
    world.deliver_after(0).await;
    for pause in [5, 10, 20, 40, 80, 160, 320, 640, 900, 900] {
        let before = *world.receivers.attempts.lock().unwrap();
        world.deliver_after(pause - 1).await;
        assert_eq!(*world.receivers.attempts.lock().unwrap(), before, "{pause}");
        world.deliver_after(1).await;
        assert_eq!(
            *world.receivers.attempts.lock().unwrap(),
            before + 1,
            "{pause}"
        );
    }
    world.plan("ops", None);
    world.deliver_after(900).await;
    world.deliver_after(0).await;
    assert_eq!(world.accepted(), ["1", "2"]);
}

#[tokio::test]
async fn a_receiver_says_when_to_come_back() {
    let mut world = World::new().await;
    let channel = world.channel("ops").await;
    world.enqueue(&["1"], &channel).await;
    world.plan("ops", refused(Retry::After(Duration::from_secs(120))));
    world.deliver_after(0).await;
    world.plan("ops", None);
    world.deliver_after(119).await;
    assert!(world.accepted().is_empty());
    world.deliver_after(1).await;
    assert_eq!(world.accepted(), ["1"]);
}

#[tokio::test]
async fn what_is_refused_for_good_or_too_old_is_given_up_with_an_entry() {
    let mut world = World::new().await;
    let channel = world.channel("ops").await;
    world.enqueue(&["1", "2"], &channel).await;
    world.plan("ops", refused(Retry::Never));
    world.deliver_after(0).await;
    world.plan("ops", unreachable());
    world.deliver_after(25 * 3600).await;
    assert_eq!(world.stores.alerts.outbox().await, Ok(vec![]));
    let history = world.history().await;
    for (entry, detail) in history
        .iter()
        .zip(["no connection", "the receiver refused it: 400 no"])
    {
        assert_eq!(
            (&entry["event"], &entry["detail"]),
            (&json!("given_up"), &json!(detail))
        );
    }
    assert_eq!(history.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_hangs_holds_up_no_other() {
    let mut world = World::new().await;
    let (slow, fast) = (world.channel("hangs").await, world.channel("ops").await);
    world.enqueue(&["1"], &slow).await;
    world.enqueue(&["2", "3"], &fast).await;
    while world.accepted().len() < 2 {
        world.delivery.begin(world.now).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(
        *world.receivers.attempts.lock().unwrap(),
        3,
        "the slow one is tried once"
    );
    // Its deadline ends the attempt.
    world.deliver_after(0).await;
    let first = world.stores.alerts.outbox().await.unwrap().remove(0);
    assert_eq!((first.attempts, &*first.notification.id), (1, "1"));
}

#[tokio::test]
async fn a_crash_before_the_answer_was_noted_sends_the_same_id_again() {
    let mut world = World::new().await;
    let channel = world.channel("hangs").await;
    world.enqueue(&["1"], &channel).await;
    world.delivery.begin(world.now).await.unwrap();
    // Dropping it ends the attempt, as a crash does.
    world.delivery = World::delivery(&world.stores, &world.receivers);
    let change = json!({ "label": "ops" }).as_object().unwrap().clone();
    let changed = manage::change_channel(&world.stores, &channel, change, &Actor::CLI, world.now);
    changed.await.unwrap();
    world.deliver_after(0).await;
    assert_eq!(world.accepted(), ["1"]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_delay_for_long() {
    let mut world = World::new().await;
    let channel = world.channel("ops").await;
    world.enqueue(&["1"], &channel).await;
    world.plan("ops", unreachable());
    world.deliver_after(0).await;
    world.plan("ops", None);
    world.deliver_after(-86_400).await;
    assert_eq!(world.accepted(), ["1"]);
}
