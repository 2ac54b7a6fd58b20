//! The audit log over HTTP: every change, with its author.

use guard_server::maintenance;
use reqwest::Method;
use serde_json::{Value, json};

use crate::clocks::TestClock;
use crate::operations::{ask, post};
use crate::process::{Process, command};
use crate::support::{AUTHOR, Server, Setup, TOKEN, read};

async fn log(server: &Server, query: &str) -> Vec<Value> {
    let request = server.get(&format!("/api/v1/audit?{query}"));
    let (status, log) = read(request.send().await.unwrap()).await;
    assert_eq!(status, 200, "{log}");
    log["items"].as_array().unwrap().clone()
}

fn actions(log: &[Value]) -> Vec<&str> {
    log.iter()
        .map(|it| it["action"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn every_change_of_the_rules_is_in_the_audit_log() {
    let server = Server::start().await;
    let (_, made) = post(&server, "bans", json!({ "ip": "192.0.2.7" })).await;
    let entry = format!("bans/{}", made["id"].as_str().unwrap());
    let draft = json!({ "document": { "message": "m" } });
    for (method, path, body) in [
        (Method::DELETE, entry.as_str(), json!({ "reason": "over" })),
        (Method::PUT, "draft", draft.clone()),
        (Method::POST, "draft/publish", json!({})),
        (Method::PUT, "draft", draft.clone()),
        (Method::DELETE, "draft", json!({})),
        (Method::PUT, "published", draft),
        (
            Method::POST,
            "versions/1/rollback",
            json!({ "confirm": true }),
        ),
    ] {
        let path = format!("{}/rules/{path}", crate::support::P);
        let request = server.ask(method, &path).body(body.to_string());
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{path}");
    }
    // A refused change is no change.
    assert_eq!(
        ask(&server, Method::POST, "bans", json!({ "ip": "x" }))
            .await
            .0,
        400
    );
    let log = log(&server, "limit=100").await;
    assert_eq!(
        actions(&log),
        [
            "rules.roll_back",
            "rules.publish",
            "rules.discard_draft",
            "rules.save_draft",
            "rules.publish_draft",
            "rules.save_draft",
            "rules.remove",
            "rules.add",
        ]
    );
    assert!(
        log.iter()
            .all(|it| it["who"] == AUTHOR && it["project"] == "default")
    );
    assert_eq!(log[6]["after"], json!({ "version": 2, "reason": "over" }));
}

#[tokio::test]
async fn what_ends_by_itself_is_told_as_done_by_the_server() {
    let clock = TestClock::at("2026-11-22T14:00:00Z");
    let setup = Setup {
        clock: clock.clone(),
        is_maintained: false,
        ..Setup::default()
    };
    let server = setup.start().await;
    post(
        &server,
        "bans",
        json!({ "ip": "192.0.2.7", "duration_s": 60 }),
    )
    .await;
    clock.pass(60);
    maintenance::update_rules(&server.state).await;
    maintenance::update_rules(&server.state).await;
    let log = log(&server, "").await;
    assert_eq!(actions(&log), ["rules.end", "rules.add"]);
    assert_eq!(
        (&log[0]["who"], &log[0]["object"], &log[0]["project"]),
        (
            &json!("server"),
            &json!("end: ban 192.0.2.7"),
            &json!("default")
        )
    );
}

#[tokio::test]
async fn old_entries_are_removed() {
    let clock = TestClock::at("2026-11-22T14:00:00Z");
    let setup = Setup {
        clock: clock.clone(),
        is_maintained: false,
        ..Setup::default()
    };
    let server = setup.start().await;
    post(&server, "countries", json!({ "country": "FR" })).await;
    clock.pass(300 * 24 * 3600);
    post(&server, "countries", json!({ "country": "NZ" })).await;
    server.state.expire().await;
    assert_eq!(log(&server, "").await.len(), 2);
    clock.pass(101 * 24 * 3600);
    server.state.expire().await;
    let left = log(&server, "").await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["object"], "block country NZ");
}

#[tokio::test]
async fn the_log_is_filtered_paged_and_exported() {
    let clock = TestClock::at("2026-11-22T14:00:00Z");
    let setup = Setup {
        clock: clock.clone(),
        ..Setup::default()
    };
    let server = setup.start().await;
    for country in ["FR", "NZ", "AQ"] {
        post(&server, "countries", json!({ "country": country })).await;
        clock.pass(3600);
    }
    assert_eq!(
        log(&server, "action=rules.add&project=default").await.len(),
        3
    );
    assert_eq!(log(&server, "action=token.add").await.len(), 0);
    assert_eq!(log(&server, "who=server").await.len(), 0);
    let recent = log(&server, "from=-90m&to=now").await;
    assert_eq!(recent.len(), 1);
    assert_eq!(recent[0]["object"], "block country AQ");
    assert_eq!(log(&server, "to=2026-11-22T15:00:00Z").await.len(), 1);
    for (query, field) in [("from=soon", json!("from")), ("limit=0", json!("limit"))] {
        let request = server.get(&format!("/api/v1/audit?{query}"));
        let (status, answer) = read(request.send().await.unwrap()).await;
        assert_eq!((status, &answer["field"]), (400, &field), "{answer}");
    }
    let page = server.get("/api/v1/audit?limit=2").send().await.unwrap();
    let (_, page) = read(page).await;
    let next = page["next"].as_str().unwrap();
    let rest = log(&server, &format!("limit=2&cursor={next}")).await;
    assert_eq!(rest[0]["object"], "block country FR");

    let export = async |format: &str| {
        let path = format!("/api/v1/audit/export?format={format}&action=rules.add");
        let response = server.get(&path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    };
    let lines = export("ndjson").await;
    let lines: Vec<Value> = lines
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["object"], "block country FR");
    let csv = export("csv").await;
    assert!(csv.starts_with("at,who,address,action,project,object,before,after\r\n"));
    assert!(
        csv.contains("\"block country FR\"") && csv.lines().count() == 4,
        "{csv}"
    );
}

#[tokio::test]
async fn changes_at_the_command_line_are_in_the_log() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let mut ban = command(
        data.path(),
        &["rules", "ban", "192.0.2.7", "--reason", "scans"],
    );
    assert!(ban.status().unwrap().success());
    let (_, log) = server.get("/api/v1/audit?action=rules.add", TOKEN).await;
    let told = &log["items"][0];
    assert_eq!(
        (&told["who"], &told["object"], &told["address"]),
        (&json!("cli"), &json!("ban 192.0.2.7"), &Value::Null)
    );
    assert_eq!(told["after"]["reason"], "scans");
}
