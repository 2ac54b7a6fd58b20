//! Which agents have which version of the rules.

use std::sync::atomic::{AtomicU64, Ordering};

use guard_server::fleet::adoption::{AdoptionState, adoption};
use guard_server::store::Projects as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::process::{Process, command};
use crate::support::{AT, KEY, Server, batch, read, refused};

const PATH: &str = "/api/v1/projects/default/rules/adoption";

/// A process of an agent that talks to the server.
struct Agent<'s> {
    server: &'s Server,
    install: &'static str,
    process: &'static str,
    holds: bool,
}

impl Agent<'_> {
    fn named(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request
            .header("X-Agent-Install-Id", self.install)
            .header("X-Agent-Process-Id", self.process)
            .header("User-Agent", "an-agent/1")
    }

    async fn fetch(&self) {
        let mut request = self.named(self.server.get("/api/v1/rules"));
        if self.holds {
            request = request.header("Prefer", "wait=30");
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    async fn post(&self, path: &str, body: String) {
        let request = self.named(self.server.post(path, body));
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    /// Sends the event that guard-core sends when it has applied rules.
    async fn tell_applied(&self, version: i64) {
        let event = json!({ "timestamp": AT, "event_type": "dynamic_rule_applied",
            "ip_address": "system", "metadata": { "version": version } });
        self.post("/api/v1/events", batch("1", &[event], &[])).await;
    }

    async fn report(&self, status: Value) {
        self.post("/api/v1/status", status.to_string()).await;
    }
}

fn agent<'s>(server: &'s Server, install: &'static str, holds: bool) -> Agent<'s> {
    Agent {
        server,
        install,
        process: "7",
        holds,
    }
}

/// Publishes a document that differs from the ones before.
async fn publish(server: &Server) {
    static CHANGES: AtomicU64 = AtomicU64::new(0);
    let endpoint = format!("/{}", CHANGES.fetch_add(1, Ordering::Relaxed));
    let body = json!({ "endpoint": endpoint, "requests": 1, "window_s": 1 }).to_string();
    let answer = server
        .post("/api/v1/projects/default/rules/limits", body)
        .send()
        .await;
    assert_eq!(answer.unwrap().status(), 200);
}

async fn who(server: &Server, query: &str) -> Value {
    let (status, found) = read(server.get(&[PATH, query].concat()).send().await.unwrap()).await;
    assert_eq!(status, 200, "{found}");
    found
}

/// The state of each agent, with its installation.
async fn states(server: &Server, query: &str) -> Vec<(String, String)> {
    let found = who(server, query).await;
    let agents = found["agents"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut states: Vec<_> = agents
        .map(|agent| (text(&agent["install_id"]), text(&agent["state"])))
        .collect();
    states.sort();
    states
}

fn expect(states: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(install, state): &(&str, &str)| ((*install).to_owned(), (*state).to_owned());
    states.iter().map(owned).collect()
}

#[tokio::test]
async fn an_agent_waits_for_fetches_and_applies_a_version() {
    let server = Server::start().await;
    let a = agent(&server, "a", true);
    publish(&server).await;
    a.fetch().await;
    assert_eq!(states(&server, "").await, expect(&[("a", "fetched")]));
    a.tell_applied(1).await;
    assert_eq!(states(&server, "").await, expect(&[("a", "applied")]));
    publish(&server).await;
    assert_eq!(states(&server, "").await, expect(&[("a", "waiting")]));
    a.fetch().await;
    a.report(json!({ "status": "healthy", "rules_version": 2 }))
        .await;
    let found = who(&server, "").await;
    assert_eq!(found["version"], 2);
    assert_eq!(found["agents"][0]["state"], "applied");
    assert_eq!(found["agents"][0]["fetched"]["version"], 2);
    assert_eq!(found["agents"][0]["applied"]["version"], 1);
    assert_eq!(found["agents"][0]["in_force"], 2);
}

#[tokio::test]
async fn an_agent_with_a_later_version_counts_for_an_earlier_one() {
    let server = Server::start().await;
    publish(&server).await;
    agent(&server, "a", true).fetch().await;
    publish(&server).await;
    agent(&server, "b", true).fetch().await;
    let now = expect(&[("a", "waiting"), ("b", "fetched")]);
    assert_eq!(states(&server, "").await, now);
    let before = expect(&[("a", "fetched"), ("b", "fetched")]);
    assert_eq!(states(&server, "?version=1").await, before);
}

#[tokio::test]
async fn each_process_of_an_installation_is_listed_separately() {
    let server = Server::start().await;
    publish(&server).await;
    let (one, two) = (agent(&server, "a", true), agent(&server, "a", true));
    let two = Agent {
        process: "8",
        ..two
    };
    one.fetch().await;
    two.fetch().await;
    two.tell_applied(1).await;
    let found = who(&server, "").await;
    let agents = found["agents"].as_array().unwrap().iter();
    let known: Vec<_> = agents.map(|it| (&it["process"], &it["state"])).collect();
    let expected = [
        (&json!("7"), &json!("fetched")),
        (&json!("8"), &json!("applied")),
    ];
    assert_eq!(known, expected);
    assert_eq!(found["counts"]["applied"], 1);
}

#[tokio::test]
async fn a_polling_agent_learns_of_changes_at_its_interval() {
    let server = Server::start().await;
    publish(&server).await;
    let (slow, quick) = (agent(&server, "slow", false), agent(&server, "quick", true));
    quick.fetch().await;
    slow.fetch().await;
    slow.fetch().await;
    publish(&server).await;
    let found = who(&server, "").await;
    assert_eq!(found["counts"]["waiting"], 2);
    assert_eq!(found["counts"]["in_intervals"], 1);
    let of = |install: &str| {
        let agents = found["agents"].as_array().unwrap();
        agents
            .iter()
            .find(|it| it["install_id"] == install)
            .unwrap()
            .clone()
    };
    let slow = of("slow");
    assert_eq!(slow["holds"], false);
    assert!(slow["interval_s"].is_f64() && slow["expected_by"].is_string());
    let quick = of("quick");
    assert_eq!(quick["holds"], true);
    assert!(quick["interval_s"].is_null() || quick["expected_by"].is_null());
}

#[tokio::test]
async fn an_agent_that_refused_a_document_is_listed_with_its_reason() {
    let server = Server::start().await;
    let a = agent(&server, "a", true);
    publish(&server).await;
    a.fetch().await;
    let why = "their signature is wrong";
    let errors = json!(["a 503", format!("rules refused: {why}\u{1b}[2J")]);
    a.report(json!({ "status": "healthy", "errors": errors }))
        .await;
    let found = who(&server, "").await;
    assert_eq!(found["agents"][0]["state"], "refused");
    assert_eq!(found["agents"][0]["refused"], format!("{why}[2J"));
    // The refusal no longer matters once the agent has the rules in force.
    a.report(json!({ "status": "healthy", "errors": errors, "rules_version": 1 }))
        .await;
    assert_eq!(states(&server, "").await, expect(&[("a", "applied")]));
}

#[tokio::test]
async fn an_agent_without_signals_for_long_is_silent() {
    let server = Server::start().await;
    publish(&server).await;
    agent(&server, "holding", true).fetch().await;
    agent(&server, "asking", false).fetch().await;
    server.state.save_check_ins().await;
    let project = server.store.project_named("default").await;
    let project = project.unwrap().unwrap().id;
    for (minutes, expected) in [
        (1, [AdoptionState::Fetched, AdoptionState::Fetched]),
        (4, [AdoptionState::Fetched, AdoptionState::Silent]),
        (11, [AdoptionState::Silent, AdoptionState::Silent]),
    ] {
        let now = Timestamp::now() + SignedDuration::from_mins(minutes);
        let found = adoption(&*server.store, &*server.store, project, None, now)
            .await
            .unwrap();
        let states: Vec<_> = found.agents.iter().map(|agent| agent.state).collect();
        assert_eq!(states, expected.map(Some), "after {minutes} minutes");
    }
}

#[tokio::test]
async fn a_version_that_was_never_set_is_an_error() {
    let server = Server::start().await;
    let ask = |query: &str| server.get(&[PATH, query].concat());
    let (status, detail) = refused(ask("?version=1")).await;
    assert_eq!(status, 404);
    assert_eq!(
        detail,
        "there is no version 1 of the rules; none was set yet"
    );
    publish(&server).await;
    let (status, detail) = refused(ask("?version=2")).await;
    assert_eq!(status, 404);
    assert_eq!(
        detail,
        "there is no version 2 of the rules; the newest is 1"
    );
    assert_eq!(refused(ask("?version=x")).await.0, 400);
}

#[tokio::test]
async fn without_rules_no_agent_is_behind() {
    let server = Server::start().await;
    agent(&server, "a", true).fetch().await;
    let found = who(&server, "").await;
    assert_eq!(found["version"], Value::Null);
    let none = json!({ "refused": 0, "waiting": 0, "fetched": 0, "applied": 0, "silent": 0,
        "in_intervals": 0 });
    assert_eq!(found["counts"], none);
    assert_eq!(found["agents"][0]["state"], Value::Null);
    publish(&server).await;
    assert_eq!(states(&server, "").await, expect(&[("a", "waiting")]));
}

#[tokio::test]
async fn check_ins_survive_a_restart_and_appear_on_the_command_line() {
    let data = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let output = command(data.path(), &[["rules"].as_slice(), words].concat()).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let mut server = Process::with_key(data.path());
    assert!(run(&["block-country", "FR"]).0);
    let url = format!("{}/api/v1/rules", server.origin);
    let request = crate::support::client().get(url).header("X-API-Key", KEY);
    let answer = request.header("X-Agent-Install-Id", "host-7").send().await;
    assert_eq!(answer.unwrap().status(), 200);
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    let (is_ok, told) = run(&["who"]);
    assert!(
        told.starts_with("STATE\tINSTALL\t")
            && is_ok
            && told.contains("\nfetched\thost-7\t\t\t1\t\tin intervals\t"),
        "{told}"
    );
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut unread = command(data.path(), &["rules", "who"]);
    assert!(unread.stdout(writer).status().unwrap().success());
    let (is_ok, told) = run(&["who", "9"]);
    assert!(!is_ok && told.contains("there is no version 9"), "{told}");
}
