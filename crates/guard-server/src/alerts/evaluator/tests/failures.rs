//! Stores that fail: what cannot be evaluated stays as it is, and is reported apart.

use serde_json::{Value, json};

use super::world::World;
use crate::alerts::shop::gone;
use crate::store::{LossReport, Stores};

/// Breaks one store of those that evaluations read.
type Break = fn(&mut Stores, Stores);

fn logins() -> Value {
    json!({ "type": "threshold", "filter": "endpoint:/login", "count": 5, "window_s": 60 })
}

/// What makes a condition hold, each time it is called.
async fn cause(world: &mut World, condition: &str, total: u64) {
    match condition {
        "threshold" | "rise" | "first_seen" => {
            let country = format!("C{total}");
            world
                .events(20, json!({ "endpoint": "/login", "country": country }))
                .await;
        }
        "losses" => {
            let report = LossReport {
                project: world.project.id,
                install_id: "i".to_owned(),
                process: "p".to_owned(),
                at: world.reading.now,
                totals: [("queue_full".to_owned(), total * 100)].into(),
            };
            world.stores.losses.report_losses(report).await.unwrap();
        }
        "storage" => world.outside.is_full = true,
        // An agent that says nothing needs no cause.
        _ => {}
    }
}

/// Makes it hold no longer.
async fn cure(world: &mut World, condition: &str) {
    match condition {
        "storage" => world.outside.is_full = false,
        "agent_silent" => world.report("install-1", 100_000).await,
        _ => {}
    }
}

/// An alert of this condition that has started.
async fn started(world: &mut World, condition: &Value) -> String {
    world.report("install-1", 10).await;
    let alert = world.alert(condition.clone()).await;
    let name = condition["type"].as_str().unwrap();
    if name == "losses" {
        cause(world, name, 0).await;
    }
    world.run(600).await;
    cause(world, name, 1).await;
    world.run(10).await;
    assert_eq!(world.told(&alert).await, ["started"], "{condition}");
    alert
}

#[tokio::test]
async fn a_failing_query_keeps_the_state_and_is_reported() {
    let arrivals: Break = |stores, gone| stores.arrivals = gone.arrivals;
    let cases: [(Value, Break); 6] = [
        (logins(), arrivals),
        (
            json!({ "type": "rise", "ratio": 2, "minimum": 5, "window_s": 60 }),
            arrivals,
        ),
        (
            json!({ "type": "first_seen", "field": "country", "window_s": 60 }),
            arrivals,
        ),
        (
            json!({ "type": "agent_silent", "after_s": 300 }),
            |stores, gone| stores.fleet = gone.fleet,
        ),
        (
            json!({ "type": "losses", "count": 5, "window_s": 60 }),
            |stores, gone| stores.losses = gone.losses,
        ),
        (json!({ "type": "storage" }), |stores, gone| {
            stores.telemetry = gone.telemetry
        }),
    ];
    for (condition, break_one) in cases {
        let mut world = World::new().await;
        let alert = started(&mut world, &condition).await;
        let name = condition["type"].as_str().unwrap();

        break_one(&mut world.seen, gone());
        for round in 0..30 {
            cause(&mut world, name, round + 2).await;
            world.pass(10);
            let evaluation = world.evaluate().await.unwrap();
            assert_eq!(
                (evaluation.evaluated, evaluation.failed),
                (0, 1),
                "{condition}"
            );
            // It is logged once, and shown as long as it lasts.
            assert_eq!(evaluation.new_failures.len(), usize::from(round == 0));
            let failures = world.evaluator.failures();
            assert!(failures.contains_key(&(world.project.id, alert.clone())));
        }
        assert_eq!(world.told(&alert).await, ["started"], "{condition}");

        world.seen = world.stores.clone();
        cause(&mut world, name, 40).await;
        world.run(10).await;
        assert!(world.evaluator.failures().is_empty(), "{condition}");
        assert_eq!(world.told(&alert).await, ["started"], "{condition}");
        cure(&mut world, name).await;
        // Less than after which the agent would be silent again.
        world.run(240).await;
        assert_eq!(
            world.told(&alert).await,
            ["started", "ended"],
            "{condition}"
        );
    }
}

#[tokio::test]
async fn a_store_that_fails_after_a_restart_keeps_the_state() {
    let mut world = World::new().await;
    let alert = started(&mut world, &logins()).await;
    world.restart();
    world.seen.search = gone().search;
    for _ in 0..30 {
        world.pass(10);
        let evaluation = world.evaluate().await.unwrap();
        assert_eq!((evaluation.evaluated, evaluation.failed), (0, 1));
    }
    assert_eq!(world.told(&alert).await, ["started"]);
    world.seen = world.stores.clone();
    world.run(600).await;
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
}

#[tokio::test]
async fn nothing_changes_while_no_project_can_be_read() {
    let mut world = World::new().await;
    let alert = started(&mut world, &logins()).await;
    world.seen = gone();
    for _ in 0..30 {
        world.pass(10);
        assert!(world.evaluate().await.is_err());
    }
    world.seen = world.stores.clone();
    world.run(10).await;
    assert_eq!(world.told(&alert).await, ["started"]);
}

#[tokio::test]
async fn a_state_that_cannot_be_stored_is_found_again() {
    let mut world = World::new().await;
    let alert = world.alert(logins()).await;
    world.run(60).await;
    world.events(9, json!({ "endpoint": "/login" })).await;
    world.misplace_store();
    for _ in 0..3 {
        world.pass(10);
        let evaluation = world.evaluate().await.unwrap();
        assert_eq!((evaluation.failed, evaluation.told), (1, [0; 3]));
    }
    world.put_store_back();
    world.run(10).await;
    assert_eq!(world.told(&alert).await, ["started"]);
    assert_eq!(world.history(&alert).await[0]["count"], 9);
}
