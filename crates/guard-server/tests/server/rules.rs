//! The rules as agents receive them.

use guard_server::rules::Provenance;
use guard_server::rules::set;
use guard_server::rules::versions::ChangeError;
use guard_server::store::{Project, Projects as _};
use guard_wire::sign::verify;
use serde_json::{Value, json};

use crate::support::{Server, Setup, read};

const PATH: &str = "/api/v1/rules";

async fn project(server: &Server) -> Project {
    server
        .store
        .project_named("default")
        .await
        .unwrap()
        .unwrap()
}

async fn set_rules(server: &Server, document: &Value) -> Result<i64, ChangeError> {
    let document = document.to_string();
    let (project, by) = (project(server).await, Provenance::default());
    set(&*server.store, &project, document.as_bytes(), &by).await
}

#[tokio::test]
async fn the_rules_are_empty_while_none_are_set() {
    let server = Server::start().await;
    let response = server.get(PATH).send().await.unwrap();
    assert_eq!(read(response).await, (200, json!({})));
}

#[tokio::test]
async fn rules_are_returned_whole() {
    let server = Server::start().await;
    let document = json!({ "version": 2, "ip_blacklist": ["192.0.2.0/24"], "message": "m" });
    assert_eq!(set_rules(&server, &document).await.unwrap(), 2);
    let (status, rules) = read(server.get(PATH).send().await.unwrap()).await;
    assert_eq!(status, 200);
    for (key, value) in document.as_object().unwrap() {
        assert_eq!(&rules[key], value);
    }
}

#[tokio::test]
async fn known_rules_are_sent_again_only_after_a_change() {
    let server = Server::start().await;
    let tag = |response: &reqwest::Response| response.headers()["ETag"].clone();
    let ask = async |tag: &reqwest::header::HeaderValue| {
        let request = server.get(PATH).header("If-None-Match", tag);
        request.send().await.unwrap()
    };
    let empty = tag(&server.get(PATH).send().await.unwrap());
    let unchanged = ask(&empty).await;
    assert_eq!(unchanged.status(), 304);
    assert_eq!(tag(&unchanged), empty);
    assert!(unchanged.bytes().await.unwrap().is_empty());

    set_rules(&server, &json!({ "version": 2 })).await.unwrap();
    let changed = ask(&empty).await;
    assert_eq!(changed.status(), 200);
    assert_ne!(tag(&changed), empty);
    assert_eq!(ask(&tag(&changed)).await.status(), 304);
}

#[tokio::test]
async fn a_version_that_does_not_rise_is_refused_and_nothing_changes() {
    let server = Server::start().await;
    set_rules(&server, &json!({ "version": 5, "message": "kept" }))
        .await
        .unwrap();
    for version in [5, 4] {
        let error = set_rules(&server, &json!({ "version": version }))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`version`") && text.contains("give 6 or more"),
            "{text}"
        );
    }
    let (_, rules) = read(server.get(PATH).send().await.unwrap()).await;
    assert_eq!(rules["message"], "kept");
}

#[tokio::test]
async fn rules_that_guards_would_refuse_are_refused_with_the_field() {
    let server = Server::start().await;
    let error = set_rules(&server, &json!({ "auto_ban_threshold": 0 }))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("auto_ban_threshold"), "{error}");
}

#[tokio::test]
async fn rules_that_operations_could_not_create_are_refused_too() {
    let server = Server::start().await;
    for field in ["suspicious_patterns", "blocked_user_agents"] {
        let document = json!({ "version": 1, field: ["ok", "(a+)+"] });
        let error = set_rules(&server, &document).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("`{field}[1]`")), "{text}");
    }
    let document = json!({ "version": 1, "ip_blacklist": ["0.0.0.0/0"] });
    let error = set_rules(&server, &document).await.unwrap_err();
    assert!(matches!(error, ChangeError::Unconfirmed(_)), "{error}");
}

#[tokio::test]
async fn with_a_signing_secret_the_rules_are_signed() {
    let setup = Setup {
        signing_secret: Some("secret"),
        ..Setup::default()
    };
    let server = setup.start().await;
    let response = server.get(PATH).send().await.unwrap();
    let signature = response.headers()["X-Payload-Signature"].clone();
    let body = response.bytes().await.unwrap();
    assert!(verify(&body, signature.to_str().unwrap(), "secret"));

    let unsigned = Server::start().await.get(PATH).send().await.unwrap();
    assert!(!unsigned.headers().contains_key("X-Payload-Signature"));
}
