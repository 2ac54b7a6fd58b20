//! Backup, restore and doctor, with the real binary.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;

use crate::process::{Process, command};
use crate::support::{KEY, TOKEN, batch, client, event};

fn run(data: &Path, args: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(data, args).output().unwrap();
    let text = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code(), text.concat())
}

fn stored(database: &Path) -> u64 {
    let connection = Connection::open(database).unwrap();
    let counted = "SELECT sum(n) FROM tallies WHERE outcome = 'stored'";
    let n: Option<i64> = connection.query_row(counted, [], |row| row.get(0)).unwrap();
    u64::try_from(n.unwrap_or(0)).unwrap()
}

/// A data directory whose server stored one event and has ended.
async fn with_one_event() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::with_key(data.path());
    assert!(server.post(batch("b", &[event("one")], &[])).await);
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_while_writing_has_every_record_acknowledged_before_it_began() {
    let data = tempfile::tempdir().unwrap();
    let server = Arc::new(Process::with_key(data.path()));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let (sender, counter, over) = (
        Arc::clone(&server),
        Arc::clone(&acknowledged),
        Arc::clone(&is_over),
    );
    let sending = tokio::spawn(async move {
        let url = format!("{}/api/v1/events", sender.origin);
        for n in 0.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let events: Vec<_> = (0..50).map(|m| event(&format!("{n}-{m}"))).collect();
            let request = client().post(&url).header("X-API-Key", KEY);
            let answer = request.body(batch("b", &events, &[])).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            counter.fetch_add(50, Ordering::Relaxed);
        }
    });
    while acknowledged.load(Ordering::Relaxed) < 500 {
        tokio::task::yield_now().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut made = Vec::new();
    // Several, because each one may begin between two writes.
    for n in 0..5 {
        let before = acknowledged.load(Ordering::Relaxed);
        let file = folder.path().join(format!("guard.backup-{n}"));
        let (path, args) = (data.path().to_owned(), file.to_str().unwrap().to_owned());
        let backing_up = tokio::task::spawn_blocking(move || run(&path, &["backup", &args]));
        let (code, text) = backing_up.await.unwrap();
        assert_eq!(code, Some(0), "{text}");
        made.push((file, before, acknowledged.load(Ordering::Relaxed) + 50));
    }
    let (file, before, after) = made.pop().unwrap();
    is_over.store(true, Ordering::Relaxed);
    sending.await.unwrap();

    let restored = tempfile::tempdir().unwrap();
    let (code, text) = run(restored.path(), &["restore", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    let server = Process::start(restored.path(), &[], 2);
    let found = stored(&restored.path().join("guard.db"));
    assert!(
        before <= found && found <= after,
        "{before} <= {found} <= {after}"
    );
    // The API key is part of the backup.
    assert!(server.post(batch("b", &[event("later")], &[])).await);
}

#[tokio::test]
async fn a_backup_is_one_file_for_its_owner_and_replaces_none() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = with_one_event().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guard.backup");
    assert_eq!(
        run(data.path(), &["backup", file.to_str().unwrap()]).0,
        Some(0)
    );
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&file).unwrap();
    let (code, text) = run(data.path(), &["backup", file.to_str().unwrap()]);
    assert!(
        code == Some(1) && text.contains("is there already"),
        "{text}"
    );
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_a_restored_backup_works() {
    let data = with_one_event().await;
    let file = data.path().join("guard.backup");
    let backup = file.to_str().unwrap();
    assert_eq!(run(data.path(), &["backup", backup]).0, Some(0));
    let database = data.path().join("guard.db");
    let mut bytes = fs::read(&database).unwrap();
    let len = bytes.len();
    bytes[4096..len.min(20 * 4096)].fill(0xa5);
    fs::write(&database, bytes).unwrap();

    let (code, text) = run(data.path(), &["--listen", "127.0.0.1:0"]);
    assert!(
        code == Some(1) && text.contains("damaged") && text.contains("restore a backup"),
        "{text}"
    );
    let (code, text) = run(data.path(), &["doctor"]);
    assert!(code == Some(1) && text.contains("fail  database"), "{text}");
    let other = data.path().join("other.backup");
    let (code, _) = run(data.path(), &["backup", other.to_str().unwrap()]);
    assert!(code == Some(1) && !other.exists());
    let (code, text) = run(data.path(), &["restore", backup]);
    assert!(code == Some(1) && text.contains("--replace"), "{text}");

    let (code, text) = run(data.path(), &["restore", backup, "--replace"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("the database before is now "), "{text}");
    let server = Process::start(data.path(), &[], 2);
    assert_eq!(stored(&database), 1);
    assert!(server.post(batch("b", &[event("two")], &[])).await);
}

#[tokio::test]
async fn nothing_is_restored_while_a_server_runs_or_from_a_bad_file() {
    let data = with_one_event().await;
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    assert_eq!(
        run(data.path(), &["backup", good.to_str().unwrap()]).0,
        Some(0)
    );
    let before = stored(&data.path().join("guard.db"));
    for (name, content) in [
        ("text", b"no database".to_vec()),
        ("empty", Vec::new()),
        ("damaged", {
            let mut bytes = fs::read(&good).unwrap();
            let len = bytes.len();
            bytes[4096..len.min(20 * 4096)].fill(0xa5);
            bytes
        }),
    ] {
        let bad = folder.path().join(name);
        fs::write(&bad, content).unwrap();
        let (code, text) = run(
            data.path(),
            &["restore", bad.to_str().unwrap(), "--replace"],
        );
        assert_eq!(code, Some(1), "{name}: {text}");
        assert!(!data.path().join("guard.db-restoring").exists(), "{name}");
        assert_eq!(stored(&data.path().join("guard.db")), before, "{name}");
    }
    let foreign = folder.path().join("foreign");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    let (code, text) = run(
        data.path(),
        &["restore", foreign.to_str().unwrap(), "--replace"],
    );
    assert!(
        code == Some(1) && text.contains("not one of guard-server"),
        "{text}"
    );

    let _server = Process::with_key(data.path());
    let (code, text) = run(
        data.path(),
        &["restore", good.to_str().unwrap(), "--replace"],
    );
    assert!(
        code == Some(1) && text.contains("another guard-server (process "),
        "{text}"
    );
}

#[tokio::test]
async fn doctor_reports_a_healthy_server_and_names_what_is_wrong() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = with_one_event().await;
    let (code, text) = run(data.path(), &["doctor"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ok    database       valid"), "{text}");
    let server = Process::with_key(data.path());
    let (code, text) = run(data.path(), &["doctor"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(&format!("runs, process {}", server.id())),
        "{text}"
    );

    let through = ["--admin-token", TOKEN, "doctor", "--url", &server.origin];
    let (code, text) = run(data.path(), &through);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("ok    address        the server sees 127.0.0.1, and no proxy names another"),
        "{text}"
    );
    let (code, text) = run(data.path(), &["doctor", "--url", &server.origin]);
    assert!(
        code == Some(1) && text.contains("fail  url            no token"),
        "{text}"
    );

    let database = data.path().join("guard.db");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, text) = run(data.path(), &["doctor"]);
    assert!(
        code == Some(0) && text.contains("warn  database file"),
        "{text}"
    );
    let password = data.path().join("mail-password");
    fs::write(&password, "hush").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    let mail = [
        "--mail-host=mail.example.com",
        "--mail-from=guard@example.com",
        "--mail-user=guard",
        &format!("--mail-password-file={}", password.display()),
        "doctor",
    ];
    let (code, text) = run(data.path(), &mail);
    assert!(
        code == Some(0) && text.contains("warn  mail password"),
        "{text}"
    );
    let missing = [
        "--tls-cert",
        "/nonexistent",
        "--tls-key",
        "/nonexistent",
        "doctor",
    ];
    let (code, text) = run(data.path(), &missing);
    assert!(
        code == Some(1) && text.contains("fail  certificate"),
        "{text}"
    );
}
