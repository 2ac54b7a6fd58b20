//! Restarts, breaks, clocks that are set, and stores that fail.

use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::world::World;
use crate::clock::Reading;
use crate::ingest::intake::Intake;
use crate::store::{ArrivalQuery, ArrivalSlice, Arrivals, BoxFuture, Cursor, ProjectId, Stores};

fn login(ip: &str) -> Value {
    json!({ "endpoint": "/login", "ip_address": ip })
}

async fn threshold(world: &World, group_by: Option<&str>) -> String {
    let condition =
        json!({ "type": "threshold", "filter": "endpoint:/login", "count": 5, "window_s": 120 });
    world
        .alert_with(json!({ "label": "It", "condition": condition, "group_by": group_by }))
        .await
}

#[tokio::test]
async fn a_restart_repeats_nothing_and_counts_on() {
    for group_by in [None, Some("ip_address")] {
        let mut world = World::new().await;
        let alert = threshold(&world, group_by).await;
        world.events(3, login("203.0.113.7")).await;
        world.run(10).await;
        world.restart();
        world.run(10).await;
        assert!(world.told(&alert).await.is_empty());
        world.events(2, login("203.0.113.7")).await;
        world.run(10).await;
        assert_eq!(world.told(&alert).await, ["started"]);
        world.restart();
        world.run(60).await;
        assert_eq!(world.told(&alert).await, ["started"]);
        world.restart();
        world.run(400).await;
        assert_eq!(world.told(&alert).await, ["started", "ended"]);
    }
}

#[tokio::test]
async fn what_was_committed_before_a_crash_is_evaluated_after_it() {
    let mut world = World::new().await;
    let alert = threshold(&world, None).await;
    world.run(30).await;
    // The server is killed before the next evaluation, and starts after the window has passed.
    world.events(5, login("203.0.113.7")).await;
    world.pass(600);
    world.restart();
    world.run(10).await;
    assert_eq!(world.told(&alert).await, ["started"]);
    assert_eq!(world.history(&alert).await[0]["count"], 5);
}

#[tokio::test]
async fn silence_counts_from_when_the_server_could_receive_again() {
    let mut world = World::new().await;
    let alert = world
        .alert(json!({ "type": "agent_silent", "after_s": 300 }))
        .await;
    world.report("install-1", 10).await;
    world.run(30).await;
    // The server is down for an hour.
    world.pass(3600);
    world.restart();
    world.run(300).await;
    assert!(world.told(&alert).await.is_empty());
    // The machine sleeps for an hour.
    world.pass(3600);
    world.run(300).await;
    assert!(world.told(&alert).await.is_empty());
    world.run(60).await;
    assert_eq!(world.told(&alert).await, ["started"]);
}

#[tokio::test]
async fn a_clock_that_is_set_starts_and_ends_nothing() {
    for seconds in [3600, -3600] {
        let mut world = World::new().await;
        let alerts = [
            threshold(&world, None).await,
            world
                .alert(json!({ "type": "rise", "ratio": 2, "minimum": 3, "window_s": 60 }))
                .await,
        ];
        // An hour ago there was an attack.
        world.events(50, login("203.0.113.7")).await;
        world.run(600).await;
        world.pass(3000);
        world.restart();
        world.run(10).await;
        let mut before = Vec::new();
        for alert in &alerts {
            before.push(world.told(alert).await);
        }
        world.reading.now += SignedDuration::from_secs(seconds);
        world.run(300).await;
        for (alert, before) in alerts.iter().zip(&before) {
            assert_eq!(world.told(alert).await, *before, "{seconds}");
        }
    }
}

#[tokio::test]
async fn an_alert_that_goes_on_survives_a_clock_that_is_set() {
    for seconds in [3600, -3600] {
        let mut world = World::new().await;
        let alert = threshold(&world, None).await;
        world.events(9, login("203.0.113.7")).await;
        world.run(10).await;
        world.reading.now += SignedDuration::from_secs(seconds);
        for _ in 0..20 {
            world.events(2, login("203.0.113.7")).await;
            world.run(10).await;
        }
        assert_eq!(world.told(&alert).await, ["started"], "{seconds}");
        world.run(400).await;
        assert_eq!(world.told(&alert).await, ["started", "ended"], "{seconds}");
    }
}

#[tokio::test]
async fn a_mute_keeps_quiet_and_tells_afterwards_what_still_lasts() {
    let mut world = World::new().await;
    let alert = threshold(&world, None).await;
    let (stores, project) = (&world.stores, &world.project);
    let (actor, now) = (&crate::people::Actor::CLI, world.reading.now);
    let muted = crate::alerts::manage::mute_alert(stores, project, &alert, 300, actor, now);
    muted.await.unwrap();
    for _ in 0..25 {
        world.events(5, login("203.0.113.7")).await;
        world.run(10).await;
    }
    assert!(world.told(&alert).await.is_empty());
    assert_eq!(world.history(&alert).await.len(), 1, "the history has it");
    for _ in 0..10 {
        world.events(5, login("203.0.113.7")).await;
        world.run(10).await;
    }
    assert_eq!(world.told(&alert).await, ["started"]);
}

#[tokio::test]
async fn quiet_hours_hold_notifications_back() {
    let mut world = World::new().await;
    // It is 12:00 in UTC, and 13:00 in Berlin.
    let alert = world
        .alert_with(json!({
            "label": "It",
            "condition": { "type": "threshold", "count": 5, "window_s": 60 },
            "quiet_hours": { "from": "12:30", "to": "13:05", "tz": "Europe/Berlin" },
        }))
        .await;
    for _ in 0..40 {
        world.events(5, login("203.0.113.7")).await;
        world.run(10).await;
        let is_quiet = world.reading.now < "2026-11-30T12:05:00Z".parse().unwrap();
        assert_eq!(world.told(&alert).await.is_empty(), is_quiet);
    }
}

#[tokio::test]
async fn a_new_alert_knows_what_happened_before() {
    let mut world = World::new().await;
    world.run(10).await;
    world.events(4, login("203.0.113.7")).await;
    world.run(20).await;
    let alert = threshold(&world, Some("ip_address")).await;
    world.run(10).await;
    world.events(1, login("203.0.113.7")).await;
    world.run(10).await;
    assert_eq!(world.told(&alert).await, ["started"]);
}

/// A store in which events arrive just before it is asked how far they came.
struct Busy {
    stores: Stores,
    project: ProjectId,
    clock: Arc<Mutex<Reading>>,
}

impl Busy {
    async fn receive(&self) {
        let at = {
            let mut clock = self.clock.lock().unwrap();
            clock.now += SignedDuration::from_secs(3);
            clock.now
        };
        let event = |n: u32| {
            json!({ "idempotency_key": format!("busy {n}"), "timestamp": at, "event_type": "x",
                "endpoint": "/login" })
        };
        let events: Vec<_> = (0..5).map(event).collect();
        let body = json!({ "events": events, "metrics": [] }).to_string();
        let mut batch = Intake::read(self.project, body.as_bytes(), None, 100)
            .unwrap()
            .batch;
        batch.received_at = at;
        self.stores.telemetry.append(batch, 100).await.unwrap();
    }
}

impl Arrivals for Busy {
    fn now(&self, project: ProjectId) -> BoxFuture<'_, Cursor> {
        Box::pin(async move {
            self.receive().await;
            self.stores.arrivals.now(project).await
        })
    }

    fn arrivals(&self, query: ArrivalQuery) -> BoxFuture<'_, ArrivalSlice> {
        self.stores.arrivals.arrivals(query)
    }
}

#[tokio::test]
async fn events_that_come_while_the_first_evaluation_begins_are_counted() {
    let mut world = World::new().await;
    let alert = threshold(&world, None).await;
    let clock = Arc::new(Mutex::new(world.reading));
    let mut stores = world.stores.clone();
    stores.arrivals = Arc::new(Busy {
        stores: world.stores.clone(),
        project: world.project.id,
        clock: Arc::clone(&clock),
    });
    let read = || *clock.lock().unwrap();
    let evaluator = &mut world.evaluator;
    evaluator
        .evaluate(&stores, read, world.outside)
        .await
        .unwrap();
    assert_eq!(world.told(&alert).await, ["started"]);
}
