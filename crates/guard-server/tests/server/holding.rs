//! Agents that wait for rules to change.

use std::time::Duration;

use guard_server::rules::Provenance;
use guard_server::rules::set;
use guard_server::store::Projects as _;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::process::{Process, command};
use crate::support::{KEY, Server, client};

const PATH: &str = "/api/v1/rules";
/// Far longer than anything here takes. Only a hang reaches it.
const GENEROUS: Duration = Duration::from_secs(60);
const AGENTS: usize = 1000;

async fn publish(server: &Server, document: &Value) {
    let project = server.store.project_named("default").await;
    let project = project.unwrap().unwrap();
    let document = document.to_string();
    set(
        &*server.store,
        &project,
        document.as_bytes(),
        &Provenance::default(),
    )
    .await
    .unwrap();
}

fn tag(response: &Response) -> String {
    response.headers()["ETag"].to_str().unwrap().to_owned()
}

async fn current_tag(request: RequestBuilder) -> String {
    tag(&request.send().await.unwrap())
}

fn waiting(request: RequestBuilder, tag: &str, seconds: u16) -> RequestBuilder {
    request
        .header("If-None-Match", tag)
        .header("Prefer", format!("wait={seconds}"))
}

#[tokio::test]
async fn a_held_request_is_answered_when_the_rules_change() {
    let server = Server::start().await;
    let known = current_tag(server.get(PATH)).await;
    let held = tokio::spawn(waiting(server.get(PATH), &known, 60).send());
    publish(&server, &json!({ "version": 2 })).await;
    let answer = held.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["Preference-Applied"], "wait=55");
    assert_ne!(tag(&answer), known);
    assert_eq!(answer.json_version().await, 2);
}

#[tokio::test]
async fn a_held_request_is_answered_304_after_its_wait() {
    let server = Server::start().await;
    let known = current_tag(server.get(PATH)).await;
    let answer = waiting(server.get(PATH), &known, 1).send().await.unwrap();
    assert_eq!(answer.status(), 304);
    assert_eq!(answer.headers()["Preference-Applied"], "wait=1");
    assert_eq!(tag(&answer), known);
}

#[tokio::test]
async fn an_agent_with_other_rules_is_answered_at_once() {
    let server = Server::start().await;
    publish(&server, &json!({ "version": 2 })).await;
    let answer = waiting(server.get(PATH), "\"another\"", 60).send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["Preference-Applied"], "wait=55");
    let plain = server.get(PATH).send().await.unwrap();
    assert!(!plain.headers().contains_key("Preference-Applied"));
}

#[tokio::test]
async fn no_request_is_held_while_the_server_stops() {
    let server = Server::start().await;
    let known = current_tag(server.get(PATH)).await;
    let held = tokio::spawn(waiting(server.get(PATH), &known, 60).send());
    server.state.stop_waiting();
    for answer in [
        held.await.unwrap(),
        waiting(server.get(PATH), &known, 60).send().await,
    ] {
        assert_eq!(answer.unwrap().status(), 304);
    }
}

#[tokio::test]
async fn held_requests_do_not_delay_a_shutdown() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::with_key(data.path());
    let agents = client();
    let url = format!("{}{PATH}", server.origin);
    let get = || agents.get(&url).header("X-API-Key", KEY);
    let known = current_tag(get()).await;
    let mut held = JoinSet::new();
    for _ in 0..20 {
        held.spawn(waiting(get(), &known, 60).send());
    }
    while connections(server.id()) < 20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get().send().await.unwrap().status(), 200);
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    // The server closes a connection without a request. None was cut off by force.
    let answers = held.join_all().await.into_iter().filter_map(Result::ok);
    let statuses: Vec<_> = answers.map(|answer| answer.status().as_u16()).collect();
    assert!(
        !statuses.is_empty() && statuses.iter().all(|status| *status == 304),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn a_thousand_waiting_agents_are_cheap_and_all_receive_new_rules() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let url = format!("{}{PATH}", server.origin);
    let agents = client();
    let ask = |client: &Client| client.get(&url).header("X-API-Key", KEY);
    let known = current_tag(ask(&agents)).await;
    let mut held = JoinSet::new();
    for _ in 0..AGENTS {
        held.spawn(waiting(ask(&agents), &known, 60).send());
    }
    while connections(server.id()) < AGENTS {
        tokio::task::yield_now().await;
    }
    let file = data.path().join("rules.json");
    std::fs::write(&file, r#"{"version": 7}"#).unwrap();
    let set = command(data.path(), &["rules", "set", file.to_str().unwrap()]).output();
    assert!(set.unwrap().status.success());
    let answers = tokio::time::timeout(GENEROUS, held.join_all()).await;
    for answer in answers.unwrap() {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json_version().await, 7);
    }
    let peak = server.peak_kib();
    assert!(peak < 100 * 1024, "{peak} KiB");
}

trait JsonVersion {
    async fn json_version(self) -> i64;
}

impl JsonVersion for Response {
    async fn json_version(self) -> i64 {
        let rules: Value = serde_json::from_slice(&self.bytes().await.unwrap()).unwrap();
        rules["version"].as_i64().unwrap()
    }
}

/// The number of open sockets of a process, without the listening one.
fn connections(pid: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let sockets = targets.filter(|target| target.to_string_lossy().starts_with("socket:"));
    sockets.count().saturating_sub(1)
}
