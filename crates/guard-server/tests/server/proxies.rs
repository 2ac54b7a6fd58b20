//! Clients behind proxies: whose address counts, and the base path of a public URL.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{ALWAYS, KEY, P, Server, Setup, batch, client, event, events_of, read};

/// Enough wrong keys at once that the last ones are answered after the longest delay.
const GUESSES: usize = 20;

/// Sends many wrong keys of one client at once, and then one of another client, as the forwarding
/// header names them. Returns how long the other one took.
async fn time_of_another_client(server: &Server) -> Duration {
    let guess = |address: &str| {
        let request = server.request(Method::GET, "/api/v1/rules");
        let request = request.header("X-API-Key", "fg_wrong_key");
        request.header("X-Forwarded-For", address).send()
    };
    let guesses: JoinSet<_> = (0..GUESSES).map(|_| guess("198.51.100.1")).collect();
    for response in guesses.join_all().await {
        assert_eq!(response.unwrap().status(), 401);
    }
    let begun = Instant::now();
    let response = guess("198.51.100.2").await.unwrap();
    assert_eq!(response.status(), 401);
    begun.elapsed()
}

#[tokio::test]
async fn behind_a_trusted_proxy_wrong_keys_delay_only_the_client_that_sends_them() {
    let setup = Setup {
        proxies: &["127.0.0.1"],
        ..Setup::default()
    };
    let begun = Instant::now();
    let other = time_of_another_client(&setup.start().await).await;
    let all = begun.elapsed();
    assert!(
        all >= Duration::from_secs(4) && other < all / 4,
        "{other:?} of {all:?}"
    );
}

#[tokio::test]
async fn a_client_that_names_another_address_does_not_escape_the_delay() {
    let server = Server::start().await;
    let other = time_of_another_client(&server).await;
    // The delay is one second, less the time since the last answer.
    assert!(other >= Duration::from_millis(300), "{other:?}");
}

#[tokio::test]
async fn every_path_works_with_and_without_the_base_path() {
    let setup = Setup {
        public_url: Some("https://example.com/guard"),
        ..Setup::default()
    };
    let server = setup.start().await;
    for base in ["", "/guard"] {
        let path = format!("{base}/api/v1/events");
        server.take(&path, batch("1", &[event(base)], &[])).await;
        let response = server
            .get(&format!("{base}{P}/events?limit=1&{ALWAYS}"))
            .send();
        let (status, answer) = read(response.await.unwrap()).await;
        assert_eq!((status, events_of(&answer).len()), (200, 1));
        let page = server.request(Method::GET, &format!("{base}/"));
        assert_eq!(page.send().await.unwrap().status(), 200);
        let unknown = server.get(&format!("{base}/unknown")).send().await;
        assert_eq!(unknown.unwrap().status(), 404);
    }
    let other = client().get(format!("{}/guardian/health", server.origin));
    let other = other.header("X-API-Key", KEY).send().await;
    assert_eq!(other.unwrap().status(), 404);
}

/// How the server sees a request with this `X-Forwarded-For`, and the address in the audit log of a
/// change that came in the same way.
async fn seen(server: &Server, forwarded: &str) -> (Value, Value) {
    let by = |request: RequestBuilder| request.header("X-Forwarded-For", forwarded);
    let request = by(server.get("/api/v1/client")).header("X-Forwarded-Proto", "https");
    let (status, client) = read(request.send().await.unwrap()).await;
    assert_eq!(status, 200, "{client}");
    let ban = by(server.post(&format!("{P}/rules/bans"), r#"{ "ip": "192.0.2.1" }"#));
    assert_eq!(ban.send().await.unwrap().status(), 200);
    let log = server.get("/api/v1/audit?action=rules.add&limit=1").send();
    let (_, log) = read(log.await.unwrap()).await;
    (client, log["items"][0]["address"].clone())
}

#[tokio::test]
async fn the_address_that_a_stranger_forwards_is_believed_nowhere() {
    let server = Server::start().await;
    let (client, audited) = seen(&server, "198.51.100.1").await;
    assert_eq!(
        (&client["address"], &client["peer"], &audited),
        (
            &json!("127.0.0.1"),
            &json!("127.0.0.1"),
            &json!("127.0.0.1")
        )
    );
    assert_eq!(
        (&client["trusted_proxy"], &client["https"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(client["x_forwarded_for"], "198.51.100.1");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_next_to_it_counts_everywhere() {
    let setup = Setup {
        proxies: &["127.0.0.1", "10.0.0.0/8"],
        public_url: Some("https://guard.example/guard"),
        ..Setup::default()
    };
    let server = setup.start().await;
    // The client wrote the first address, the outer proxy the second, and the inner one the third.
    let (client, audited) = seen(&server, "198.51.100.1, 203.0.113.7, 10.1.2.3").await;
    assert_eq!(
        (&client["address"], &audited),
        (&json!("203.0.113.7"), &json!("203.0.113.7"))
    );
    assert_eq!(
        (&client["trusted_proxy"], &client["https"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(client["public_url"], "https://guard.example/guard");
}

#[tokio::test]
async fn the_server_says_whether_it_would_accept_changes_of_an_origin() {
    let setup = Setup {
        public_url: Some("https://guard.example"),
        ..Setup::default()
    };
    let server = setup.start().await;
    let refused = async |origin: &str| {
        let request = server.get("/api/v1/client").header("Origin", origin);
        let (_, client) = read(request.send().await.unwrap()).await;
        client["cross_site"].clone()
    };
    assert_eq!(refused("https://guard.example").await, Value::Null);
    let why = refused("https://evil.example").await;
    assert!(
        why.as_str().unwrap().contains("https://evil.example"),
        "{why}"
    );
    let agent = server.request(Method::GET, "/api/v1/client");
    let agent = agent.header("X-API-Key", KEY).send().await.unwrap();
    assert_eq!(agent.status(), 403);
}
