//! Patterns and versions at their limits: what is refused, and what an earlier server accepted.

use guard_server::store::{Change, KeepVersions, Projects as _, RulesStore as _, StoredRules};
use guard_wire::rules::DynamicRules;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::operations::{ask, document, post};
use crate::process::{Process, command};
use crate::support::{Server, read};

/// The highest version: an earlier server had no next one after it.
const LAST: i64 = 9_007_199_254_740_991;

/// Stores rules unchecked, as an earlier server could.
async fn store(server: &Server, version: i64, rules: DynamicRules, entries: Value) {
    let project = server.store.project_named("default").await;
    let rules = DynamicRules { version, ..rules };
    let stored = StoredRules {
        version,
        document: serde_json::to_string(&rules).unwrap(),
        policy: json!({ "rules": rules, "entries": entries }).to_string(),
        lease_ends: None,
        due: None,
        change: Change {
            created_at: Timestamp::now(),
            action: "publish".to_owned(),
            author: None,
            reason: None,
        },
        automatic: false,
    };
    let project = project.unwrap().unwrap().id;
    server
        .store
        .set_rules(project, None, stored, KeepVersions::ALL, None, None)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_oversized_pattern_from_an_earlier_server_breaks_no_later_change() {
    let server = Server::start().await;
    let pattern = "a{4000000000}";
    let rules = DynamicRules {
        suspicious_patterns: vec!["((a{1000}){1000}){1000}".to_owned(), pattern.to_owned()],
        blocked_user_agents: vec![pattern.to_owned()],
        ..DynamicRules::default()
    };
    let entry = json!({ "kind": "pattern", "pattern": pattern, "reason": null, "author": null,
        "created_at": "2026-01-01T00:00:00Z", "ends_at": null });
    store(&server, 1, rules, json!([entry])).await;

    let ban = json!({ "ip": "192.0.2.7" });
    assert_eq!(post(&server, "bans", ban).await.0, 200);
    let (_, listed) = ask(&server, Method::GET, "entries", json!({})).await;
    let entry = &listed["entries"][0];
    assert_eq!(entry["pattern"], pattern);
    let path = format!("patterns/{}", entry["id"].as_str().unwrap());
    let removed = ask(&server, Method::DELETE, &path, json!({})).await;
    assert_eq!(removed.0, 200, "{removed:?}");
    let (status, answer) = post(&server, "versions/1/rollback", json!({})).await;
    let detail = answer["detail"].as_str().unwrap();
    assert!(status == 400 && detail.contains("too large"), "{detail}");
    let clean = json!({ "document": {} });
    assert_eq!(ask(&server, Method::PUT, "published", clean).await.0, 200);
    let rules = document(&server).await;
    assert_eq!(rules["suspicious_patterns"], json!([]));
    assert_eq!(rules["ip_blacklist"], json!(["192.0.2.7"]));
}

/// A document with a hundred kilobytes of patterns. Checking each one takes some milliseconds.
fn large_document(salt: usize) -> Value {
    let pattern = |n: usize| format!("{salt}-{n}-{}", r"\w{3}x".repeat(160));
    let patterns: Vec<_> = (0..100).map(pattern).collect();
    json!({ "document": { "suspicious_patterns": patterns } })
}

#[tokio::test]
async fn requests_are_answered_while_large_drafts_are_checked() {
    let server = std::sync::Arc::new(Server::start().await);
    let drafts: Vec<_> = (0..2)
        .map(|salt| {
            let server = std::sync::Arc::clone(&server);
            let body = large_document(salt);
            tokio::spawn(async move { ask(&server, Method::PUT, "draft", body).await.0 })
        })
        .collect();
    // All of this runs on one thread: if it checked the patterns, it would answer nothing.
    let mut answered = 0;
    while !drafts.iter().all(tokio::task::JoinHandle::is_finished) {
        let health = server.request(Method::GET, "/health").send().await;
        assert_eq!(health.unwrap().status(), 200);
        answered += 1;
    }
    assert!(answered > 10, "{answered}");
    for draft in drafts {
        assert_eq!(draft.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn changes_continue_after_the_highest_version_of_an_earlier_server() {
    let server = Server::start().await;
    store(&server, LAST, DynamicRules::default(), json!([])).await;
    let (status, answer) = post(&server, "bans", json!({ "ip": "192.0.2.7" })).await;
    assert_eq!((status, &answer["version"]), (200, &json!(LAST + 1)));
    let rules = document(&server).await;
    assert_eq!(rules["version"], LAST + 1);
    assert_eq!(rules["ip_blacklist"], json!(["192.0.2.7"]));
    let back = post(&server, &format!("versions/{LAST}/rollback"), json!({})).await;
    assert_eq!(back, (200, json!({ "version": LAST + 2 })));
    let (_, history) = read(
        server
            .get("/api/v1/projects/default/rules/versions")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(history["versions"][0]["version"], LAST + 2);
}

#[test]
fn a_version_without_room_above_is_refused_with_a_remedy() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    let file = data.path().join("rules.json");
    let run = |args: &[&str], version: i64| {
        std::fs::write(&file, json!({ "version": version }).to_string()).unwrap();
        let output = command(data.path(), &[&["rules"], args].concat()).output();
        let output = output.unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let path = file.to_str().unwrap();
    for version in [LAST, (1 << 52) + 1] {
        let (code, error) = run(&["set", path], version);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("give 1 to 4503599627370496"), "{error}");
    }
    assert_eq!(run(&["set", path], 1 << 52).0, Some(0));
    assert_eq!(run(&["ban", "192.0.2.7"], 1).0, Some(0));
    let (code, error) = run(&["set", path], 1 << 52);
    assert!(
        code == Some(1) && error.contains("save it as a draft"),
        "{error}"
    );
    assert_eq!(run(&["draft", path], 1).0, Some(0));
    assert_eq!(run(&["publish"], 1).0, Some(0));
}
