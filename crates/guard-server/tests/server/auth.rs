//! Keys and signatures.

use std::time::{Duration, Instant};

use guard_server::Limits;
use guard_wire::sign::sign;
use reqwest::Method;

use crate::logged::Logged;
use crate::support::{KEY, Server, Setup, TOKEN, batch, client, event, gzip, refused};

const SECRET: &str = "a signing secret";

#[tokio::test]
async fn either_key_header_is_read_in_any_case() {
    let server = Server::start().await;
    let bearer = format!("bearer {KEY}");
    for (name, value) in [
        ("X-API-Key", KEY),
        ("x-api-key", KEY),
        ("AUTHORIZATION", &bearer),
    ] {
        let request = server.request(Method::GET, "/api/v1/rules");
        let response = request.header(name, value).send().await.unwrap();
        assert_eq!(response.status(), 200, "{name}");
    }
}

#[tokio::test]
async fn a_request_is_accepted_if_one_of_its_two_keys_is_known() {
    let server = Server::start().await;
    let response = server
        .get("/api/v1/rules")
        .header("Authorization", "Bearer of-another-backend")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn every_path_of_agents_requires_a_known_key() {
    let server = Server::start().await;
    for (method, path) in [
        (Method::POST, "/api/v1/events"),
        (Method::POST, "/api/v1/metrics"),
        (Method::POST, "/api/v1/events/encrypted"),
        (Method::POST, "/api/v1/status"),
        (Method::GET, "/api/v1/rules"),
    ] {
        let none = server.request(method.clone(), path);
        let (status, detail) = refused(none).await;
        assert_eq!(status, 401, "{path}");
        assert!(detail.starts_with("No API key"), "{detail}");
        let unknown = server.request(method, path).header("X-API-Key", "fg_other");
        let answer = refused(unknown).await;
        assert_eq!(answer, (401, "Unknown API key".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn probes_need_no_key() {
    let server = Server::start().await;
    for path in ["/health", "/api/v1/status"] {
        let response = server.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
}

async fn signing_server() -> Server {
    let setup = Setup {
        signing_secret: Some(SECRET),
        ..Setup::default()
    };
    setup.start().await
}

#[tokio::test]
async fn a_signature_may_cover_the_plain_or_the_compressed_bytes() {
    let server = signing_server().await;
    let bodies = ["1", "2"].map(|key| batch(key, &[event(key)], &[]));
    let zipped = bodies.clone().map(|body| gzip(body.as_bytes()));
    for (body, signed) in [(&zipped[0], bodies[0].as_bytes()), (&zipped[1], &zipped[1])] {
        let response = server
            .post("/api/v1/events", body.clone())
            .header("Content-Encoding", "gzip")
            .header("X-Payload-Signature", sign(signed, SECRET).unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(server.summary().await["events"]["total"], 2);
}

#[tokio::test]
async fn a_signed_batch_over_the_decoded_limit_gets_a_413() {
    let setup = Setup {
        signing_secret: Some(SECRET),
        limits: Limits {
            encoded: 1 << 20,
            decoded: 1 << 16,
            ..Limits::default()
        },
        ..Setup::default()
    };
    let server = setup.start().await;
    let plain = batch("1", &[event(&"x".repeat(1 << 17))], &[]).into_bytes();
    let zipped = gzip(&plain);
    let identity = (plain.clone(), "identity", &plain);
    for (body, encoding, signed) in [
        identity,
        (zipped.clone(), "gzip", &plain),
        (zipped.clone(), "gzip", &zipped),
    ] {
        let request = server
            .post("/api/v1/events", body)
            .header("Content-Encoding", encoding)
            .header("X-Payload-Signature", sign(signed, SECRET).unwrap());
        let expected = (413, "Payload exceeds 65536 bytes".to_owned());
        assert_eq!(refused(request).await, expected, "{encoding}");
    }
}

#[tokio::test]
async fn with_a_signing_secret_unsigned_and_wrongly_signed_requests_are_refused() {
    let server = signing_server().await;
    let body = batch("1", &[event("1")], &[]);
    for path in [
        "/api/v1/events",
        "/api/v1/metrics",
        "/api/v1/events/encrypted",
        "/api/v1/status",
    ] {
        let (status, detail) = refused(server.post(path, body.clone())).await;
        assert_eq!(status, 401, "{path}");
        assert!(detail.contains("X-Payload-Signature"), "{detail}");
        for signature in [&*sign(b"another body", SECRET).unwrap(), "v1=00", "garbage"] {
            let request = server
                .post(path, body.clone())
                .header("X-Payload-Signature", signature);
            let (status, detail) = refused(request).await;
            assert_eq!(status, 401, "{path}");
            assert_eq!(detail, "X-Payload-Signature does not match the body");
        }
    }
    assert_eq!(server.summary().await["events"]["total"], 0);
}

#[tokio::test]
async fn without_a_signing_secret_signatures_are_ignored() {
    let server = Server::start().await;
    let request = server.post("/api/v1/events", batch("1", &[event("1")], &[]));
    let response = request.header("X-Payload-Signature", "v1=00").send().await;
    assert_eq!(response.unwrap().status(), 200);
}

#[tokio::test]
async fn wrong_keys_are_counted_logged_and_delayed_and_valid_keys_are_not() {
    let server = Logged::start();
    let url = format!("{}/api/v1/rules", server.process.origin);
    let client = client();
    let begun = Instant::now();
    let mut guesses = tokio::task::JoinSet::new();
    for n in 0..30 {
        let guess = client
            .get(&url)
            .header("X-API-Key", format!("fg_guess_{n}"));
        guesses.spawn(guess.send());
    }
    let (status, _) = server
        .process
        .get("/api/v1/projects/default/summary", TOKEN)
        .await;
    assert_eq!(status, 200);
    for answer in guesses.join_all().await {
        assert_eq!(answer.unwrap().status(), 401);
    }
    assert!(
        begun.elapsed() >= Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    let (_, summary) = server
        .process
        .get("/api/v1/projects/default/summary", TOKEN)
        .await;
    assert_eq!(summary["wrong_keys"], 30);
    let lines = server.logged("wrong API keys");
    assert!((1..=5).contains(&lines), "{}", server.log());
    assert!(!server.log().contains("fg_guess"));
}
