//! Clients behind proxies: whose address counts, and the base path of a public URL.

use std::time::{Duration, Instant};

use reqwest::Method;
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
