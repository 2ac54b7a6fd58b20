//! Encrypted payloads.

use guard_wire::encrypt::Encryptor;
use serde_json::json;

use crate::support::{AT, Server, Setup, event, metric, refused};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PATH: &str = "/api/v1/events/encrypted";

async fn server() -> Server {
    let setup = Setup {
        encryption_key: Some(KEY),
        ..Setup::default()
    };
    setup.start().await
}

fn seal(plain: &str) -> String {
    let payload = Encryptor::new(KEY)
        .unwrap()
        .encrypt(plain.as_bytes())
        .unwrap();
    json!({ "encrypted_payload": payload, "batch_id": "1-2", "agent_version": "3.2.4" }).to_string()
}

#[tokio::test]
async fn both_kinds_are_accepted_and_recognized_by_the_outer_batch_id() {
    let server = server().await;
    let plain = json!({ "events": [event("a")], "metrics": [metric(1.0)] }).to_string();
    let answer = server.take(PATH, seal(&plain)).await;
    assert_eq!(answer["events_processed"], 1);
    assert_eq!(answer["metrics_processed"], 1);
    server.take(PATH, seal(&plain)).await;
    let summary = server.summary().await;
    assert_eq!(summary["events"]["total"], 1);
    assert_eq!(summary["metrics"]["total"], 1);
    assert_eq!(server.stored("events").await, [event("a")]);
}

#[tokio::test]
async fn python_json_in_a_payload_is_read_as_tolerantly_as_outside() {
    let server = server().await;
    let plain = format!(
        r#"{{"metrics": [{{"timestamp": "{AT}", "metric_type": "error_rate", "value": NaN}}]}}"#
    );
    let answer = server.take(PATH, seal(&plain)).await;
    assert_eq!(answer["metrics_processed"], 1);
}

#[tokio::test]
async fn a_payload_that_cannot_be_decrypted_is_refused_with_the_expected_words() {
    let server = server().await;
    let sealed =
        seal("{\"events\": []}").replace("\"encrypted_payload\":\"", "\"encrypted_payload\":\"A");
    let other = Encryptor::new("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let foreign = json!({ "encrypted_payload": other.encrypt(b"{\"events\": []}").unwrap() });
    for body in [
        sealed,
        foreign.to_string(),
        r#"{"encrypted_payload": ""}"#.into(),
    ] {
        assert_eq!(
            refused(server.post(PATH, body)).await,
            (
                400,
                "Failed to decrypt payload: Invalid or tampered payload".to_owned()
            )
        );
    }
}

#[tokio::test]
async fn a_payload_that_decrypts_to_no_batch_is_refused() {
    let server = server().await;
    for plain in ["", "[]", "{}"] {
        let (status, detail) = refused(server.post(PATH, seal(plain))).await;
        assert_eq!(status, 400);
        assert!(detail.starts_with("Malformed"), "{detail}");
    }
}

#[tokio::test]
async fn a_project_without_encryption_key_reports_the_missing_key() {
    let server = Server::start().await;
    let (status, detail) = refused(server.post(PATH, seal("{\"events\": []}"))).await;
    assert_eq!(status, 400);
    assert!(detail.contains("--encryption-key"), "{detail}");
}
