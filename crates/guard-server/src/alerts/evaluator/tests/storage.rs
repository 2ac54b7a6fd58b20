//! The condition `storage`: the disk is full, will be full, or a project comes near its limit.

use std::sync::Arc;

use serde_json::json;

use super::world::World;
use crate::projects::Usage;
use crate::store::{
    Batch, BoxFuture, Expired, Expiry, ProjectId, Receipt, RecordCounts, StoreError, Telemetry,
};

const MIB: u64 = 1 << 20;

/// A store that only knows how much room its data takes.
struct Measured(Usage);

fn nothing<T: Send + 'static>() -> BoxFuture<'static, T> {
    Box::pin(async { Err(StoreError::Unavailable) })
}

impl Telemetry for Measured {
    fn append(&self, _: Batch, _: u32) -> BoxFuture<'_, Receipt> {
        nothing()
    }
    fn expire(&self, _: ProjectId, _: Expiry) -> BoxFuture<'_, Expired> {
        nothing()
    }
    fn expire_oldest(&self, _: ProjectId, _: u64) -> BoxFuture<'_, Expired> {
        nothing()
    }
    fn usage(&self, _: ProjectId) -> BoxFuture<'_, Usage> {
        let usage = self.0;
        Box::pin(async move { Ok(usage) })
    }
    fn counts(&self, _: ProjectId) -> BoxFuture<'_, RecordCounts> {
        nothing()
    }
}

impl World {
    /// The project's data takes `used`, and the disk lasts `days` at its growth.
    fn measure(&mut self, used: u64, days: u64) {
        self.seen.telemetry = Arc::new(Measured(Usage {
            bytes: used,
            bytes_per_day: 100 * MIB,
            free: Some(days * 100 * MIB),
        }));
    }

    async fn limit(&mut self, retention_bytes: u64) {
        let mut limited = self.project.clone();
        limited.settings.retention_bytes = Some(retention_bytes);
        let (projects, from) = (&self.stores.projects, self.project.clone());
        let changed = projects.change_project(from, limited.clone(), None);
        assert!(changed.await.unwrap());
        self.project = limited;
    }
}

#[tokio::test]
async fn a_full_disk_is_told() {
    let mut world = World::new().await;
    let alert = world.alert(json!({ "type": "storage" })).await;
    world.run(60).await;
    assert!(world.told(&alert).await.is_empty());
    world.outside.is_full = true;
    world.run(10).await;
    world.outside.is_full = false;
    world.run(120).await;
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
    let history = world.history(&alert).await;
    assert_eq!(
        history[0]["summary"],
        "the disk is full: records are refused"
    );
}

#[tokio::test]
async fn a_disk_that_fills_up_is_told_days_before_it_is_full() {
    let mut world = World::new().await;
    let alert = world
        .alert_with(json!({
            "label": "It", "condition": { "type": "storage", "days_left": 7 },
            "update_interval_s": 60,
        }))
        .await;
    world.measure(0, 8);
    world.run(60).await;
    assert!(world.told(&alert).await.is_empty());
    world.measure(0, 7);
    world.run(10).await;
    assert_eq!(world.told(&alert).await, ["started"]);
    let history = world.history(&alert).await;
    assert_eq!(
        history[0]["summary"],
        "the disk is full in 7 days at this growth"
    );
    let settings = "https://guard.example/p/shop/settings";
    assert_eq!(history[0]["links"]["view"], settings);
    world.measure(0, 1);
    world.run(60).await;
    let history = world.history(&alert).await;
    let summary = "the disk is full in 1 day at this growth, for 60 seconds now";
    assert_eq!(
        (&history[1]["event"], &history[1]["summary"]),
        (&json!("ongoing"), &json!(summary))
    );
    // A day more than the limit keeps it going, so that it does not start and end in turns.
    world.measure(0, 8);
    world.run(180).await;
    assert!(!world.told(&alert).await.contains(&"ended".to_owned()));
    world.measure(0, 9);
    world.run(120).await;
    assert_eq!(world.told(&alert).await.last().unwrap(), "ended");
}

#[tokio::test]
async fn a_growth_that_retention_stops_fills_no_disk() {
    let mut world = World::new().await;
    let alert = world
        .alert(json!({ "type": "storage", "days_left": 7 }))
        .await;
    world.measure(0, 2);
    world.limit(150 * MIB).await;
    world.run(60).await;
    assert!(world.told(&alert).await.is_empty());
}

#[tokio::test]
async fn a_project_near_its_limit_is_told_if_that_was_asked_for() {
    let mut world = World::new().await;
    let condition = json!({ "type": "storage", "used_percent": 90 });
    let alert = world.alert(condition).await;
    let by_default = world.alert(json!({ "type": "storage" })).await;
    world.measure(89 * MIB, 1000);
    world.run(60).await;
    assert!(
        world.told(&alert).await.is_empty(),
        "without a limit nothing is near it"
    );
    world.limit(100 * MIB).await;
    world.run(60).await;
    assert!(world.told(&alert).await.is_empty());
    world.measure(90 * MIB, 1000);
    world.run(10).await;
    assert_eq!(world.told(&alert).await, ["started"]);
    let history = world.history(&alert).await;
    assert_eq!(history[0]["summary"], "90 % of retention_bytes are used");
    world.measure(88 * MIB, 1000);
    world.run(120).await;
    assert_eq!(world.told(&alert).await, ["started"]);
    world.measure(87 * MIB, 1000);
    world.run(120).await;
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
    assert!(world.told(&by_default).await.is_empty());
}

#[tokio::test]
async fn a_disk_that_nearly_fills_up_hides_no_limit_that_is_reached() {
    let mut world = World::new().await;
    let condition = json!({ "type": "storage", "days_left": 7, "used_percent": 90 });
    let alert = world.alert(condition).await;
    world.limit(9000 * MIB).await;
    world.measure(7000 * MIB, 8);
    world.run(60).await;
    assert!(world.told(&alert).await.is_empty());
    world.measure(8100 * MIB, 8);
    world.run(10).await;
    let history = world.history(&alert).await;
    assert_eq!(history[0]["summary"], "90 % of retention_bytes are used");
}
