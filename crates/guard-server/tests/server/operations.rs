//! Operations: the changes that people make to the rules.

use guard_server::rules::Provenance;
use guard_server::rules::operation::{Ban, Operation};
use guard_server::rules::policy::Entry;
use guard_server::rules::versions::{compose_due, put};
use guard_server::store::{KeepVersions, Projects as _, RulesOutcome, RulesStore as _};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Process, command};
use crate::support::{AUTHOR, KEY, Server, read};

pub(crate) async fn ask(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = server.ask(method, &format!("/api/v1/projects/default/rules/{path}"));
    let request = request.body(body.to_string());
    read(request.send().await.unwrap()).await
}

pub(crate) async fn post(server: &Server, path: &str, body: Value) -> (u16, Value) {
    ask(server, Method::POST, path, body).await
}

/// The path of the entry that the answer to `post` names.
fn entry(collection: &str, added: &Value) -> String {
    format!("{collection}/{}", added["id"].as_str().unwrap())
}

pub(crate) async fn document(server: &Server) -> Value {
    read(server.get("/api/v1/rules").send().await.unwrap())
        .await
        .1
}

#[tokio::test]
async fn what_is_in_force_is_listed_in_pages_with_the_bans_of_the_document() {
    let server = Server::start().await;
    let published = json!({ "document": { "ip_blacklist": ["203.0.113.1"] } });
    let (status, _) = ask(&server, Method::PUT, "published", published).await;
    assert_eq!(status, 200);
    for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        post(&server, "bans", json!({ "ip": ip, "reason": "Scans" })).await;
    }
    post(&server, "countries", json!({ "country": "FR" })).await;
    let list = |query: String| {
        let path = format!("/api/v1/projects/default/rules/in-force?{query}");
        let answer = server.get(&path).send();
        async { read(answer.await.unwrap()).await }
    };

    let mut listed = Vec::new();
    let mut query = "limit=2&kind=ban".to_owned();
    loop {
        let (status, page) = list(query).await;
        assert_eq!((status, &page["total"]), (200, &json!(4)));
        assert_eq!(page["kinds"], json!({ "ban": 4, "country": 1 }));
        listed.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("limit=2&kind=ban&cursor={next}");
    }
    let ips: Vec<_> = listed.iter().map(|it| it["ip"].as_str().unwrap()).collect();
    assert_eq!(ips, ["192.0.2.3", "192.0.2.2", "192.0.2.1", "203.0.113.1"]);
    assert!(listed[0]["id"].is_string() && listed[3]["id"].is_null());
    let (_, found) = list("search=sCaNs".to_owned()).await;
    assert_eq!((&found["total"], &found["next"]), (&json!(3), &Value::Null));
    assert_eq!(list("limit=0".to_owned()).await.0, 400);
    assert_eq!(list("cursor=%21".to_owned()).await.0, 400);
    assert_eq!(
        list("author=x".to_owned()).await.1["code"],
        "unknown_parameter"
    );
}

#[tokio::test]
async fn a_ban_is_listed_and_an_unban_lists_the_address_for_unbanning() {
    let server = Server::start().await;
    let ban = json!({ "ip": "192.0.2.7", "duration_s": 600, "reason": "scans" });
    let (status, answer) = post(&server, "bans", ban).await;
    assert_eq!((status, &answer["version"]), (200, &json!(1)));
    let rules = document(&server).await;
    assert_eq!(rules["ip_blacklist"], json!(["192.0.2.7"]));
    assert!((590..=600).contains(&rules["ip_ban_duration"].as_i64().unwrap()));
    let made: Timestamp = rules["timestamp"].as_str().unwrap().parse().unwrap();
    assert!(made <= Timestamp::now(), "{made}");
    let (_, entries) = read(
        server
            .get("/api/v1/projects/default/rules/entries")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(entries["entries"][0]["reason"], "scans");
    assert_eq!(entries["entries"][0]["id"], answer["id"]);

    let note = json!({ "reason": "a customer" });
    let ban = entry("bans", &answer);
    assert_eq!(ask(&server, Method::DELETE, &ban, note).await.0, 200);
    let rules = document(&server).await;
    assert_eq!(rules["version"], 2);
    assert_eq!(
        (&rules["ip_blacklist"], &rules["ip_whitelist"]),
        (&json!([]), &json!(["192.0.2.7"]))
    );
    let (_, entries) = read(
        server
            .get("/api/v1/projects/default/rules/entries")
            .send()
            .await
            .unwrap(),
    )
    .await;
    let unban = &entries["entries"][0];
    assert_eq!(
        (&unban["kind"], &unban["reason"], &unban["author"]),
        (&json!("unban"), &json!("a customer"), &json!(AUTHOR))
    );
}

#[tokio::test]
async fn every_operation_reaches_the_document_and_can_be_removed() {
    let server = Server::start().await;
    for (path, body, field, value) in [
        (
            "countries",
            json!({ "country": "fr" }),
            "blocked_countries",
            json!(["FR"]),
        ),
        (
            "limits",
            json!({ "endpoint": "/a", "requests": 1, "window_s": 2 }),
            "endpoint_rate_limits",
            json!({ "/a": [1, 2] }),
        ),
        (
            "user-agents",
            json!({ "pattern": "sqlmap" }),
            "blocked_user_agents",
            json!(["sqlmap"]),
        ),
        (
            "clouds",
            json!({ "cloud": "AWS" }),
            "blocked_cloud_providers",
            json!(["AWS"]),
        ),
        (
            "patterns",
            json!({ "pattern": "\\.\\./" }),
            "suspicious_patterns",
            json!(["\\.\\./"]),
        ),
        (
            "features",
            json!({ "feature": "ip_banning", "enabled": false, "confirm": true }),
            "enable_ip_banning",
            json!(false),
        ),
        (
            "rate-limit",
            json!({ "requests": 9, "window_s": 8 }),
            "global_rate_limit",
            json!(9),
        ),
        (
            "auto-ban",
            json!({ "threshold": 3, "ban_s": 60 }),
            "auto_ban_duration",
            json!(60),
        ),
        (
            "emergency",
            json!({ "allowed": ["192.0.2.1"] }),
            "emergency_mode",
            json!(true),
        ),
    ] {
        let before = document(&server).await[field].clone();
        let (status, added) = post(&server, path, body).await;
        assert_eq!(status, 200, "{path}");
        assert_eq!(document(&server).await[field], value, "{path}");
        let entry = entry(path, &added);
        let remove = || ask(&server, Method::DELETE, &entry, json!({}));
        assert_eq!(remove().await.0, 200, "{path}");
        let after = document(&server).await[field].clone();
        assert!(after == before || before.is_null(), "{path}: {after}");
        assert_eq!(remove().await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn an_entry_is_removed_by_its_id_in_its_collection() {
    let server = Server::start().await;
    let ban = json!({ "ip": "192.0.2.0/24", "duration_s": 600 });
    let (_, made) = post(&server, "bans", ban.clone()).await;
    let (_, again) = post(&server, "bans", ban).await;
    assert_eq!(made["id"], again["id"], "the same thing has the same id");
    let (_, other) = post(&server, "countries", json!({ "country": "FR" })).await;
    let id = |answer: &Value| answer["id"].as_str().unwrap().to_owned();
    let take_back = async |path: String| {
        let note = json!({ "reason": "over" });
        ask(&server, Method::DELETE, &path, note).await
    };
    for (path, status) in [
        ("bans/0".to_owned(), 404),
        (format!("countries/{}", id(&made)), 404),
        (format!("nothing/{}", id(&made)), 404),
        (format!("bans/{}", id(&made)), 200),
        (format!("bans/{}", id(&made)), 404),
        (format!("countries/{}", id(&other)), 200),
    ] {
        let (found, answer) = take_back(path.clone()).await;
        assert_eq!(found, status, "{path}: {answer}");
    }
    let (_, left) = read(
        server
            .get("/api/v1/projects/default/rules/entries")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(left["entries"], json!([]));
    let (_, history) = read(
        server
            .get("/api/v1/projects/default/rules/versions")
            .send()
            .await
            .unwrap(),
    )
    .await;
    let newest = &history["versions"][0];
    assert_eq!(
        (&newest["action"], &newest["author"], &newest["reason"]),
        (&json!("unblock country FR"), &json!(AUTHOR), &json!("over"))
    );
}

#[tokio::test]
async fn the_command_line_refuses_to_lift_a_missing_ban_and_counts_processes() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    let run = |args: &[&str]| {
        let output = command(data.path(), &[&["rules"], args].concat()).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, told) = run(&["ban", "192.0.2.7"]);
    assert!(
        code == Some(0) && told.contains("no process follows the rules"),
        "{told}"
    );
    for args in [
        &["unban", "192.0.2.8"][..],
        &["ban", "192.0.2.8", "--remove"],
    ] {
        let (code, told) = run(args);
        let is_told = told.contains("do not ban 192.0.2.8") && told.contains("--yes");
        assert!(code == Some(1) && is_told, "{told}");
    }
    assert_eq!(
        run(&["history"]).1.lines().count(),
        1 + 1,
        "a heading and a version"
    );
    assert_eq!(run(&["unban", "192.0.2.8", "--yes"]).0, Some(0));
    assert_eq!(run(&["unban", "192.0.2.7"]).0, Some(0));
    let (_, refused) = run(&["ban", "0.0.0.0/0"]);
    assert!(!refused.contains("confirm"), "{refused}");
}

#[tokio::test]
async fn locking_out_everyone_loopback_or_oneself_needs_a_confirmation() {
    let server = Server::start().await;
    for (path, mut body) in [
        ("bans", json!({ "ip": "0.0.0.0/0" })),
        ("bans", json!({ "ip": "127.0.0.1" })),
        ("bans", json!({ "ip": "::ffff:127.0.0.0/104" })),
        ("user-agents", json!({ "pattern": ".*" })),
        ("patterns", json!({ "pattern": "/" })),
        ("patterns", json!({ "pattern": "[a-z]" })),
        ("patterns", json!({ "pattern": "/." })),
        ("rate-limit", json!({ "requests": 1, "window_s": 86_400 })),
        (
            "limits",
            json!({ "endpoint": "/a", "requests": 1, "window_s": 86_400 }),
        ),
        (
            "features",
            json!({ "feature": "ip_banning", "enabled": false }),
        ),
        (
            "features",
            json!({ "feature": "penetration_detection", "enabled": false }),
        ),
        ("emergency", json!({ "allowed": [] })),
    ] {
        let (status, answer) = post(&server, path, body.clone()).await;
        assert_eq!(status, 409, "{answer}");
        assert!(
            answer["detail"]
                .as_str()
                .unwrap()
                .contains("\"confirm\": true")
        );
        body["confirm"] = json!(true);
        assert_eq!(post(&server, path, body).await.0, 200);
    }
    for (header, named) in [
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-For", "203.0.113.9, 198.51.100.7"),
        ("X-Forwarded-For", "198.51.100.7:4711"),
        ("X-Forwarded-For", "::ffff:198.51.100.7"),
        ("X-Real-IP", "198.51.100.7"),
        ("Forwarded", "for=198.51.100.7"),
        (
            "Forwarded",
            "for=203.0.113.9;proto=https, For=\"198.51.100.7:4711\";by=203.0.113.1",
        ),
        ("Forwarded", "for=\"[::ffff:198.51.100.7]\""),
        ("Forwarded", "for=\"[::ffff:198.51.100.7]:4711\""),
    ] {
        let request = server
            .ask(Method::POST, "/api/v1/projects/default/rules/bans")
            .header(header, named)
            .body(r#"{"ip": "198.51.100.0/24"}"#);
        assert_eq!(request.send().await.unwrap().status(), 409, "{named}");
    }
}

#[tokio::test]
async fn a_document_that_locks_out_many_clients_needs_a_confirmation() {
    let server = Server::start().await;
    let blocks = (0..55_000_u32).map(|n| format!("{}.{}.0.0/16", n / 256 + 1, n % 256));
    let blocks: Vec<_> = blocks.filter(|block| !block.starts_with("127.")).collect();
    for (document, told) in [
        (
            json!({ "ip_blacklist": blocks }),
            "ban 1/2 of all IPv4 addresses",
        ),
        (
            json!({ "whitelist_countries": ["FR"] }),
            "refuse everyone outside FR",
        ),
        (
            json!({ "enable_penetration_detection": false, "enable_ip_banning": false }),
            "turn the detection of attacks off and turn banning off",
        ),
        (
            json!({ "endpoint_rate_limits": { "/": [1, 86_400] } }),
            "limit each client to 1 in 86400 s at /",
        ),
        (
            json!({ "suspicious_patterns": ["sqlmap", "[a-z]"] }),
            "treat ordinary requests as attacks",
        ),
    ] {
        let mut body = json!({ "document": document });
        let (status, answer) = ask(&server, Method::PUT, "published", body.clone()).await;
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(status == 409 && detail.contains(told), "{status} {detail}");
        body["confirm"] = json!(true);
        assert_eq!(ask(&server, Method::PUT, "published", body).await.0, 200);
    }
}

#[tokio::test]
async fn an_unban_within_a_banned_block_needs_a_confirmation() {
    let server = Server::start().await;
    let unban = json!({ "ip": "192.0.2.7" });
    let (_, block) = post(&server, "bans", json!({ "ip": "192.0.2.0/24" })).await;
    let (_, ban) = post(&server, "bans", unban.clone()).await;
    for (method, path) in [
        (Method::POST, "unbans".to_owned()),
        (Method::DELETE, entry("bans", &ban)),
    ] {
        let body = if method == Method::POST {
            unban.clone()
        } else {
            json!({})
        };
        let (status, answer) = ask(&server, method, &path, body).await;
        let detail = answer["detail"].as_str().unwrap();
        let told = detail.contains("leave 192.0.2.7 banned by 192.0.2.0/24");
        assert!(status == 409 && told, "{detail}");
    }
    let block = entry("bans", &block);
    assert_eq!(ask(&server, Method::DELETE, &block, json!({})).await.0, 200);
    assert_eq!(post(&server, "unbans", unban).await.0, 200);
}

#[tokio::test]
async fn a_rollback_is_a_new_version_that_lifts_later_bans() {
    let server = Server::start().await;
    post(&server, "countries", json!({ "country": "FR" })).await;
    post(&server, "bans", json!({ "ip": "192.0.2.7" })).await;
    let (_, answer) = post(&server, "versions/1/rollback", json!({ "reason": "oops" })).await;
    assert_eq!(answer, json!({ "version": 3 }));
    let rules = document(&server).await;
    assert_eq!(rules["blocked_countries"], json!(["FR"]));
    assert_eq!(
        (&rules["ip_blacklist"], &rules["ip_whitelist"]),
        (&json!([]), &json!(["192.0.2.7"]))
    );
    let (_, history) = read(
        server
            .get("/api/v1/projects/default/rules/versions")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(history["versions"][0]["reason"], "oops");
    assert_eq!(history["versions"].as_array().unwrap().len(), 3);
    assert_eq!(
        post(&server, "versions/99/rollback", json!({})).await.0,
        404
    );
}

#[tokio::test]
async fn a_rollback_to_a_pattern_that_is_refused_today_fails() {
    let server = Server::start().await;
    post(&server, "countries", json!({ "country": "FR" })).await;
    let project = server.store.project_named("default").await;
    let id = project.unwrap().unwrap().id;
    let mut earlier = server.store.rules(id).await.unwrap().unwrap();
    earlier.version = 2;
    for text in [&mut earlier.document, &mut earlier.policy] {
        *text = text.replace(
            "\"suspicious_patterns\":[]",
            "\"suspicious_patterns\":[\"(a+)+\"]",
        );
    }
    let set = server
        .store
        .set_rules(id, Some(1), earlier, KeepVersions::ALL, None, None)
        .await;
    assert_eq!(set.unwrap(), RulesOutcome::Set);
    post(&server, "countries", json!({ "country": "NZ" })).await;
    let (status, answer) = post(&server, "versions/2/rollback", json!({})).await;
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        status == 400 && detail.contains("`suspicious_patterns[0]`"),
        "{detail}"
    );
    assert_eq!(document(&server).await["version"], 3);
}

#[tokio::test]
async fn published_rules_keep_the_bans() {
    let server = Server::start().await;
    post(&server, "bans", json!({ "ip": "192.0.2.7" })).await;
    let body = json!({ "document": { "message": "m" } });
    assert_eq!(ask(&server, Method::PUT, "published", body).await.0, 200);
    let rules = document(&server).await;
    assert_eq!(
        (&rules["message"], &rules["version"]),
        (&json!("m"), &json!(2))
    );
    assert_eq!(rules["ip_blacklist"], json!(["192.0.2.7"]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn versions_rise_with_every_change_end_rollback_and_restart(
        steps in prop::collection::vec((0..4_u8, 1..5000_i64), 1..12),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("guard.db");
            let mut store = guard_server::store::Sqlite::open(&path).unwrap();
            store.save_project("default", guard_server::store::ProjectSettings::default()).await.unwrap();
            let id = store.project_named("default").await.unwrap().unwrap().id;
            let mut now: Timestamp = "2999-01-01T00:00:00Z".parse().unwrap();
            let mut known: Option<guard_server::store::StoredRules> = None;
            for (step, n) in steps {
                let by = Provenance { confirmed: true, ..Provenance::default() };
                match step {
                    0 => {
                        let operation = Operation::Ban(Ban { ip: format!("192.0.2.{}", n % 8) });
                        let entry = Entry::new(operation, Some(n), &by, now).unwrap();
                        put(&store, id, &entry, &by, now).await.unwrap();
                    }
                    1 => {
                        now += SignedDuration::from_secs(n);
                        compose_due(&store, now).await.unwrap();
                    }
                    2 => {
                        let _ = guard_server::rules::versions::roll_back(&store, id, 1, &by, now).await;
                    }
                    _ => {
                        drop(store);
                        store = guard_server::store::Sqlite::open(&path).unwrap();
                    }
                }
                let rules = store.rules(id).await.unwrap();
                if let (Some(known), Some(rules)) = (&known, &rules) {
                    assert!(rules.version > known.version || rules == known);
                }
                assert!(known.is_none() || rules.is_some());
                known = rules;
            }
        });
    }
}

#[tokio::test]
async fn the_command_line_works_while_a_server_runs() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let run = |args: &[&str]| {
        command(data.path(), &[&["rules"], args].concat())
            .output()
            .unwrap()
    };
    assert!(
        run(&["ban", "192.0.2.7", "--reason", "scans"])
            .status
            .success()
    );
    assert_eq!(
        server.get("/api/v1/rules", KEY).await.1["ip_blacklist"],
        json!(["192.0.2.7"])
    );
    assert!(run(&["unban", "192.0.2.7"]).status.success());
    let refused = run(&["ban", "0.0.0.0/0"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--yes"));
    assert!(run(&["rollback", "1"]).status.success());
    let history = String::from_utf8(run(&["history"]).stdout).unwrap();
    assert_eq!(
        history.lines().count(),
        1 + 3,
        "a heading and three versions"
    );
    assert!(history.contains("scans"), "{history}");
    let (_, rules) = server.get("/api/v1/rules", KEY).await;
    let shown: Value = serde_json::from_slice(&run(&["show"]).stdout).unwrap();
    assert_eq!(
        (&rules["version"], &rules["ip_blacklist"]),
        (&shown["version"], &shown["ip_blacklist"])
    );
}

#[tokio::test]
async fn every_operation_can_be_added_and_removed_on_the_command_line() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    let run = |args: &[&str]| {
        let mut command = command(data.path(), &[&["rules"], args].concat());
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), output.stdout, error)
    };
    let shown = || -> Value { serde_json::from_slice(&run(&["show"]).1).unwrap() };
    for (made, removed, field, value) in [
        (
            &["block-country", "fr", "--for", "1h"][..],
            &["block-country", "FR"][..],
            "blocked_countries",
            json!(["FR"]),
        ),
        (
            &["limit", "5", "--per", "1m", "--endpoint", "/login"],
            &["limit", "--endpoint", "/login"],
            "endpoint_rate_limits",
            json!({ "/login": [5, 60] }),
        ),
        (
            &["limit", "9", "--per", "8s"],
            &["limit"],
            "global_rate_limit",
            json!(9),
        ),
        (
            &["block-agent", "sqlmap"],
            &["block-agent", "sqlmap"],
            "blocked_user_agents",
            json!(["sqlmap"]),
        ),
        (
            &["block-cloud", "AWS"],
            &["block-cloud", "AWS"],
            "blocked_cloud_providers",
            json!(["AWS"]),
        ),
        (
            &["block-pattern", "\\.\\./"],
            &["block-pattern", "\\.\\./"],
            "suspicious_patterns",
            json!(["\\.\\./"]),
        ),
        (
            &["toggle", "ip_banning", "off"],
            &["toggle", "ip_banning"],
            "enable_ip_banning",
            json!(false),
        ),
        (
            &["auto-ban", "3", "--ban", "1m"],
            &["auto-ban"],
            "auto_ban_duration",
            json!(60),
        ),
        (
            &["emergency", "--allow", "192.0.2.1"],
            &["emergency"],
            "emergency_mode",
            json!(true),
        ),
    ] {
        let note = ["--reason", "a test", "--author", "me", "--yes"];
        let (code, _, error) = run(&[made, &note].concat());
        assert_eq!((code, shown()[field].clone()), (Some(0), value), "{error}");
        let (code, _, error) = run(&[removed, &["--remove"]].concat());
        assert_eq!(code, Some(0), "{error}");
        let (code, _, error) = run(&[removed, &["--remove"]].concat());
        assert_eq!(code, Some(1), "{made:?}");
        assert!(error.contains("no such operation"), "{error}");
    }
    let history = String::from_utf8(run(&["history"]).1).unwrap();
    for told in [
        "limit /login to 5 in 60 s\tme\ta test",
        "lift the limit of /login\t",
        "turn ip_banning off\t",
        "leave ip_banning as configured\t",
        "ban for 60 s after 3 suspicious requests\t",
        "emergency, except for 192.0.2.1\t",
        "end the emergency\t",
    ] {
        assert!(history.contains(told), "{told}: {history}");
    }
}

#[tokio::test]
async fn the_command_line_lists_the_operations_in_force_and_their_ends() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    let run = |args: &[&str]| {
        let output = command(data.path(), &[&["rules"], args].concat()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(run(&["list"]), "");
    run(&[
        "ban",
        "192.0.2.7",
        "--for",
        "1h",
        "--reason",
        "scans",
        "--author",
        "me",
    ]);
    run(&["block-country", "FR"]);
    let listed = run(&["list"]);
    let lines: Vec<Vec<_>> = listed
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(lines[0], ["OPERATION", "ENDS", "AUTHOR", "REASON"]);
    assert_eq!(
        (lines[1][0], lines[1][2], lines[1][3]),
        ("ban 192.0.2.7", "me", "scans")
    );
    let ends: Timestamp = lines[1][1].parse().unwrap();
    let left = ends.as_second() - Timestamp::now().as_second();
    assert!((0..=3600).contains(&left), "{listed}");
    assert_eq!(lines[2], ["block country FR", "", "", ""]);
}
