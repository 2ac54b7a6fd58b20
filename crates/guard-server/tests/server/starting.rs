//! A server that converts the database of an older one: it answers, and goes on after a kill.

use std::path::Path;
use std::process::{Child, Stdio};

use reqwest::StatusCode;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, command};
use crate::support::{ALWAYS, KEY, P, TOKEN, client, read};

/// Enough that moving them takes longer than a few requests.
const RECORDS: i64 = 60_000;

/// The data of a server that kept each event in a row with its body.
fn old_data() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::with_key(data.path());
    server.signal("-TERM");
    server.wait();
    let connection = database(data.path());
    let rows = format!(
        r#"CREATE TABLE old_events (id INTEGER PRIMARY KEY, project_id INTEGER NOT NULL,
               idempotency_key TEXT, timestamp INTEGER NOT NULL, received_at INTEGER NOT NULL,
               event_type TEXT NOT NULL, ip TEXT, endpoint TEXT, body TEXT NOT NULL) STRICT;
           WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {RECORDS})
           INSERT INTO old_events SELECT i, 1, 'key ' || i, (unixepoch() - i) * 1000000, i, 'x',
               '192.0.2.1', '/', '{{"event_type":"x","reason":"number ' || i || '"}}' FROM n;"#
    );
    connection.execute_batch(&rows).unwrap();
    data
}

fn database(data: &Path) -> Connection {
    Connection::open(data.join("guard.db")).unwrap()
}

fn count(data: &Path, table: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {table}");
    database(data)
        .query_row(&query, [], |row| row.get(0))
        .unwrap()
}

/// A server at a known address that is killed when the test ends.
struct Starting {
    child: Child,
    origin: String,
}

impl Starting {
    fn start(data: &Path) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let options = [
            "--listen",
            &address,
            "--api-key",
            KEY,
            "--admin-token",
            TOKEN,
        ];
        let mut command = command(data, &options);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let origin = format!("http://{address}");
        Self { child, origin }
    }

    /// The status and the body of `path`, once the server listens.
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        loop {
            let request = client().get(format!("{}{path}", self.origin));
            if let Ok(answer) = request.bearer_auth(TOKEN).send().await {
                let status = answer.status();
                let is_refused = status == StatusCode::SERVICE_UNAVAILABLE;
                assert_eq!(answer.headers().contains_key("Retry-After"), is_refused);
                return (status, read(answer).await.1);
            }
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_server_that_converts_its_database_answers_that_it_is_not_ready_and_goes_on_after_kills()
{
    let data = old_data();
    for kills in 0.. {
        let server = Starting::start(data.path());
        let (status, answer) = loop {
            let (status, answer) = server.get("/ready").await;
            let detail = answer["detail"].as_str().unwrap_or_default();
            if !detail.contains("checking the database") {
                break (status, answer);
            }
        };
        if status == StatusCode::OK {
            assert!(kills > 0, "nothing was seen of a long start");
            break;
        }
        assert_eq!(answer["code"], "starting");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("moving its events"), "{detail}");
        assert_eq!(server.get("/health").await.0, StatusCode::OK);
        let refused = server.get("/api/v1/rules").await;
        assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
        if kills == 2 {
            // This one may finish.
            while server.get("/ready").await.0 != StatusCode::OK {}
        }
    }
    assert_eq!(count(data.path(), "events"), RECORDS);
    let server = Starting::start(data.path());
    let (_, top) = server
        .get(&format!("{P}/events/top?by=event_type&{ALWAYS}"))
        .await;
    assert_eq!(top["items"][0]["count"], RECORDS);
}
