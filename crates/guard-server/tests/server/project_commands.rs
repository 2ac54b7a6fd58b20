//! `guard-server projects` and `guard-server keys`, beside a running server.

use std::path::Path;

use serde_json::Value;

use crate::process::{Process, command, fails};
use crate::support::KEY;

pub(crate) fn run(data: &Path, arguments: &[&str]) -> String {
    let output = command(data, arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn last_word(line: &str) -> String {
    line.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn projects_and_keys_are_managed_on_the_data_directory() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let data = data.path();
    run(data, &["projects", "create", "shop"]);
    run(
        data,
        &[
            "projects",
            "set",
            "shop",
            "--quota-per-minute",
            "7",
            "--retention-days",
            "3",
        ],
    );
    assert!(
        run(data, &["projects", "list"])
            .lines()
            .any(|line| line.starts_with("shop\t"))
    );
    let shown: Value = serde_json::from_str(&run(data, &["projects", "show", "shop"])).unwrap();
    assert_eq!(shown["settings"]["quota_per_minute"], 7);
    assert_eq!(shown["settings"]["retention_days"], 3);

    let made = run(data, &["keys", "--project", "shop", "create", "web"]);
    let lines: Vec<_> = made.lines().map(last_word).collect();
    let [id, key] = [&*lines[0], &*lines[1]];
    assert_eq!(server.get("/api/v1/rules", key).await.0, 200);
    let listed = run(data, &["keys", "list", "--project", "shop"]);
    assert!(
        listed.contains(id) && listed.contains("web") && listed.contains("cli"),
        "{listed}"
    );
    assert!(!listed.contains(key), "{listed}");
    run(data, &["keys", "revoke", id, "--project", "shop"]);
    assert_eq!(server.get("/api/v1/rules", key).await.0, 401);

    let refused = fails(command(data, &["projects", "remove", "shop"]), 1);
    assert!(refused.contains("--yes"), "{refused}");
    run(data, &["projects", "remove", "shop", "--yes"]);
    assert!(!run(data, &["projects", "list"]).contains("shop"));
    assert_eq!(server.get("/api/v1/rules", KEY).await.0, 200);
}

#[test]
fn a_secret_comes_from_a_file_and_not_from_the_command_line() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    let file = data.path().join("secret");
    std::fs::write(&file, "hush\n").unwrap();
    let set = [
        "projects",
        "set",
        "default",
        "--signing-secret-file",
        file.to_str().unwrap(),
    ];
    run(data.path(), &set);
    let shown = run(data.path(), &["projects", "show", "default"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["secrets"]["signing_secret"], true);
    assert_eq!(shown["settings"]["require_signature"], true);
    std::fs::write(&file, "").unwrap();
    run(data.path(), &set);
    let shown = run(data.path(), &["projects", "show", "default"]);
    assert!(shown.contains("\"signing_secret\": false"), "{shown}");
}

#[test]
fn a_wrong_argument_is_named_and_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    for (arguments, expected) in [
        (&["projects", "create", "Shop"][..], "name"),
        (&["projects", "create", "default"], "choose another name"),
        (&["projects", "show", "shop"], "no project shop"),
        (
            &["projects", "set", "default", "--ip-allowlist", "::1,x"],
            "ip_allowlist[1]",
        ),
        (
            &["projects", "remove", "default", "--yes"],
            "cannot be removed",
        ),
        (&["keys", "create", " "], "label"),
        (&["keys", "revoke", "unknown"], "no key unknown"),
        (&["keys", "list", "--project", "shop"], "no project shop"),
    ] {
        let error = fails(command(data.path(), arguments), 1);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let output = command(data.path(), &["projects", "set", "default"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--retention-days"));
}

#[tokio::test]
async fn a_key_of_another_project_is_refused_at_start() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    run(data.path(), &["projects", "create", "shop"]);
    let made = run(data.path(), &["keys", "create", "x", "--project", "shop"]);
    let key = last_word(made.lines().last().unwrap());
    let options = ["--api-key", &key, "--listen", "127.0.0.1:0"];
    let error = fails(command(data.path(), &options), 1);
    assert!(
        error.contains("--api-key") && error.contains("another project"),
        "{error}"
    );
    assert!(!error.contains(&key), "{error}");
}

#[tokio::test]
async fn another_key_at_start_leaves_created_keys_alone() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    let made = run(data.path(), &["keys", "create", "web"]);
    let key = last_word(made.lines().last().unwrap());
    let server = Process::start(data.path(), &["--api-key", "fg_a_new_key"], 2);
    assert_eq!(server.get("/api/v1/rules", &key).await.0, 200);
    assert_eq!(server.get("/api/v1/rules", "fg_a_new_key").await.0, 200);
    assert_eq!(server.get("/api/v1/rules", KEY).await.0, 401);
}
