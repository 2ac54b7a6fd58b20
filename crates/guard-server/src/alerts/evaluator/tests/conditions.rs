//! Each condition starts, continues and ends.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::world::World;
use crate::store::{AgentSignal, LossReport};

const LOGIN: &str = "endpoint:/login";

fn login(ip: &str) -> Value {
    json!({ "endpoint": "/login", "ip_address": ip, "action_taken": "blocked" })
}

#[tokio::test]
async fn a_threshold_starts_goes_on_and_ends() {
    let mut world = World::new().await;
    let alert = world
        .alert_with(json!({
            "label": "Brute force", "update_interval_s": 60,
            "condition": { "type": "threshold", "filter": LOGIN, "count": 10, "window_s": 60 },
        }))
        .await;
    world.events(9, login("203.0.113.7")).await;
    world.events(50, json!({ "endpoint": "/other" })).await;
    world.run(30).await;
    assert!(world.told(&alert).await.is_empty());
    for _ in 0..12 {
        world.events(5, login("203.0.113.7")).await;
        world.run(10).await;
    }
    assert_eq!(world.told(&alert).await, ["started", "ongoing"]);
    world.run(200).await;
    assert_eq!(
        world.told(&alert).await,
        ["started", "ongoing", "ongoing", "ended"]
    );
    let history = world.history(&alert).await;
    assert_eq!(history[0]["summary"], "14 events within 60 seconds");
    assert_eq!(
        history[0]["top_addresses"],
        json!([{ "value": "203.0.113.7", "count": 14 }])
    );
    assert_eq!(history[0]["top_endpoints"][0]["value"], "/login");
    let links = &history[0]["links"];
    let view = links["view"].as_str().unwrap();
    assert!(
        view.starts_with("https://guard.example/p/shop/events?filter=endpoint%3A%22%2Flogin%22&from=2026-11-30T12%3A00%3A00Z&to="),
        "{view}"
    );
    assert_eq!(links["ban"], format!("{view}&ban=203.0.113.7"));
    let end = history.last().unwrap();
    assert_eq!(end["count"], 69);
    assert!(
        end["summary"].as_str().unwrap().starts_with("ended after "),
        "{end}"
    );
}

#[tokio::test]
async fn groups_are_told_of_separately_up_to_the_limit_and_the_rest_together() {
    let mut world = World::new().await;
    let alert = world
        .alert_with(json!({
            "label": "Brute force", "group_by": "ip_address",
            "condition": { "type": "threshold", "filter": LOGIN, "count": 3, "window_s": 60 },
        }))
        .await;
    for n in 0..30 {
        world.events(3, login(&format!("203.0.113.{n}"))).await;
    }
    world.events(2, login("203.0.113.200")).await;
    world.run(10).await;
    let history = world.history(&alert).await;
    assert_eq!(history.len(), 21);
    let values = history.iter().map(|entry| &entry["group"]["value"]);
    assert_eq!(values.filter(|value| value.is_null()).count(), 1);
    let rest = history
        .iter()
        .find(|it| it["group"]["value"].is_null())
        .unwrap();
    assert_eq!(
        rest["summary"],
        "30 events within 60 seconds, 10 more groups"
    );
    world.run(300).await;
    assert_eq!(world.history(&alert).await.len(), 42);
    assert_eq!(world.stores.alerts.alert_states().await, Ok(vec![]));
}

#[tokio::test]
async fn a_rise_is_compared_with_the_window_before_it() {
    let mut world = World::new().await;
    let condition =
        json!({ "type": "rise", "filter": LOGIN, "ratio": 3, "minimum": 30, "window_s": 60 });
    let alert = world.alert(condition).await;
    for _ in 0..30 {
        world.events(4, login("203.0.113.7")).await;
        world.run(10).await;
    }
    assert!(
        world.told(&alert).await.is_empty(),
        "a steady rate is no rise"
    );
    for _ in 0..30 {
        world.events(20, login("203.0.113.7")).await;
        world.run(10).await;
    }
    assert_eq!(
        world.told(&alert).await,
        ["started"],
        "it lasts beyond its own window"
    );
    for _ in 0..30 {
        world.events(4, login("203.0.113.7")).await;
        world.run(10).await;
    }
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
}

#[tokio::test]
async fn a_value_is_told_when_it_is_seen_for_the_first_time() {
    let mut world = World::new().await;
    world.events(5, json!({ "country": "DE" })).await;
    world.pass(3600);
    let condition = json!({ "type": "first_seen", "field": "country", "window_s": 300 });
    let alert = world.alert(condition).await;
    world.run(60).await;
    world.events(2, json!({ "country": "DE" })).await;
    world.run(60).await;
    assert!(world.told(&alert).await.is_empty());
    world
        .events(2, json!({ "country": "FR", "ip_address": "203.0.113.9" }))
        .await;
    world.run(10).await;
    let history = world.history(&alert).await;
    assert_eq!(history[0]["summary"], "new country: FR");
    assert_eq!(history[0]["top_addresses"][0]["value"], "203.0.113.9");
    world.run(600).await;
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
    world.restart();
    world.events(2, json!({ "country": "FR" })).await;
    world.run(60).await;
    assert_eq!(
        world.told(&alert).await,
        ["started", "ended"],
        "it is known now"
    );
}

#[tokio::test]
async fn an_agent_is_silent_after_a_while_and_ends_it_by_a_report() {
    let mut world = World::new().await;
    let alert = world
        .alert(json!({ "type": "agent_silent", "after_s": 300 }))
        .await;
    world.report("install-1", 10).await;
    world.run(300).await;
    assert!(world.told(&alert).await.is_empty());
    world.run(30).await;
    assert_eq!(world.told(&alert).await, ["started"]);
    let history = world.history(&alert).await;
    let expected = "agent install-1 on web silent since 2026-11-30 12:00 UTC";
    assert_eq!(history[0]["summary"], expected);
    world.report("install-1", 340).await;
    world.run(120).await;
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
}

#[tokio::test]
async fn an_agent_that_another_one_replaces_is_not_silent() {
    let mut world = World::new().await;
    let alert = world
        .alert(json!({ "type": "agent_silent", "after_s": 300 }))
        .await;
    world.report("pod-1", 4000).await;
    world.run(60).await;
    for n in 0..10 {
        world.report("pod-2", n * 60).await;
        world.run(60).await;
    }
    assert!(world.told(&alert).await.is_empty());
}

#[tokio::test]
async fn losses_are_summed_over_the_window() {
    let mut world = World::new().await;
    let alert = world
        .alert(json!({ "type": "losses", "count": 10, "window_s": 120 }))
        .await;
    let lose = async |world: &World, total: u64| {
        let report = LossReport {
            project: world.project.id,
            install_id: "i".to_owned(),
            process: "p".to_owned(),
            at: world.reading.now,
            totals: [("queue_full".to_owned(), total)].into(),
        };
        world.stores.losses.report_losses(report).await.unwrap();
    };
    lose(&world, 0).await;
    lose(&world, 9).await;
    world.run(10).await;
    assert!(world.told(&alert).await.is_empty());
    lose(&world, 12).await;
    world.run(10).await;
    let history = world.history(&alert).await;
    assert_eq!(
        history[0]["summary"],
        "12 records lost within 2 minutes: 12 queue_full"
    );
    world.run(400).await;
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
}

#[tokio::test]
async fn refused_rules_are_told_until_no_agent_refuses_them() {
    let mut world = World::new().await;
    let alert = world
        .alert_with(json!({
            "label": "It", "condition": { "type": "rule_rejected" }, "update_interval_s": 60,
        }))
        .await;
    let reported = |refused: Option<&str>| AgentSignal::Reported {
        in_force: Some(1),
        refused: refused.map(str::to_owned),
    };
    for process in ["1", "2"] {
        world
            .signal(process, AgentSignal::Asked { holds: true })
            .await;
        world.signal(process, reported(None)).await;
    }
    world.run(60).await;
    assert!(world.told(&alert).await.is_empty());
    let why = "rules field `ip_blacklist[0]`: not an address";
    world.signal("1", reported(Some(why))).await;
    world.run(10).await;
    assert_eq!(world.told(&alert).await, ["started"]);
    let history = world.history(&alert).await;
    assert_eq!(
        history[0]["summary"],
        format!("1 agent refuses the rules: {why}")
    );
    let view = "https://guard.example/p/shop/rules?tab=adoption";
    assert_eq!(history[0]["links"]["view"], view);
    world.signal("2", reported(Some(why))).await;
    world.run(60).await;
    assert_eq!(world.told(&alert).await, ["started", "ongoing"]);
    let history = world.history(&alert).await;
    let summary = history[1]["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("2 agents refuse the rules: "),
        "{summary}"
    );
    for process in ["1", "2"] {
        world.signal(process, reported(None)).await;
    }
    world.run(120).await;
    assert_eq!(world.told(&alert).await.last().unwrap(), "ended");
}

#[tokio::test]
async fn wrong_passwords_are_counted() {
    let mut world = World::new().await;
    world.outside.wrong_passwords = 1000;
    let condition = json!({ "type": "sign_in_failures", "count": 5, "window_s": 60 });
    let alert = world.alert(condition).await;
    world.run(30).await;
    assert!(
        world.told(&alert).await.is_empty(),
        "those before the first evaluation"
    );
    world.outside.wrong_passwords = 1005;
    world.run(10).await;
    let history = world.history(&alert).await;
    assert_eq!(
        history[0]["summary"],
        "5 wrong passwords at this server within 60 seconds"
    );
    world.run(200).await;
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
}

#[tokio::test]
async fn a_healthy_system_starts_no_default_alert() {
    let mut world = World::new().await;
    for settings in crate::alerts::defaults::default_alerts() {
        world.alert_with(json!(settings)).await;
    }
    for n in 0..60 {
        world.report("install-1", n * 60).await;
        world.events(3, json!({ "action_taken": "blocked" })).await;
        world.run(60).await;
    }
    assert_eq!(world.stores.alerts.alert_states().await, Ok(vec![]));
}

#[tokio::test]
async fn a_disabled_alert_ends_and_starts_nothing() {
    let mut world = World::new().await;
    let condition = json!({ "type": "threshold", "filter": LOGIN, "count": 3, "window_s": 60 });
    let alert = world.alert(condition).await;
    world.events(5, login("203.0.113.7")).await;
    world.run(10).await;
    let change = json!({ "enabled": false }).as_object().unwrap().clone();
    let (stores, project) = (&world.stores, &world.project);
    let (actor, now) = (&crate::people::Actor::CLI, world.reading.now);
    let changed = crate::alerts::manage::change_alert(stores, project, &alert, change, actor, now);
    changed.await.unwrap();
    for _ in 0..30 {
        world.events(5, login("203.0.113.7")).await;
        world.run(10).await;
    }
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
}

#[tokio::test]
async fn what_came_late_counts_when_it_happened() {
    let mut world = World::new().await;
    let condition = json!({ "type": "threshold", "filter": LOGIN, "count": 10, "window_s": 60 });
    let alert = world.alert(condition).await;
    world.run(900).await;
    let then = world.reading.now - SignedDuration::from_secs(600);
    for n in 0..9 {
        // Nine in one minute, and nine more at other times, are no ten in a minute.
        let other = then - SignedDuration::from_secs(120 * n);
        world.events_at(other, 1, login("203.0.113.7")).await;
        world.events_at(then, 1, login("203.0.113.7")).await;
        world.run(10).await;
    }
    assert_eq!(
        world.told(&alert).await,
        ["started"],
        "the tenth in its minute"
    );
    let history = world.history(&alert).await;
    assert_eq!(history[0]["since"], json!(crate::query::Utc(then)));
    world.run(120).await;
    assert_eq!(world.told(&alert).await, ["started", "ended"]);
}
