//! The real binary: how it starts, how it stops, and what it stores.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rusqlite::Connection;
use serde_json::Value;

use crate::support::{ALWAYS, KEY, P, TOKEN, batch, client, event, events_of, read};

/// A running binary. It is killed when the test ends.
pub(crate) struct Process {
    child: Child,
    pub(crate) origin: String,
    /// What it printed besides.
    rest: Vec<String>,
}

pub(crate) fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guard-server"));
    command.env_clear().arg("--data-dir").arg(data).args(args);
    command
}

impl Process {
    /// What it printed after the first line.
    pub(crate) fn printed(&self) -> &[String] {
        &self.rest
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the process. Returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Kills the process, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it on a free port, and reads until it has printed `lines` lines.
    pub(crate) fn start(data: &Path, args: &[&str], lines: usize) -> Self {
        Self::run(command(data, args), lines)
    }

    pub(crate) fn run(mut command: Command, lines: usize) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut rest: Vec<_> = stdout.lines().take(lines).map(Result::unwrap).collect();
        let first = rest.remove(0);
        let origin = first.strip_prefix("guard-server listening on ").unwrap();
        Self {
            origin: origin.to_owned(),
            child,
            rest,
        }
    }

    pub(crate) fn with_key(data: &Path) -> Self {
        Self::start(data, &["--api-key", KEY, "--admin-token", TOKEN], 2)
    }

    /// Asks with the key of an agent, or with a token.
    pub(crate) async fn get(&self, path: &str, key: &str) -> (u16, Value) {
        let request = client().get(format!("{}{path}", self.origin));
        let request = if key.starts_with("gt_") {
            request.bearer_auth(key)
        } else {
            request.header("X-API-Key", key)
        };
        read(request.send().await.unwrap()).await
    }

    /// Whether the server acknowledged the batch.
    pub(crate) async fn post(&self, body: String) -> bool {
        let request = client().post(format!("{}/api/v1/events", self.origin));
        let request = request.header("X-API-Key", KEY).body(body);
        matches!(request.send().await, Ok(response) if response.status() == 200)
    }

    /// The highest memory use of the process.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.unwrap().trim().split(' ').next();
        number.unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn acknowledged_records_are_stored_once_after_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..4 {
        let mut server = Process::with_key(data.path());
        let (_, summary) = server.get("/api/v1/projects/default/summary", TOKEN).await;
        assert_eq!(summary["events"]["total"], acknowledged);
        for n in 0..5 {
            let events = [event(&format!("{round}-{n}")), event("always the same")];
            assert!(server.post(batch("b", &events, &[])).await);
        }
        acknowledged += if round == 0 { 6 } else { 5 };
        server.child.kill().unwrap();
        server.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_requests_loses_no_acknowledged_record() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::with_key(data.path());
    let url = format!("{}/api/v1/events", server.origin);
    let (acknowledge, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (url, acknowledge) = (url.clone(), acknowledge.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    let key = format!("{sender}-{n}");
                    let request = client().post(&url).header("X-API-Key", KEY);
                    match request.body(batch("b", &[event(&key)], &[])).send().await {
                        Ok(response) if response.status() == 200 => acknowledge.send(key).unwrap(),
                        _ => break,
                    }
                }
            })
        })
        .collect();
    drop(acknowledge);
    let mut keys = Vec::new();
    for _ in 0..20 {
        keys.push(acknowledged.recv().await.unwrap());
    }
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    for sender in senders {
        sender.await.unwrap();
    }
    while let Some(key) = acknowledged.recv().await {
        keys.push(key);
    }
    let server = Process::with_key(data.path());
    let (_, stored) = server
        .get(&format!("{P}/events?limit=1000&{ALWAYS}"), TOKEN)
        .await;
    let stored = events_of(&stored);
    for key in keys {
        assert!(
            stored.iter().any(|event| event["idempotency_key"] == key),
            "{key}"
        );
    }
}

#[tokio::test]
async fn the_first_start_prints_a_key_and_later_ones_do_not() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::start(data.path(), &[], 3);
    let key = server.rest[1].rsplit(' ').next().unwrap().to_owned();
    assert!(key.starts_with("fg_"), "{:?}", server.rest);
    assert_eq!(server.get("/api/v1/rules", &key).await.0, 200);
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));

    let mut child = command(data.path(), &["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut printed = String::new();
    stdout.read_line(&mut printed).unwrap();
    let ended = Command::new("kill").arg(child.id().to_string()).status();
    assert!(ended.unwrap().success());
    stdout.read_to_string(&mut printed).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(
        printed.contains("listening") && !printed.contains("fg_"),
        "{printed}"
    );
}

#[tokio::test]
async fn a_new_key_replaces_the_old_one() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    let server = Process::start(data.path(), &["--api-key", "fg_a_new_key"], 2);
    assert_eq!(server.get("/api/v1/rules", "fg_a_new_key").await.0, 200);
    assert_eq!(server.get("/api/v1/rules", KEY).await.0, 401);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_data() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("guard-data");
    let _server = Process::with_key(&data);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in data.read_dir().unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn only_the_owner_can_read_a_database_named_by_a_uri() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("guard-data");
    let url = format!("sqlite://file:{}", data.join("guard.db").display());
    let arguments = ["--api-key", KEY, "--database-url", &url];
    let _server = Process::start(parent.path(), &arguments, 2);
    let files = data.read_dir().unwrap();
    let modes = files.map(|file| {
        let path = file.unwrap().path();
        let mode = path.metadata().unwrap().permissions().mode();
        (path.file_name().unwrap().to_owned(), mode & 0o777)
    });
    let expected = [
        "guard.db",
        "guard.db-headroom",
        "guard.db-shm",
        "guard.db-wal",
        "guard.db.lock",
    ];
    assert_eq!(
        modes.collect::<BTreeMap<_, _>>(),
        expected.map(|name| (name.into(), 0o600)).into()
    );
}

#[test]
fn a_shutdown_finishes_the_request_in_flight() {
    for signal in ["-TERM", "-INT"] {
        let data = tempfile::tempdir().unwrap();
        let mut server = Process::with_key(data.path());
        let address = server.origin.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let body = batch("b", &[event("in flight")], &[]);
        let (head, tail) = body.split_at(20);
        // The server asks for the body once it handles the request.
        write!(
            stream,
            "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nExpect: 100-continue\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .unwrap();
        let mut answer = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        server.signal(signal);
        // New connections are refused now.
        while TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
        stream.write_all(tail.as_bytes()).unwrap();
        let mut rest = String::new();
        answer.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("HTTP/1.1 200 OK"), "{rest}");
        assert_eq!(server.wait(), Some(0));
    }
}

#[tokio::test]
async fn a_stopped_server_leaves_one_file() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::with_key(data.path());
    assert!(server.post(batch("b", &[event("a")], &[])).await);
    assert_eq!(
        server
            .get("/api/v1/projects/default/summary", TOKEN)
            .await
            .0,
        200
    );
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    let files = data.path().read_dir().unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["guard.db"]);
}

#[tokio::test]
async fn an_unwritable_log_stops_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut command = command(data.path(), &["--api-key", KEY]);
    command.stderr(File::options().write(true).open("/dev/full").unwrap());
    let mut server = Process::run(command, 2);
    let database = Connection::open(data.path().join("guard.db")).unwrap();
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(FAIL, 'no'); END";
    database.execute_batch(refuse).unwrap();
    // The writer thread logs the failure.
    assert!(!server.post(batch("b", &[event("a")], &[])).await);
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    assert!(server.post(batch("b", &[event("a")], &[])).await);
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_server_with_a_closed_log_pipe_stops_in_order() {
    let data = tempfile::tempdir().unwrap();
    let mut command = command(data.path(), &["--api-key", KEY]);
    command.stderr(Stdio::piped());
    let mut server = Process::run(command, 2);
    drop(server.child.stderr.take());
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn an_unwritable_output_is_reported_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    let _server = Process::with_key(data.path());
    let mut command = command(data.path(), &["rules", "show"]);
    command.stdout(File::options().write(true).open("/dev/full").unwrap());
    let stderr = fails(command, 1);
    assert!(stderr.contains("No space left"), "{stderr}");
}

pub(crate) fn fails(mut command: Command, code: i32) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn a_port_in_use_is_reported_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let address = server.origin.strip_prefix("http://").unwrap();
    let other = tempfile::tempdir().unwrap();
    let stderr = fails(command(other.path(), &["--listen", address]), 1);
    assert!(
        stderr.contains(address) && stderr.contains("--listen"),
        "{stderr}"
    );
}

#[test]
fn a_directory_that_cannot_be_created_is_reported_in_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let stderr = fails(command(&file.path().join("data"), &[]), 1);
    assert!(
        stderr.contains("cannot write") && stderr.contains("--data-dir"),
        "{stderr}"
    );
}

#[test]
fn a_file_that_is_not_a_database_is_reported_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("guard.db"), "no database, ".repeat(100)).unwrap();
    let stderr = fails(command(data.path(), &[]), 1);
    assert!(stderr.contains("cannot open the database"), "{stderr}");
}

#[test]
fn bad_keys_are_reported_in_one_line_without_the_key() {
    let data = tempfile::tempdir().unwrap();
    for option in ["--api-key", "--encryption-key"] {
        let stderr = fails(command(data.path(), &[option, "hush"]), 2);
        assert!(
            stderr.contains(option) && !stderr.contains("hush"),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn rules_can_be_set_while_a_server_runs() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("rules.json");
    std::fs::write(&file, r#"{"version": 7, "ip_blacklist": ["192.0.2.7"]}"#).unwrap();
    let set = || command(data.path(), &["rules", "set", file.to_str().unwrap()]);
    let stderr = fails(set(), 1);
    assert!(stderr.contains("start guard-server once first"), "{stderr}");
    assert!(!data.path().join("guard.db").exists());

    let server = Process::with_key(data.path());
    assert!(set().output().unwrap().status.success());
    let (_, rules) = server.get("/api/v1/rules", KEY).await;
    assert_eq!(rules["version"], 7);
    let stderr = fails(set(), 1);
    assert!(stderr.contains("give 8 or more"), "{stderr}");
}
