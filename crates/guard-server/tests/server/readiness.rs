//! Whether the server can store records, and how it behaves when it cannot.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use reqwest::StatusCode;
use rusqlite::Connection;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use tempfile::TempDir;

use crate::logged::Logged;
use crate::process::{command, fails};
use crate::support::{Server, TOKEN, event, noise, read};

#[tokio::test]
async fn a_server_that_stores_records_is_ready() {
    let server = Server::start().await;
    let request = server.request(reqwest::Method::GET, "/ready");
    let (status, answer) = read(request.send().await.unwrap()).await;
    assert_eq!((status, answer), (200, json!({ "status": "ready" })));
}

/// Something that a test does to a file of the database.
type Act = fn(&Path);

/// Replaces a file with a copy of it.
fn replace(path: &Path) {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy).unwrap();
    fs::rename(&copy, path).unwrap();
}

#[tokio::test]
async fn missing_or_replaced_database_files_are_noticed_and_logged_once() {
    let actions: [Act; 2] = [|path| fs::remove_file(path).unwrap(), replace];
    for name in ["guard.db", "guard.db-wal", "guard.db-shm"] {
        for act in actions {
            let server = Logged::start();
            assert_eq!(server.post(&[event("a")]).await.status(), 200);
            server.becomes(StatusCode::OK).await;
            act(&server.path(name));
            server.takes_nothing().await;
            assert_eq!(server.logged("moved, removed or replaced"), 1, "{name}");
            assert_eq!(server.logged("ERROR"), 1, "{name}");
        }
    }
}

#[tokio::test]
async fn a_database_that_is_put_back_is_used_again() {
    let server = Logged::start();
    assert_eq!(server.post(&[event("a")]).await.status(), 200);
    fs::rename(server.path("guard.db"), server.path("away.db")).unwrap();
    server.takes_nothing().await;
    fs::rename(server.path("away.db"), server.path("guard.db")).unwrap();
    server.becomes(StatusCode::OK).await;
    assert_eq!(server.post(&[event("b")]).await.status(), 200);
    assert_eq!(server.logged("back in its place"), 1);
    let (_, summary) = server
        .process
        .get("/api/v1/projects/default/summary", TOKEN)
        .await;
    assert_eq!(summary["events"]["total"], 2);
}

#[tokio::test]
async fn a_restored_backup_gets_nothing_from_the_old_log() {
    let data = data().await;
    let backup = fs::read(data.path().join("guard.db")).unwrap();
    let mut server = Logged::start_in(data, "info");
    assert_eq!(server.post(&[event("b")]).await.status(), 200);
    fs::write(server.path("backup.db"), &backup).unwrap();
    fs::rename(server.path("backup.db"), server.path("guard.db")).unwrap();
    server.takes_nothing().await;
    server.process.signal("-TERM");
    assert_eq!(server.process.wait(), Some(0));
    assert!(!server.path("guard.db-wal").exists());
    let server = Logged::start_in(server.data, "info");
    let (_, summary) = server
        .process
        .get("/api/v1/projects/default/summary", TOKEN)
        .await;
    assert_eq!(summary["events"]["total"], 1);
}

fn limit_files(server: &Logged, bytes: Option<u64>) {
    let pid = Pid::from_raw(server.process.id().try_into().unwrap());
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_logged_once_and_its_end_once() {
    let server = Logged::start();
    assert_eq!(server.post(&[event("a")]).await.status(), 200);
    server.becomes(StatusCode::OK).await;
    let log = server.path("guard.db-wal").metadata().unwrap().len();
    // A small commit still fits; a large one does not.
    limit_files(&server, Some(log + 100_000));
    let mut large = event("b");
    large["reason"] = json!(noise(1, 400_000));
    for _ in 0..100 {
        assert_eq!(
            server.post(std::slice::from_ref(&large)).await.status(),
            503
        );
    }
    server.becomes(StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(server.status("/health").await, 200);
    // The machine may set its clock meanwhile, which is logged too.
    let warnings = server.logged("WARN") - server.logged("the clock was set");
    let logged = (server.logged("ERROR"), warnings);
    assert_eq!(logged, (1, 0), "{}", server.log());

    limit_files(&server, None);
    server.becomes(StatusCode::OK).await;
    assert_eq!(server.post(&[large]).await.status(), 200);
    assert_eq!(server.logged("writing works again"), 1);
    assert_eq!(server.logged("ERROR"), 1);
}

/// Overwrites all but the first page with garbage.
fn damage(path: &Path) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    let garbage = vec![0x5a; usize::try_from(len - 4096).unwrap()];
    file.write_all(&garbage).unwrap();
}

#[tokio::test]
async fn damage_to_the_database_at_runtime_is_noticed_and_logged_once() {
    let server = Logged::start();
    assert_eq!(server.post(&[event("a")]).await.status(), 200);
    let server = Logged::start_in(server.stop(), "info");
    damage(&server.path("guard.db"));
    server.becomes(StatusCode::SERVICE_UNAVAILABLE).await;
    server.takes_nothing().await;
    assert_eq!(server.logged("nothing is stored from now on"), 1);
}

/// The data directory of a stopped server with one event.
async fn data() -> TempDir {
    let server = Logged::start();
    assert_eq!(server.post(&[event("a")]).await.status(), 200);
    server.stop()
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_a_remedy_and_kept() {
    let empty = |path: &Path| drop(File::create(path).unwrap());
    let cut = |path: &Path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(10_000).unwrap();
    };
    let text = |path: &Path| fs::write(path, "no database, ".repeat(1000)).unwrap();
    let foreign = |path: &Path| {
        fs::remove_file(path).unwrap();
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
    };
    let actions: [(Act, &str); 5] = [
        (empty, "but empty: remove it"),
        (cut, "damaged"),
        (damage, "damaged"),
        (text, "damaged"),
        (foreign, "not one of guard-server"),
    ];
    for (act, remedy) in actions {
        let data = data().await;
        let path = data.path().join("guard.db");
        act(&path);
        let before = fs::read(&path).unwrap();
        let stderr = fails(command(data.path(), &["--listen", "127.0.0.1:0"]), 1);
        assert!(stderr.contains(remedy), "{stderr}");
        assert!(fs::read(&path).unwrap() == before, "{remedy}");
    }
}

#[tokio::test]
async fn a_missing_database_with_a_log_is_not_replaced() {
    let mut server = Logged::start();
    assert_eq!(server.post(&[event("a")]).await.status(), 200);
    server.process.signal("-KILL");
    server.process.wait();
    fs::remove_file(server.path("guard.db")).unwrap();
    let arguments = ["--listen", "127.0.0.1:0"];
    let stderr = fails(command(server.data.path(), &arguments), 1);
    assert!(stderr.contains("put the database back"), "{stderr}");
    assert!(!server.path("guard.db").exists());
}

#[tokio::test]
async fn an_interrupted_first_start_can_be_repeated() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("guard.db-new"), "half of it").unwrap();
    let server = Logged::start_in(data, "info");
    assert_eq!(server.post(&[event("a")]).await.status(), 200);
    assert!(!server.path("guard.db-new").exists());
}
