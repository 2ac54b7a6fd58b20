//! Two servers on one store: the one that leads does what has to be done once.

use std::sync::Arc;

use guard_server::store::{Node, Stores};
use guard_server::{AppState, Clock, maintenance};
use serde_json::{Value, json};

use crate::clocks::TestClock;
use crate::operations::{document, post};
use crate::support::{KEY, Server, Setup, client, read, serve_state};

const HOUR: u32 = 3600;

/// A server, and beside it another one that does not lead.
struct Two {
    leader: Server,
    other: Arc<AppState>,
    other_origin: String,
    clock: Arc<TestClock>,
}

async fn two() -> Two {
    let clock = TestClock::at("2026-11-22T14:00:00Z");
    let setup = Setup {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        is_maintained: false,
        ..Setup::default()
    };
    let leader = setup.start().await;
    let stores = Stores {
        node: Node::visitor(),
        ..Stores::of(Arc::clone(&leader.store))
    };
    let setup = Setup::default();
    let other = AppState::new(stores, setup.limits);
    let other = Arc::new(other.with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
    Two {
        other_origin: serve_state(Arc::clone(&other), setup.connections).await,
        leader,
        other,
        clock,
    }
}

async fn banned(server: &Server) -> Value {
    document(server).await["ip_blacklist"].clone()
}

#[tokio::test]
async fn only_the_server_that_leads_ends_a_ban() {
    let two = two().await;
    for ban in [
        json!({ "ip": "192.0.2.7", "duration_s": HOUR }),
        json!({ "ip": "192.0.2.8" }),
    ] {
        assert_eq!(post(&two.leader, "bans", ban).await.0, 200);
    }
    two.clock.pass(HOUR);
    maintenance::update_rules(&two.other).await;
    let both = json!(["192.0.2.7", "192.0.2.8"]);
    assert_eq!(banned(&two.leader).await, both);
    maintenance::update_rules(&two.leader.state).await;
    assert_eq!(banned(&two.leader).await, json!(["192.0.2.8"]));
}

#[tokio::test]
async fn times_follow_the_clock_of_the_server_that_leads_once() {
    let two = two().await;
    let ban = json!({ "ip": "192.0.2.7", "duration_s": HOUR });
    assert_eq!(post(&two.leader, "bans", ban).await.0, 200);
    let version = async || document(&two.leader).await["version"].clone();
    let before = version().await;
    two.clock.pass(HOUR / 2);
    two.clock.set_by(24 * i64::from(HOUR));
    maintenance::update_rules(&two.other).await;
    assert_eq!(version().await, before);
    maintenance::update_rules(&two.leader.state).await;
    assert_eq!(banned(&two.leader).await, json!(["192.0.2.7"]));
    two.clock.pass(HOUR / 2);
    maintenance::update_rules(&two.other).await;
    maintenance::update_rules(&two.leader.state).await;
    assert_eq!(banned(&two.leader).await, json!([]));
}

#[tokio::test]
async fn rules_set_on_one_server_reach_agents_held_on_the_other() {
    let two = two().await;
    let rules = format!("{}/api/v1/rules", two.other_origin);
    let ask = || client().get(&rules).header("X-API-Key", KEY);
    let first = ask().send().await.unwrap();
    let tag = first.headers()["ETag"].clone();
    let held = ask().header("If-None-Match", tag);
    let held = tokio::spawn(held.header("Prefer", "wait=55").send());
    let ban = json!({ "ip": "192.0.2.7" });
    assert_eq!(post(&two.leader, "bans", ban).await.0, 200);
    // Without the background loop, so that nothing but this wakes it.
    maintenance::update_rules(&two.other).await;
    let (status, rules) = read(held.await.unwrap().unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(rules["ip_blacklist"], json!(["192.0.2.7"]));
}
