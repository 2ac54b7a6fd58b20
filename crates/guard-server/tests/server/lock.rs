//! Only one server may use a database.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::process::{Process, command, fails};
use crate::support::{KEY, TOKEN};

/// Tries to start a second server, with a key that would replace the first one's.
fn second(data: &Path) -> String {
    let options = [
        "--api-key",
        "fg_another_key",
        "--admin-token",
        "gt_another_token",
        "--listen",
        "127.0.0.1:0",
    ];
    fails(command(data, &options), 1)
}

#[tokio::test]
async fn a_second_server_is_refused_and_replaces_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut first = Process::with_key(data.path());
    let error = second(data.path());
    let holder = format!("process {}", first.id());
    let database = data.path().canonicalize().unwrap().join("guard.db");
    assert!(error.contains(&holder), "{error}");
    assert!(error.contains(database.to_str().unwrap()), "{error}");
    assert_eq!(
        first.get("/api/v1/projects/default/summary", TOKEN).await.0,
        200
    );
    assert_eq!(
        first
            .get("/api/v1/projects/default/summary", "gt_another_token")
            .await
            .0,
        401
    );

    let mut ban = command(data.path(), &["rules", "ban", "192.0.2.7"]);
    assert!(ban.status().unwrap().success(), "commands work beside it");

    first.signal("-TERM");
    assert_eq!(first.wait(), Some(0));
    let next = Process::with_key(data.path());
    assert_eq!(next.get("/api/v1/rules", KEY).await.1["version"], 1);
}

#[tokio::test]
async fn a_database_has_one_lock_under_all_its_names() {
    let data = tempfile::tempdir().unwrap();
    let _first = Process::with_key(data.path());
    let other = tempfile::tempdir().unwrap();
    let link = other.path().join("link");
    symlink(data.path(), &link).unwrap();
    let holder = "another guard-server (process ";
    assert!(second(&link).contains(holder));

    let url = format!("sqlite://{}", link.join("guard.db").display());
    let error = fails(command(other.path(), &["--database-url", &url]), 1);
    assert!(error.contains(holder), "{error}");
}

#[tokio::test]
async fn a_killed_server_leaves_no_lock_behind() {
    let data = tempfile::tempdir().unwrap();
    Process::with_key(data.path()).kill();
    assert!(data.path().join("guard.db.lock").exists());
    let next = Process::with_key(data.path());
    assert_eq!(
        next.get("/api/v1/projects/default/summary", TOKEN).await.0,
        200
    );
}

#[test]
fn an_unwritable_lock_file_is_reported_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("guard.db.lock");
    let _socket = UnixListener::bind(path).unwrap();
    let error = fails(command(data.path(), &[]), 1);
    assert!(
        error.contains("cannot write") && error.contains("guard.db.lock"),
        "{error}"
    );
}
