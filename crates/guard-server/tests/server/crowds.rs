//! More clients than there are places, and most of them misbehave.

use std::time::Duration;

use guard_server::http::connections::ConnectionLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{KEY, Server, Setup};

const OPEN: usize = 8;
/// Far longer than anything here takes. Only a hang reaches it.
const GENEROUS: Duration = Duration::from_secs(60);

async fn small_server(held: usize) -> Server {
    let connections = ConnectionLimits {
        open: OPEN,
        held,
        ..ConnectionLimits::default()
    };
    let setup = Setup {
        connections,
        ..Setup::default()
    };
    setup.start().await
}

/// Opens connections that send `said` and read `reads` bytes of the answer.
async fn crowd(server: &Server, said: &str, reads: usize) -> Vec<TcpStream> {
    let address = server.origin.strip_prefix("http://").unwrap();
    let mut crowd = Vec::new();
    for _ in 0..3 * OPEN {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = vec![0; reads];
        stream.read_exact(&mut answer).await.unwrap();
        crowd.push(stream);
    }
    crowd
}

async fn answers_health(server: &Server) {
    let answer = tokio::time::timeout(GENEROUS, server.get("/health").send()).await;
    let answer = answer.expect("the server answers").unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn clients_that_pipeline_and_never_read_block_nobody() {
    let server = small_server(0).await;
    let pipelined = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(5_000);
    let address = server.origin.strip_prefix("http://").unwrap();
    let mut crowd = Vec::new();
    for _ in 0..3 * OPEN {
        let stream = TcpStream::connect(address).await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let pipelined = pipelined.clone();
        // The server stops reading from these clients at some point.
        tokio::spawn(async move { writer.write_all(pipelined.as_bytes()).await });
        crowd.push(reader);
    }
    answers_health(&server).await;
}

#[tokio::test]
async fn clients_that_send_heads_slowly_block_nobody() {
    let server = small_server(0).await;
    let mut crowd = crowd(&server, "GET /health HTTP/1.1\r\n", 0).await;
    let dripping = tokio::spawn(async move {
        loop {
            for stream in &mut crowd {
                // Writes on closed connections fail.
                let _ = stream.write_all(b"A: b\r\n").await;
            }
            tokio::task::yield_now().await;
        }
    });
    answers_health(&server).await;
    dripping.abort();
}

#[tokio::test]
async fn clients_that_send_bodies_slowly_block_nobody() {
    let server = small_server(0).await;
    let said = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 9\r\n\r\n{{"
    );
    let _crowd = crowd(&server, &said, 0).await;
    answers_health(&server).await;
}

#[tokio::test]
async fn idle_clients_block_nobody() {
    let server = small_server(0).await;
    let _crowd = crowd(&server, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 15).await;
    answers_health(&server).await;
}

#[tokio::test]
async fn requests_that_wait_for_rules_block_nobody_and_more_are_answered_at_once() {
    let server = small_server(2 * OPEN).await;
    let path = "/api/v1/rules";
    let first = server.get(path).send().await.unwrap();
    let tag = first.headers()["ETag"].to_str().unwrap().to_owned();
    let wait = || {
        let request = server.get(path).header("If-None-Match", &tag);
        request.header("Prefer", "wait=60").send()
    };
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..2 * OPEN {
        held.spawn(wait());
    }
    let mut more = tokio::task::JoinSet::new();
    let at_once = loop {
        // Its idle connection may be closed for another one. Or it is held itself, because not all
        // others are held: the connection of one of them was closed. Another one takes that place.
        match tokio::time::timeout(Duration::from_secs(1), wait()).await {
            Ok(Ok(answer)) => break answer,
            Ok(Err(_)) => {}
            Err(_) => {
                more.spawn(wait());
            }
        }
    };
    assert_eq!(at_once.status(), 304);
    assert!(!at_once.headers().contains_key("Preference-Applied"));
    answers_health(&server).await;
    server.state.stop_waiting();
    let held: Vec<_> = held.join_all().await.into_iter().flatten().collect();
    assert!(held.iter().all(|answer| answer.status() == 304));
    let waited = |answer: &reqwest::Response| {
        let applied = answer.headers().get("Preference-Applied");
        applied.is_some_and(|applied| applied == "wait=55")
    };
    // A request of the loop above that was held took the place of at most one of them.
    let answered_at_once = held.iter().filter(|answer| !waited(answer)).count();
    assert!(answered_at_once <= more.len() && answered_at_once < held.len());
}
