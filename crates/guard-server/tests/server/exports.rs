//! Exports to clients that read slowly, or stop.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use guard_server::Limits;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{ALWAYS, P, Server, Setup, TOKEN, batch, noise};

const MIB: usize = 1 << 20;
/// Far more than a connection buffers.
const BATCHES: u32 = 60;
/// Far longer than anything here takes. Only a hang reaches it.
const GENEROUS: Duration = Duration::from_secs(60);
/// The events of a batch.
const EVENTS: u32 = 4;

/// A server with many events, a second apart.
async fn filled() -> Server {
    let setup = Setup {
        limits: Limits {
            encoded: MIB,
            decoded: MIB,
            ..Limits::default()
        },
        is_maintained: false,
        ..Setup::default()
    };
    let server = setup.start().await;
    let reason = noise(1, MIB / 8);
    for number in 0..BATCHES {
        send(&server, number, &reason).await;
    }
    server
}

/// Stores a batch of events.
async fn send(server: &Server, number: u32, reason: &str) {
    let events = (number * EVENTS..(number + 1) * EVENTS).map(|second| {
        let at = Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_secs(second.into()));
        json!({
            "idempotency_key": second.to_string(), "timestamp": at.unwrap().to_string(),
            "event_type": "x", "reason": reason,
        })
    });
    let events: Vec<_> = events.collect();
    server.take("/api/v1/events", batch("", &events, &[])).await;
}

fn path() -> String {
    format!("{P}/events/export?format=ndjson&{ALWAYS}")
}

#[tokio::test]
async fn the_log_stays_small_while_an_export_is_read_slowly_and_records_come_in() {
    let server = filled().await;
    let mut export = server.get(&path()).send().await.unwrap();
    let mut text = export.chunk().await.unwrap().unwrap().to_vec();

    let reason = noise(2, MIB / 8);
    let log = server.store_path("guard.db-wal");
    let mut largest = 0;
    for number in BATCHES..3 * BATCHES {
        send(&server, number, &reason).await;
        if number % 4 == 0 {
            text.extend(export.chunk().await.unwrap().unwrap());
        }
        largest = largest.max(log.metadata().unwrap().len());
    }
    // It is moved into the file every 16 MiB. A read transaction would keep all that is written
    // meanwhile, which is more than 32 MiB.
    assert!(largest < 24 * MIB as u64, "{largest}");

    while let Some(chunk) = export.chunk().await.unwrap() {
        text.extend(chunk);
    }
    let text = String::from_utf8(text).unwrap();
    let exported: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"]["idempotency_key"].take())
        .collect();
    let all: Vec<_> = (0..BATCHES * EVENTS)
        .rev()
        .map(|n| json!(n.to_string()))
        .collect();
    assert_eq!(exported, all);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_export() {
    let server = filled().await;
    let used = Arc::strong_count(&server.state);
    let address = server.origin.strip_prefix("http://").unwrap().to_owned();
    let leave = move || {
        let mut client = TcpStream::connect(address).unwrap();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
            path()
        );
        client.write_all(request.as_bytes()).unwrap();
        let mut head = [0; 4096];
        client.read_exact(&mut head).unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200"));
    };
    tokio::task::spawn_blocking(leave).await.unwrap();
    // What makes the answer holds the server's state.
    let ended = async {
        while Arc::strong_count(&server.state) > used {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(GENEROUS, ended).await.unwrap();
}
