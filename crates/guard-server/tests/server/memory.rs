//! How much memory clients can make the server use.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use guard_server::Limits;
use serde_json::{Value, json};

use crate::process::Process;
use crate::support::{
    ALWAYS, AT, KEY, P, Server, Setup, TOKEN, batch, client, event, events_of, gzip, read, refused,
};

const MIB: usize = 1 << 20;
/// Far longer than anything here takes. Only a hang reaches it.
const GENEROUS: Duration = Duration::from_secs(60);

async fn limited(limits: Limits) -> Server {
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    setup.start().await
}

/// Opens a connection that sends `said` and reads nothing.
fn says(server: &str, said: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.strip_prefix("http://").unwrap()).unwrap();
    // The server stops reading at some point.
    stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let _ = stream.write_all(said);
    stream
}

/// A batch of `len` bytes without its last byte.
fn unfinished(len: usize) -> Vec<u8> {
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {len}\r\n\r\n"
    );
    let mut said = head.into_bytes();
    said.resize(said.len() + len - 1, b' ');
    said
}

#[tokio::test]
async fn a_status_report_is_limited_before_and_after_decompression() {
    let server = limited(Limits {
        status: 2000,
        ..Limits::default()
    })
    .await;
    let report = |n: usize| json!({ "status": "healthy", "n": vec![0; n] }).to_string();
    let fits = server.post("/api/v1/status", report(900));
    assert_eq!(fits.send().await.unwrap().status(), 200);
    let expected = (413, "Payload exceeds 2000 bytes".to_owned());
    let plain = server.post("/api/v1/status", report(1000));
    assert_eq!(refused(plain).await, expected);
    let zipped = server.post("/api/v1/status", gzip(report(1_000_000).as_bytes()));
    let zipped = zipped.header("Content-Encoding", "gzip");
    assert_eq!(refused(zipped).await, expected);
}

#[tokio::test]
async fn a_batch_of_too_many_records_is_refused_before_parsing() {
    let server = limited(Limits {
        records: 1000,
        ..Limits::default()
    })
    .await;
    let many = json!({ "events": vec![json!(0); 2000], "batch_id": "b" }).to_string();
    let (status, detail) = refused(server.post("/api/v1/events", many)).await;
    assert_eq!(status, 413);
    assert!(detail.contains("1000 records"), "{detail}");
    let mut long = event("a");
    long["metadata"] = json!(vec![vec![0; 10]; 1000]);
    let answer = server
        .take("/api/v1/events", batch("1", &[long], &[]))
        .await;
    assert_eq!(answer["events_processed"], 1);
    let events: Vec<_> = (0..1000).map(|n| event(&n.to_string())).collect();
    let answer = server
        .take("/api/v1/events", batch("2", &events, &[]))
        .await;
    assert_eq!(answer["events_processed"], 1000);
}

#[tokio::test]
async fn a_rules_document_of_too_many_values_is_refused_before_parsing() {
    let server = Server::start().await;
    let body = json!({ "document": { "ip_blacklist": vec![0; 200_000] } }).to_string();
    let request = server
        .ask(
            reqwest::Method::PUT,
            "/api/v1/projects/default/rules/published",
        )
        .body(body);
    let (status, detail) = refused(request).await;
    assert_eq!(status, 413);
    assert!(detail.contains("values"), "{detail}");
}

#[tokio::test]
async fn small_bodies_are_accepted_while_unfinished_bodies_use_the_memory() {
    let server = limited(Limits {
        encoded: MIB,
        decoded: MIB,
        memory: 4 * MIB,
        ..Limits::default()
    })
    .await;
    let origin = server.origin.clone();
    let stalled = move || -> Vec<_> { (0..8).map(|_| says(&origin, &unfinished(MIB))).collect() };
    let _stalled = tokio::task::spawn_blocking(stalled).await.unwrap();
    let mut large = event("large");
    large["reason"] = json!("x".repeat(MIB / 2));
    let large = batch("1", &[large], &[]);
    let refused = async {
        loop {
            let answer = server.post("/api/v1/events", large.clone()).send();
            let answer = answer.await.unwrap();
            // The server has not read all of the others yet.
            if answer.status() != 200 {
                break answer;
            }
        }
    };
    let answer = tokio::time::timeout(GENEROUS, refused).await.unwrap();
    assert_eq!(answer.headers()["Retry-After"], "2");
    let (status, answer) = read(answer).await;
    assert_eq!(status, 503, "{answer}");
    let answer = server
        .take("/api/v1/events", batch("2", &[event("a")], &[]))
        .await;
    assert_eq!(answer["events_processed"], 1);
}

#[test]
fn unfinished_bodies_use_no_more_memory_than_the_budget() {
    let data = tempfile::tempdir().unwrap();
    let limits = [
        "--max-body-bytes",
        "4194304",
        "--max-decoded-bytes",
        "4194304",
    ];
    let budget = [
        "--max-body-memory",
        "16777216",
        "--api-key",
        KEY,
        "--admin-token",
        TOKEN,
    ];
    let server = Process::start(data.path(), &[limits.as_slice(), &budget].concat(), 2);
    let said = unfinished(4 * MIB);
    let _stalled: Vec<_> = (0..40).map(|_| says(&server.origin, &said)).collect();
    let peak = server.peak_kib() / 1024;
    assert!(peak < 80, "{peak} MiB");
}

#[tokio::test]
async fn clients_that_do_not_read_a_large_list_use_little_memory_each() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let url = |path: &str| format!("{}{path}", server.origin);
    let events: Vec<_> = (0..500)
        .map(
            |n| json!({ "timestamp": AT, "event_type": "x", "n": n, "reason": "y".repeat(16_000) }),
        )
        .collect();
    let post = client()
        .post(url("/api/v1/events"))
        .header("X-API-Key", KEY);
    let taken = post.body(batch("b", &events, &[])).send().await.unwrap();
    assert_eq!(taken.status(), 200);
    let ask = format!(
        "GET {P}/events?limit=1000&{ALWAYS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let before = server.peak_kib();
    let unread: Vec<_> = (0..60)
        .map(|_| says(&server.origin, ask.as_bytes()))
        .collect();
    for stream in &unread {
        // The server is working on the list.
        stream.peek(&mut [0]).unwrap();
    }
    let (status, list) = server
        .get(&format!("{P}/events?limit=1000&{ALWAYS}"), TOKEN)
        .await;
    assert_eq!(status, 200);
    let listed = events_of(&list);
    assert!(listed.iter().rev().eq(events.iter()));
    assert_eq!(list["next"], Value::Null);
    let grown = (server.peak_kib() - before) / 1024;
    assert!(grown < 100, "{grown} MiB");
}
