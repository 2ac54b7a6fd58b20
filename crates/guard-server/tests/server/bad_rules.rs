//! Invalid rules are refused over HTTP and on the command line. The error names the field, and
//! nothing changes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::operations::{ask, document, post};
use crate::process::{Process, command};
use crate::support::Server;

/// A field and an invalid value for it.
type Bad = (&'static str, Value);

/// For each collection, a valid body and invalid values for its fields.
fn collections() -> Vec<(&'static str, Value, Vec<Bad>)> {
    vec![
        (
            "bans",
            json!({ "ip": "192.0.2.7" }),
            vec![
                ("ip", json!("192.0.2.0/33")),
                ("ip", json!("192.0.2")),
                ("ip", json!(7)),
            ],
        ),
        (
            "unbans",
            json!({ "ip": "192.0.2.7" }),
            vec![("ip", json!("192.0.2.0/24")), ("ip", json!("x"))],
        ),
        (
            "countries",
            json!({ "country": "FR" }),
            vec![("country", json!("QQ")), ("country", json!(["FR"]))],
        ),
        (
            "limits",
            json!({ "endpoint": "/a", "requests": 1, "window_s": 1 }),
            vec![
                ("endpoint", json!("a")),
                ("endpoint", json!("/a\nb")),
                ("requests", json!(0)),
                ("requests", json!("many")),
                ("window_s", json!(0)),
                ("window_s", json!(1.5)),
            ],
        ),
        (
            "user-agents",
            json!({ "pattern": "sqlmap" }),
            vec![
                ("pattern", json!("(")),
                ("pattern", json!("")),
                ("pattern", json!("a{4000000000}")),
            ],
        ),
        (
            "clouds",
            json!({ "cloud": "AWS" }),
            vec![("cloud", json!("mine")), ("cloud", json!("AWS:!\n"))],
        ),
        (
            "patterns",
            json!({ "pattern": "sqlmap" }),
            vec![
                ("pattern", json!("(a+)+")),
                ("pattern", json!(".*.*x")),
                ("pattern", json!("a\tb")),
                ("pattern", json!("a".repeat(1001))),
                ("pattern", json!("a{4000000000}")),
                ("pattern", json!("((a{1000}){1000}){1000}")),
                ("pattern", json!("\\w{20000}")),
            ],
        ),
        (
            "features",
            json!({ "feature": "ip_banning", "enabled": false }),
            vec![("feature", json!("IpBanning")), ("enabled", json!("off"))],
        ),
        (
            "rate-limit",
            json!({ "requests": 1, "window_s": 1 }),
            vec![("requests", json!(0)), ("window_s", json!(-1))],
        ),
        (
            "auto-ban",
            json!({ "threshold": 1 }),
            vec![
                ("threshold", json!(0)),
                ("threshold", json!(null)),
                ("ban_s", json!(0)),
                ("ban_s", json!("1h")),
            ],
        ),
        (
            "emergency",
            json!({ "allowed": ["192.0.2.1"] }),
            vec![("allowed", json!("192.0.2.1")), ("allowed[0]", json!([7]))],
        ),
    ]
}

/// Invalid values for the fields that every operation may have.
fn common() -> Vec<Bad> {
    vec![
        ("duration_s", json!(0)),
        ("duration_s", json!(-5)),
        ("duration_s", json!("1h")),
        ("duration_s", json!(10_000_000_000_i64)),
        ("author", json!(7)),
        ("reason", json!([])),
        ("confirm", json!("yes")),
        ("expires", json!(1)),
        ("kind", json!("ban")),
    ]
}

#[tokio::test]
async fn each_operation_refuses_bad_unknown_and_missing_fields_by_their_name() {
    let server = Server::start().await;
    for (collection, good, bad) in collections() {
        for (field, value) in bad.into_iter().chain(common()) {
            let mut body = good.clone();
            // The path of a wrong item begins with its list.
            body[field.trim_end_matches("[0]")] = value;
            let (status, answer) = post(&server, collection, body.clone()).await;
            let detail = answer["detail"].as_str().unwrap_or_default();
            let told = detail.starts_with(&format!("rules field `{field}`: "));
            assert!(status == 400 && told, "{collection} {body}: {answer}");
            // A confirmation does not make invalid rules acceptable.
            body.as_object_mut()
                .unwrap()
                .entry("confirm")
                .or_insert(json!(true));
            assert_eq!(post(&server, collection, body).await.0, 400);
        }
        for field in good.as_object().unwrap().keys() {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(field);
            let (status, answer) = post(&server, collection, body).await;
            let detail = answer["detail"].as_str().unwrap_or_default();
            let told = detail.starts_with(&format!("rules field `{field}`: missing field"));
            assert!(status == 400 && told, "{collection} {field}: {answer}");
        }
    }
    let (_, answer) = post(
        &server,
        "emergency",
        json!({ "allowed": ["192.0.2.1", "x"] }),
    )
    .await;
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("`allowed[1]`"), "{detail}");
    let short = json!({ "ip": "192.0.2.0/24", "duration_s": 5 });
    assert_eq!(post(&server, "bans", short).await.0, 400);
    assert_eq!(document(&server).await, json!({}));
}

/// Invalid documents, each with the field that makes it invalid.
fn documents() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({ "ip_blacklist": ["192.0.2.7", "192.0.2.0/33"] }),
            "ip_blacklist[1]",
        ),
        (
            json!({ "ip_blacklist": ["192.0.2.7"], "ip_whitelist": ["192.0.2.8", "::ffff:192.0.2.7"] }),
            "ip_whitelist[1]",
        ),
        (
            json!({ "emergency_whitelist": ["x"] }),
            "emergency_whitelist[0]",
        ),
        (
            json!({ "blocked_countries": ["QQ"] }),
            "blocked_countries[0]",
        ),
        (
            json!({ "suspicious_patterns": ["(a+)+"] }),
            "suspicious_patterns[0]",
        ),
        (
            json!({ "suspicious_patterns": ["a", "a{4000000000}"] }),
            "suspicious_patterns[1]",
        ),
        (
            json!({ "blocked_user_agents": ["("] }),
            "blocked_user_agents[0]",
        ),
        (
            json!({ "blocked_cloud_providers": ["mine"] }),
            "blocked_cloud_providers[0]",
        ),
        (
            json!({ "endpoint_rate_limits": { "/a": [0, 1] } }),
            "endpoint_rate_limits./a[0]",
        ),
        (json!({ "ttl": 0 }), "ttl"),
        (json!({ "ip_ban_duration": 0 }), "ip_ban_duration"),
        (json!({ "auto_ban_threshold": 0 }), "auto_ban_threshold"),
        (json!({ "expires_at": "tomorrow" }), "expires_at"),
        (
            json!({ "expires_at": "2026-01-01T00:00:00Z" }),
            "expires_at",
        ),
        (json!({ "version": 0 }), "version"),
        (json!({ "version": 9_007_199_254_740_992_i64 }), "version"),
        (json!({ "version": 9_007_199_254_740_991_i64 }), "version"),
        (
            json!({ "suspicious_patterns": vec!["a"; 1001] }),
            "suspicious_patterns",
        ),
        (json!({ "ip_blocklist": [] }), "ip_blocklist"),
    ]
}

#[tokio::test]
async fn a_refused_document_names_the_path_of_the_field() {
    let server = Server::start().await;
    for (document, field) in documents() {
        for path in ["published", "draft"] {
            let body = json!({ "document": document });
            let (status, answer) = ask(&server, Method::PUT, path, body).await;
            let detail = answer["detail"].as_str().unwrap_or_default();
            let told = detail.starts_with(&format!("rules field `{field}`: "));
            assert!(status == 400 && told, "{document}: {answer}");
        }
    }
    for body in [
        json!({}),
        json!([]),
        json!({ "document": null }),
        json!({ "document": {}, "version": 1 }),
    ] {
        assert_eq!(ask(&server, Method::PUT, "published", body).await.0, 400);
    }
    assert_eq!(document(&server).await, json!({}));
    assert_eq!(ask(&server, Method::GET, "draft", json!({})).await.0, 404);
}

/// A data directory, and the `rules` command that runs on it.
struct CommandLine {
    data: tempfile::TempDir,
}

impl CommandLine {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        drop(Process::with_key(data.path()));
        Self { data }
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = command(self.data.path(), &[&["rules"], args].concat()).output();
        let output = output.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), error)
    }

    fn history(&self) -> String {
        let output = command(self.data.path(), &["rules", "history"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }
}

#[test]
fn the_command_line_names_the_wrong_field_of_each_operation() {
    let line = CommandLine::start();
    let long = "a".repeat(1001);
    for (args, code, told) in [
        (&["ban", "192.0.2.0/33"][..], 1, "`ip`"),
        (&["ban", "192.0.2.7", "--for", "0s"], 1, "`--for`"),
        (&["ban", "192.0.2.0/24", "--for", "5s"], 1, "`--for`"),
        (&["unban", "192.0.2"], 1, "`ip`"),
        (&["block-country", "QQ"], 1, "`country`"),
        (&["block-country", "FR", "--for", "60"], 2, "such as 90s"),
        (&["limit", "0", "--per", "60s"], 1, "`requests`"),
        (&["limit", "many", "--per", "60s"], 2, "give a whole number"),
        (&["limit", "1", "--per", "0s"], 1, "`--per`"),
        (
            &["limit", "1", "--per", "1s", "--endpoint", "a"],
            1,
            "`--endpoint`",
        ),
        (&["block-agent", "("], 1, "`pattern`"),
        (&["block-cloud", "mine"], 1, "`cloud`"),
        (&["block-pattern", "(a+)+"], 1, "`pattern`"),
        (&["block-pattern", &long], 1, "`pattern`"),
        (&["toggle", "IpBanning", "off"], 2, "ip_banning"),
        (&["toggle", "ip_banning"], 2, "<STATE>"),
        (&["auto-ban", "0"], 1, "`threshold`"),
        (&["auto-ban", "1", "--ban", "0s"], 1, "`--ban`"),
        (
            &["emergency", "--allow", "192.0.2.1", "--allow", "x"],
            1,
            "`--allow[1]`",
        ),
    ] {
        let (status, error) = line.run(args);
        assert_eq!(status, Some(code), "{args:?}: {error}");
        assert!(error.contains(told), "{args:?}: {error}");
    }
    assert_eq!(line.history(), "");
}

#[test]
fn the_command_line_names_the_path_of_a_documents_wrong_field() {
    let line = CommandLine::start();
    let file = line.data.path().join("rules.json");
    for (mut document, field) in documents() {
        let fields = document.as_object_mut().unwrap();
        fields.entry("version").or_insert(json!(1));
        std::fs::write(&file, document.to_string()).unwrap();
        for name in ["set", "draft"] {
            let (status, error) = line.run(&[name, file.to_str().unwrap()]);
            assert_eq!(status, Some(1), "{document}: {error}");
            assert!(error.contains(&format!("`{field}`")), "{document}: {error}");
        }
    }
    assert_eq!(line.history(), "");
}

#[test]
fn the_command_line_asks_to_confirm_risky_changes() {
    let line = CommandLine::start();
    let file = line.data.path().join("rules.json");
    std::fs::write(&file, r#"{"version": 7, "ip_blacklist": ["0.0.0.0/0"]}"#).unwrap();
    for args in [&["set", file.to_str().unwrap()][..], &["emergency"]] {
        let (status, error) = line.run(args);
        assert_eq!(status, Some(1), "{args:?}: {error}");
        assert!(error.contains("--yes"), "{args:?}: {error}");
        assert_eq!(line.run(&[args, &["--yes"]].concat()).0, Some(0));
    }
}
