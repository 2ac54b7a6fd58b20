//! What the server measures about itself, and the limits on calls of the operator API.

use std::sync::Arc;

use guard_server::http::connections::{self, ConnectionLimits};
use guard_server::{Limits, metrics_router};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;

use crate::process::Process;
use crate::support::{KEY, P, Server, Setup, batch, client, event, metric};

/// The metrics of a server, as a scraper gets them.
async fn scraped(server: &Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let app = metrics_router(Arc::clone(&server.state));
    let never = std::future::pending();
    tokio::spawn(connections::serve(
        listener,
        app,
        ConnectionLimits::default(),
        never,
    ));
    let request = client()
        .get(url)
        .header("Accept", "application/openmetrics-text");
    let response = request.send().await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    response.text().await.unwrap()
}

/// The value of a sample, named with its labels.
fn value(text: &str, sample: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(sample));
    let found = found.unwrap_or_else(|| panic!("no {sample} in {text}"));
    found.trim().parse().unwrap()
}

#[tokio::test]
async fn records_requests_and_commits_are_counted() {
    // The background loop writes as well, perhaps just while the metrics are read.
    let setup = Setup {
        is_maintained: false,
        ..Setup::default()
    };
    let server = setup.start().await;
    let body = batch(
        "b",
        &[event("a"), event("b"), json!({ "event_type": 1 })],
        &[metric(1.0)],
    );
    server.take("/api/v1/events", body).await;
    server
        .take("/api/v1/events", batch("c", &[event("a")], &[]))
        .await;
    for path in ["/nothing", "/nothing/else", "/health?a=b"] {
        server.request(Method::GET, path).send().await.unwrap();
    }
    let text = scraped(&server).await;
    for (sample, expected) in [
        (
            r#"guard_server_records_total{kind="event",outcome="Stored"}"#,
            2.0,
        ),
        (
            r#"guard_server_records_total{kind="event",outcome="Duplicate"}"#,
            1.0,
        ),
        (
            r#"guard_server_records_total{kind="event",outcome="Invalid"}"#,
            1.0,
        ),
        (
            r#"guard_server_records_total{kind="metric",outcome="Stored"}"#,
            1.0,
        ),
        (
            r#"guard_server_requests_total{route="/api/v1/events",method="POST",status="200"}"#,
            2.0,
        ),
        (r#"guard_server_refusals_total{code="not_found"}"#, 2.0),
        (
            r#"guard_server_requests_total{route="none",method="GET",status="404"}"#,
            2.0,
        ),
        (
            r#"guard_server_requests_total{route="/health",method="GET",status="200"}"#,
            1.0,
        ),
        (
            r#"guard_server_request_duration_seconds_count{route="/api/v1/events"}"#,
            2.0,
        ),
        ("guard_server_failed_writes_total", 0.0),
        ("guard_server_waiting_writes", 0.0),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample}");
    }
    for sample in [
        "guard_server_commit_duration_seconds_count",
        "guard_server_commit_writes_sum",
        "guard_server_store_bytes",
        "guard_server_disk_free_bytes",
        "guard_server_resident_memory_bytes",
        "guard_server_open_files",
    ] {
        assert!(value(&text, sample) > 0.0, "{sample}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_flag_serves_the_metrics_at_another_address() {
    let data = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let server = Process::start(data.path(), &["--metrics-listen", &address], 3);
    let url = format!("http://{address}/metrics");
    let text = client()
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    // The connection that asks is not one of the server's.
    assert_eq!(value(&text, "guard_server_connections "), 0.0, "{text}");
    drop(server);
}

#[tokio::test]
async fn at_the_address_of_the_api_the_metrics_need_a_token() {
    let server = Server::start().await;
    let without = server.request(Method::GET, "/metrics");
    assert_eq!(without.send().await.unwrap().status(), 401);
    let agent = server
        .request(Method::GET, "/metrics")
        .header("X-API-Key", KEY);
    assert_eq!(agent.send().await.unwrap().status(), 403);
    let text = server.get("/metrics").send().await.unwrap().text().await;
    let sample = r#"guard_server_refusals_total{code="agent_key"}"#;
    assert_eq!(value(&text.unwrap(), sample), 1.0);
}

#[tokio::test]
async fn too_many_calls_of_the_api_get_a_429_and_agents_do_not() {
    let limits = Limits {
        calls_per_credential: 5,
        ..Setup::default().limits
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let server = setup.start().await;
    for _ in 0..5 {
        let status = server
            .get(&format!("{P}/summary"))
            .send()
            .await
            .unwrap()
            .status();
        assert_eq!(status, 200);
    }
    let response = server.get(&format!("{P}/summary")).send().await.unwrap();
    assert_eq!(response.status(), 429);
    let seconds: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=12).contains(&seconds), "{seconds}");
    let other = server
        .request(Method::GET, &format!("{P}/summary"))
        .header("X-API-Key", "another");
    assert_eq!(other.send().await.unwrap().status(), 401);
    server
        .take("/api/v1/events", batch("b", &[event("a")], &[]))
        .await;
}
