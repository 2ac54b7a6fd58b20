//! The clock is set forwards and backwards.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use guard_server::store::Stores;
use guard_server::{AppState, Clock, maintenance};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::operations::{ask, document, post};
use crate::support::{KEY, Server, Setup, TOKEN, client, read, serve_state};

const MONTH: i64 = 30 * 24 * 3600;

/// A clock that the test sets, with a time that passes only when the test says so.
pub(crate) struct TestClock(Mutex<(Timestamp, Duration)>);

impl TestClock {
    pub(crate) fn at(now: &str) -> Arc<Self> {
        let now = (now.parse().unwrap(), Duration::from_secs(1000));
        Arc::new(Self(Mutex::new(now)))
    }

    pub(crate) fn set_by(&self, seconds: i64) {
        self.0.lock().unwrap().0 += SignedDuration::from_secs(seconds);
    }

    pub(crate) fn pass(&self, seconds: u32) {
        self.set_by(seconds.into());
        self.0.lock().unwrap().1 += Duration::from_secs(seconds.into());
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn uptime(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

async fn start(now: &str) -> (Server, Arc<TestClock>) {
    let clock = TestClock::at(now);
    let setup = Setup {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        is_maintained: false,
        ..Setup::default()
    };
    (setup.start().await, clock)
}

/// Starts another server on the store of one that ended. Returns its origin.
async fn restart(server: &Server, clock: &Arc<TestClock>) -> (String, Arc<AppState>) {
    let setup = Setup::default();
    let state = AppState::new(Stores::of(Arc::clone(&server.store)), setup.limits);
    let state = Arc::new(state.with_clock(Arc::clone(clock) as Arc<dyn Clock>));
    let origin = serve_state(Arc::clone(&state), setup.connections).await;
    (origin, state)
}

/// The document in force, after a check of how long it bans.
async fn rules_within_a_lease(server: &Server) -> Value {
    let rules = document(server).await;
    let seconds = rules["ip_ban_duration"].as_i64().unwrap();
    assert!((1..=3600).contains(&seconds), "{rules}");
    rules
}

#[tokio::test]
async fn operations_keep_their_remaining_time_when_the_clock_is_set() {
    for steps in [
        &[MONTH, -MONTH][..],
        &[-MONTH, MONTH],
        &[MONTH],
        &[-MONTH],
        &[-90, 3600],
    ] {
        let (server, clock) = start("2026-11-22T14:00:00Z").await;
        for (collection, mut body) in [
            ("bans", json!({ "ip": "192.0.2.7" })),
            ("countries", json!({ "country": "FR" })),
        ] {
            body["duration_s"] = json!(3600);
            assert_eq!(post(&server, collection, body).await.0, 200);
        }
        post(&server, "bans", json!({ "ip": "192.0.2.8" })).await;
        for step in steps {
            clock.set_by(*step);
            rules_within_a_lease(&server).await;
            maintenance::update_rules(&server.state).await;
            let rules = rules_within_a_lease(&server).await;
            assert_eq!(rules["ip_blacklist"], json!(["192.0.2.7", "192.0.2.8"]));
            assert_eq!(rules["blocked_countries"], json!(["FR"]));
            clock.pass(60);
        }
        let made = rules_within_a_lease(&server).await["version"].as_i64();
        clock.pass(1800);
        maintenance::update_rules(&server.state).await;
        let renewed = rules_within_a_lease(&server).await;
        assert!(renewed["version"].as_i64() > made, "{steps:?}: {renewed}");
        assert_eq!(renewed["ip_blacklist"], json!(["192.0.2.7", "192.0.2.8"]));

        clock.pass(1800);
        maintenance::update_rules(&server.state).await;
        let ended = rules_within_a_lease(&server).await;
        assert_eq!(ended["ip_blacklist"], json!(["192.0.2.8"]), "{steps:?}");
        assert_eq!(ended["ip_whitelist"], json!(["192.0.2.7"]));
        assert_eq!(ended["blocked_countries"], json!([]));
        for _ in 0..3 {
            let before = rules_within_a_lease(&server).await["version"].as_i64();
            clock.pass(1800);
            maintenance::update_rules(&server.state).await;
            let after = rules_within_a_lease(&server).await["version"].as_i64();
            assert!(after > before, "{steps:?}: not renewed");
        }
    }
}

#[tokio::test]
async fn a_change_right_after_setting_the_clock_ends_nothing() {
    let (server, clock) = start("2026-11-22T14:00:00Z").await;
    let ban = json!({ "ip": "192.0.2.7", "duration_s": 3600 });
    post(&server, "bans", ban).await;
    clock.set_by(MONTH);
    assert_eq!(
        post(&server, "countries", json!({ "country": "FR" }))
            .await
            .0,
        200
    );
    let rules = rules_within_a_lease(&server).await;
    assert_eq!(rules["ip_blacklist"], json!(["192.0.2.7"]));
}

#[tokio::test]
async fn bans_continue_and_end_if_the_clock_is_set_back_while_no_server_runs() {
    let (before, _) = start("2026-12-22T14:00:00Z").await;
    let ban = json!({ "ip": "192.0.2.7", "duration_s": 3600 });
    post(&before, "bans", ban).await;
    post(&before, "bans", json!({ "ip": "192.0.2.8" })).await;

    let clock = TestClock::at("2026-11-22T14:00:00Z");
    let (origin, state) = restart(&before, &clock).await;
    let rules = async || {
        let request = client().get(format!("{origin}/api/v1/rules"));
        read(request.header("X-API-Key", KEY).send().await.unwrap())
            .await
            .1
    };
    let served = rules().await["ip_ban_duration"].as_i64();
    assert!(served <= Some(3600), "{served:?}");
    maintenance::update_rules(&state).await;
    clock.pass(1800);
    maintenance::update_rules(&state).await;
    let renewed = rules().await;
    assert_eq!(renewed["ip_blacklist"], json!(["192.0.2.7", "192.0.2.8"]));
    assert_eq!(renewed["version"], 4, "once by the new clock, once in time");
    clock.pass(1800);
    maintenance::update_rules(&state).await;
    let ended = rules().await;
    assert_eq!(ended["ip_blacklist"], json!(["192.0.2.8"]));
    assert_eq!(ended["ip_ban_duration"], 3600);
}

#[tokio::test]
async fn a_published_document_ends_and_returns_with_the_clock() {
    let (server, clock) = start("2026-11-22T14:00:00Z").await;
    let document = json!({ "message": "m", "expires_at": "2026-11-30T00:00:00Z" });
    let body = json!({ "document": document });
    assert_eq!(
        ask(&server, Method::PUT, "published", body.clone()).await.0,
        200
    );
    let message = async |step| {
        clock.set_by(step);
        maintenance::update_rules(&server.state).await;
        crate::operations::document(&server).await["message"].clone()
    };
    assert_eq!(message(MONTH).await, Value::Null);
    assert_eq!(message(-MONTH).await, "m");

    assert_eq!(message(MONTH).await, Value::Null);
    let other = json!({ "document": { "message": "other" } });
    assert_eq!(ask(&server, Method::PUT, "published", other).await.0, 200);
    assert_eq!(message(-MONTH).await, "other", "it was replaced since");
}

/// The agents that the server at `origin` knows.
async fn agents(origin: &str) -> Vec<(String, String, Timestamp)> {
    let request = client().get(format!("{origin}/api/v1/projects/default/rules/adoption"));
    let request = request.bearer_auth(TOKEN).send().await.unwrap();
    let (_, found) = read(request).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let agent = |agent: &Value| {
        let seen_at = text(&agent["seen_at"]).parse().unwrap();
        (text(&agent["install_id"]), text(&agent["state"]), seen_at)
    };
    let agents = found["agents"].as_array().unwrap().iter();
    agents.map(agent).collect()
}

async fn fetch(origin: &str, install: &str) {
    let request = client().get(format!("{origin}/api/v1/rules"));
    let request = request.header("X-API-Key", KEY).header("Prefer", "wait=30");
    let answer = request.header("X-Agent-Install-Id", install).send().await;
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn setting_the_clock_neither_removes_agents_nor_makes_them_silent() {
    for steps in [[MONTH, -MONTH], [-MONTH, MONTH]] {
        let (server, clock) = start("2026-11-22T14:00:00Z").await;
        post(&server, "countries", json!({ "country": "FR" })).await;
        fetch(&server.origin, "old").await;
        agents(&server.origin).await;
        for step in steps {
            clock.pass(10);
            clock.set_by(step);
            fetch(&server.origin, "new").await;
            let known = agents(&server.origin).await;
            let names: Vec<_> = known.iter().map(|it| (&*it.0, &*it.1)).collect();
            assert_eq!(names, [("new", "fetched"), ("old", "fetched")], "{step}");
            assert_eq!(known[0].2, clock.now());
        }
        let known = agents(&server.origin).await;
        assert_eq!(known[1].2, clock.now() - SignedDuration::from_secs(20));
        clock.pass(170);
        let known = agents(&server.origin).await;
        let names: Vec<_> = known.iter().map(|it| (&*it.0, &*it.1)).collect();
        assert_eq!(names, [("new", "fetched"), ("old", "silent")]);
        clock.pass(24 * 3600);
        fetch(&server.origin, "new").await;
        assert_eq!(agents(&server.origin).await.len(), 1, "forgotten in time");
    }
}

#[tokio::test]
async fn check_ins_move_with_the_clock_when_it_is_set() {
    let (server, clock) = start("2026-11-22T14:00:00Z").await;
    post(&server, "countries", json!({ "country": "FR" })).await;
    fetch(&server.origin, "a").await;
    clock.set_by(MONTH);
    clock.pass(5);
    let known = agents(&server.origin).await;
    assert_eq!(known[0].2, clock.now() - SignedDuration::from_secs(5));
}

#[tokio::test]
async fn an_agent_known_from_before_the_clock_was_set_back_is_updated() {
    let (before, _) = start("2026-12-22T14:00:00Z").await;
    post(&before, "countries", json!({ "country": "FR" })).await;
    fetch(&before.origin, "a").await;
    agents(&before.origin).await;

    let clock = TestClock::at("2026-11-22T14:00:00Z");
    let (origin, _state) = restart(&before, &clock).await;
    assert_eq!(agents(&origin).await[0].1, "silent");
    fetch(&origin, "a").await;
    let known = agents(&origin).await;
    assert_eq!((&*known[0].1, known[0].2), ("fetched", clock.now()));
}
