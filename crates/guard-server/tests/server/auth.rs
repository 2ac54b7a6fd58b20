//! Keys and signatures.

use guard_server::Limits;
use guard_wire::sign::sign;
use reqwest::Method;

use crate::support::{KEY, Server, Setup, batch, event, gzip, refused};

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
async fn a_request_is_let_in_when_one_of_its_two_keys_is_known() {
    let server = Server::start().await;
    let response = server
        .get("/api/v1/summary")
        .header("Authorization", "Bearer of-another-backend")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn every_path_with_data_wants_a_known_key() {
    let server = Server::start().await;
    for (method, path) in [
        (Method::POST, "/api/v1/events"),
        (Method::POST, "/api/v1/metrics"),
        (Method::POST, "/api/v1/events/encrypted"),
        (Method::POST, "/api/v1/status"),
        (Method::GET, "/api/v1/rules"),
        (Method::GET, "/api/v1/summary"),
        (Method::GET, "/api/v1/events"),
        (Method::GET, "/api/v1/metrics"),
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
async fn a_signed_batch_over_the_decoded_limit_is_refused_for_its_size() {
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
async fn without_a_signing_secret_signatures_are_not_looked_at() {
    let server = Server::start().await;
    let request = server.post("/api/v1/events", batch("1", &[event("1")], &[]));
    let response = request.header("X-Payload-Signature", "v1=00").send().await;
    assert_eq!(response.unwrap().status(), 200);
}
