//! `guard-server alerts` and `guard-server channels`, beside a running server.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, command, fails};
use crate::project_commands::run;
use crate::support::{P, TOKEN, batch};

/// A data directory with a database.
fn prepared() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    data
}

fn file(data: &Path, name: &str, content: &Value) -> PathBuf {
    let path = data.join(name);
    std::fs::write(&path, content.to_string()).unwrap();
    path
}

fn brute_force() -> Value {
    json!({
        "label": "Brute force",
        "condition": { "type": "threshold", "filter": "endpoint:/login", "count": 5, "window_s": 60 },
    })
}

/// Adds what a file says. Returns its id.
fn add(data: &Path, what: &str, file: &Path) -> String {
    let printed = run(data, &[what, "add", file.to_str().unwrap()]);
    let words: Vec<_> = printed.split_whitespace().collect();
    assert_eq!([words[0], words[2]], [what.trim_end_matches('s'), "added"]);
    words[1].to_owned()
}

/// The row of a table that begins with this id.
fn row<'a>(table: &'a str, id: &str) -> Option<Vec<&'a str>> {
    let mut rows = table
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    rows.find(|row| row[0] == id)
}

#[tokio::test]
async fn alerts_are_added_shown_changed_muted_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let data = data.path();
    let listed = run(data, &["alerts", "list"]);
    assert!(
        listed.starts_with("id\tlabel\tcondition\tstate\tmuted\n"),
        "{listed}"
    );
    for label in ["Agent silent", "Records lost", "Storage", "Attack"] {
        assert!(listed.contains(label), "{listed}");
    }

    let id = add(data, "alerts", &file(data, "alert.json", &brute_force()));
    let row_of = |id: &str| {
        let listed = run(data, &["alerts", "list"]);
        let found = row(&listed, id).map(|row| row[1..].join("|"));
        found.unwrap_or_default()
    };
    assert_eq!(row_of(&id), "Brute force|threshold|calm|");
    let (_, served) = server.get(&format!("{P}/alerts"), TOKEN).await;
    let mut served = served["items"].as_array().unwrap().iter();
    let served = served.find(|it| it["id"] == id.as_str()).unwrap();
    assert_eq!(
        (&served["created_by"], &served["enabled"]),
        (&json!("cli"), &json!(true))
    );

    let change = json!({ "label": "Logins", "enabled": false });
    let change = file(data, "change.json", &change);
    run(data, &["alerts", "set", &id, change.to_str().unwrap()]);
    assert_eq!(row_of(&id), "Logins|threshold|disabled|");
    let shown: Value = serde_json::from_str(&run(data, &["alerts", "show", &id])).unwrap();
    assert_eq!(shown["condition"], brute_force()["condition"]);
    assert_eq!(
        (&shown["label"], &shown["enabled"]),
        (&json!("Logins"), &json!(false))
    );

    let muted = run(data, &["alerts", "mute", &id, "3600"]);
    assert!(
        muted.starts_with(&format!("alert {id} is muted until 20")),
        "{muted}"
    );
    assert!(row_of(&id).contains("|until 20"), "{}", row_of(&id));
    let muted = run(data, &["alerts", "mute", &id, "0"]);
    assert_eq!(muted, format!("alert {id} is not muted\n"));
    assert_eq!(row_of(&id), "Logins|threshold|disabled|");

    run(data, &["alerts", "remove", &id]);
    assert_eq!(row_of(&id), "");
    let (_, log) = server.get("/api/v1/audit?who=cli", TOKEN).await;
    let log = log["items"].as_array().unwrap().iter();
    let actions: Vec<_> = log.map(|it| it["action"].as_str().unwrap()).collect();
    let expected = [
        "alert.remove",
        "alert.mute",
        "alert.mute",
        "alert.change",
        "alert.add",
        "token.add",
    ];
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn the_history_says_what_happened_to_an_alert() {
    let data = prepared();
    let data = data.path();
    let id = add(data, "alerts", &file(data, "alert.json", &brute_force()));
    assert_eq!(run(data, &["alerts", "history", &id]), "");
    let server = Process::with_key(data);
    let now = jiff::Timestamp::now();
    let event = |n: u32| {
        json!({ "idempotency_key": n.to_string(), "timestamp": now, "event_type": "x",
            "endpoint": "/login" })
    };
    let events: Vec<_> = (0..7).map(event).collect();
    assert!(server.post(batch("b", &events, &[])).await);
    // It is evaluated within ten seconds.
    let history = loop {
        let history = run(data, &["alerts", "history", &id, "--limit", "1"]);
        if !history.is_empty() {
            break history;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let lines: Vec<_> = history.lines().collect();
    assert_eq!(lines[0], "at\tevent\tchannel\twhat");
    assert!(
        lines[1].ends_with("\tstarted\t\t7 events within 60 seconds"),
        "{history}"
    );
    let listed = run(data, &["alerts", "list"]);
    assert!(
        row(&listed, &id).unwrap()[3].starts_with("since 20"),
        "{listed}"
    );
}

#[test]
fn channels_are_added_listed_without_secrets_and_removed() {
    let data = prepared();
    let data = data.path();
    let settings = json!({
        "label": "Operations", "type": "webhook", "url": "https://hooks.example.com/hush?token=hush",
        "secret": "hush-hush-hush-hush",
    });
    let id = add(data, "channels", &file(data, "channel.json", &settings));
    let listed = run(data, &["channels", "list"]);
    let row = row(&listed, &id).unwrap();
    assert_eq!(
        row[1..],
        ["Operations", "webhook", "https://hooks.example.com/…"]
    );
    assert!(!listed.contains("hush"), "{listed}");

    let mut uses = brute_force();
    uses["channels"] = json!([id]);
    let alert = add(data, "alerts", &file(data, "alert.json", &uses));
    let error = fails(command(data, &["channels", "remove", &id]), 1);
    assert!(error.contains("Brute force"), "{error}");
    run(data, &["alerts", "remove", &alert]);
    run(data, &["channels", "remove", &id]);
    assert_eq!(run(data, &["channels", "list"]), "");
}

#[test]
fn settings_come_from_the_standard_input_too() {
    let data = prepared();
    let mut adding = command(data.path(), &["alerts", "add", "-"]);
    let mut adding = adding
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = adding.stdin.take().unwrap();
    input
        .write_all(brute_force().to_string().as_bytes())
        .unwrap();
    drop(input);
    assert!(adding.wait().unwrap().success());
    assert!(run(data.path(), &["alerts", "list"]).contains("Brute force"));
}

#[test]
fn alerts_belong_to_a_project() {
    let data = prepared();
    let data = data.path();
    run(data, &["projects", "create", "shop"]);
    let settings = file(data, "alert.json", &brute_force());
    run(
        data,
        &[
            "alerts",
            "--project",
            "shop",
            "add",
            settings.to_str().unwrap(),
        ],
    );
    let of_shop = run(data, &["alerts", "list", "--project", "shop"]);
    assert!(of_shop.contains("Brute force"), "{of_shop}");
    assert!(!run(data, &["alerts", "list"]).contains("Brute force"));
    let error = fails(command(data, &["alerts", "list", "--project", "shoe"]), 1);
    assert!(error.contains("no project shoe"), "{error}");
}

#[test]
fn wrong_input_is_named_in_one_line_and_changes_nothing() {
    let data = prepared();
    let data = data.path();
    let with = |name: &str, pointer: &str, value: Value| {
        let mut settings = brute_force();
        *settings.pointer_mut(pointer).unwrap() = value;
        file(data, name, &settings)
    };
    let before = run(data, &["alerts", "list"]);
    let filter = with("1.json", "/condition/filter", json!("endpoint:/login OR ("));
    let window = with("2.json", "/condition/window_s", json!(0));
    let group = with("3.json", "/label", json!(""));
    let list = file(data, "4.json", &json!([1]));
    let url = json!({ "label": "x", "type": "webhook", "url": "ftp://hush" });
    let url = file(data, "5.json", &url);
    let path = |file: &PathBuf| file.to_str().unwrap().to_owned();
    for (arguments, expected) in [
        (["alerts", "add", &path(&filter)], "condition.filter"),
        (["alerts", "add", &path(&window)], "condition.window_s"),
        (["alerts", "add", &path(&group)], "label"),
        (["alerts", "add", &path(&list)], "no JSON object"),
        (
            ["alerts", "add", "nowhere.json"],
            "cannot read nowhere.json",
        ),
        (["alerts", "show", "unknown"], "no alert unknown"),
        (["alerts", "history", "unknown"], "no alert unknown"),
        (["alerts", "remove", "unknown"], "no alert unknown"),
        (["channels", "add", &path(&url)], "url"),
        (["channels", "add", &path(&list)], "no JSON object"),
        (["channels", "remove", "unknown"], "no channel unknown"),
    ] {
        let error = fails(command(data, &arguments), 1);
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(!error.contains("hush"), "{error}");
    }
    let id = before.lines().nth(1).unwrap().split('\t').next().unwrap();
    let error = fails(command(data, &["alerts", "mute", id, "9999999"]), 1);
    assert!(
        error.contains("duration_s") && error.contains("2592000"),
        "{error}"
    );
    assert_eq!(run(data, &["alerts", "list"]), before);
    assert_eq!(run(data, &["channels", "list"]), "");
}
