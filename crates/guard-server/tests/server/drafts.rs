//! Drafts: documents that are prepared before they are published.

use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::process::{Process, command};
use crate::support::{AUTHOR, P, Server, read};

async fn ask(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
    let base = if path.is_empty() { "/api/v1" } else { P };
    let request = server.ask(method, &format!("{base}/rules{path}"));
    let request = request.body(body.to_string());
    read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_draft_changes_nothing_until_it_is_published_and_removed() {
    let server = Server::start().await;
    let body = json!({ "document": { "message": "m" } });
    let (status, changes) = ask(&server, Method::PUT, "/draft", body).await;
    assert_eq!(status, 200, "{changes}");
    assert_eq!(changes["changes"].as_array().unwrap().len(), 1, "{changes}");
    assert_eq!(changes["changes"][0]["draft"], "m");
    assert_eq!(ask(&server, Method::GET, "", json!({})).await.1, json!({}));
    let (_, draft) = ask(&server, Method::GET, "/draft", json!({})).await;
    assert_eq!(draft["author"], AUTHOR);
    let (_, answer) = ask(&server, Method::POST, "/draft/publish", json!({})).await;
    assert_eq!(answer, json!({ "version": 1 }));
    assert_eq!(
        ask(&server, Method::GET, "", json!({})).await.1["message"],
        "m"
    );
    for path in ["/draft", "/draft/diff"] {
        assert_eq!(ask(&server, Method::GET, path, json!({})).await.0, 404);
    }
}

#[tokio::test]
async fn a_draft_that_cannot_be_removed_is_not_published() {
    let server = Server::start().await;
    let body = json!({ "document": { "message": "m" } });
    assert_eq!(ask(&server, Method::PUT, "/draft", body).await.0, 200);
    let database = Connection::open(server.store_path("guard.db")).unwrap();
    let refuse =
        "CREATE TRIGGER refuse BEFORE DELETE ON rule_drafts BEGIN SELECT RAISE(FAIL, 'no'); END";
    database.execute_batch(refuse).unwrap();
    let publish = async || ask(&server, Method::POST, "/draft/publish", json!({})).await;
    assert_eq!(publish().await.0, 503);
    assert_eq!(ask(&server, Method::GET, "", json!({})).await.1, json!({}));
    assert_eq!(ask(&server, Method::GET, "/draft", json!({})).await.0, 200);
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!(publish().await, (200, json!({ "version": 1 })));
}

#[tokio::test]
async fn a_bad_draft_is_refused_and_a_risky_one_needs_a_confirmation() {
    let server = Server::start().await;
    let body = json!({ "document": { "suspicious_patterns": ["(a+)+"] } });
    assert_eq!(ask(&server, Method::PUT, "/draft", body).await.0, 400);
    let body = json!({ "document": { "ip_blacklist": ["0.0.0.0/0"] } });
    assert_eq!(ask(&server, Method::PUT, "/draft", body).await.0, 200);
    let publish = async |body| ask(&server, Method::POST, "/draft/publish", body).await.0;
    assert_eq!(publish(json!({})).await, 409);
    assert_eq!(publish(json!({ "confirm": true })).await, 200);
}

#[tokio::test]
async fn replacing_what_somebody_else_published_needs_a_confirmation() {
    let server = Server::start().await;
    let save = async || {
        let body = json!({ "document": { "message": "mine" } });
        assert_eq!(ask(&server, Method::PUT, "/draft", body).await.0, 200);
    };
    let publish = async |body| ask(&server, Method::POST, "/draft/publish", body).await;
    save().await;
    let theirs = json!({ "document": { "message": "theirs" } });
    assert_eq!(ask(&server, Method::PUT, "/published", theirs).await.0, 200);
    let (status, answer) = publish(json!({})).await;
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        status == 412 && detail.contains("published since"),
        "{detail}"
    );
    assert_eq!(publish(json!({ "confirm": true })).await.0, 200);

    save().await;
    let ban = json!({ "ip": "192.0.2.7" });
    assert_eq!(ask(&server, Method::POST, "/bans", ban).await.0, 200);
    assert_eq!(
        publish(json!({})).await.0,
        200,
        "an operation publishes nothing"
    );
}

#[tokio::test]
async fn a_document_can_be_published_only_if_nobody_else_published() {
    let server = Server::start().await;
    let tag = async || {
        let response = server
            .get("/api/v1/projects/default/rules/published")
            .send()
            .await
            .unwrap();
        let tag = response.headers()["ETag"].to_str().unwrap().to_owned();
        (tag, read(response).await.1)
    };
    let publish = async |message: &str, condition: &str| {
        let request = server.ask(Method::PUT, "/api/v1/projects/default/rules/published");
        let body = json!({ "document": { "message": message }, "confirm": true }).to_string();
        let request = request.header("If-Match", condition);
        let (status, answer) = read(request.body(body).send().await.unwrap()).await;
        let detail = answer["detail"].as_str().unwrap_or_default();
        let told = detail.contains("with its tag in If-Match") && !detail.contains("confirm");
        assert!(status != 412 || told, "{answer}");
        status
    };
    let (first, _) = tag().await;
    assert_eq!(publish("one", &first).await, 200);
    let (second, published) = tag().await;
    assert_eq!(published["document"]["message"], "one");
    assert_eq!(publish("two", &first).await, 412);
    assert_eq!(publish("two", "*").await, 200);
    assert_eq!(publish("three", &second).await, 412);
    assert_eq!(tag().await.1["document"]["message"], "two");
    let (third, _) = tag().await;
    assert_eq!(publish("three", &format!("{first},{second}")).await, 412);
    assert_eq!(publish("three", &format!("W/{third}")).await, 412, "weak");
    assert_eq!(publish("three", &format!("{first}, {third}")).await, 200);
}

#[tokio::test]
async fn a_discarded_draft_is_gone_and_the_rules_stay() {
    let server = Server::start().await;
    let body = json!({ "document": { "message": "m" } });
    assert_eq!(ask(&server, Method::PUT, "/draft", body).await.0, 200);
    let discard = async || {
        let request = server.ask(Method::DELETE, "/api/v1/projects/default/rules/draft");
        let response = request.send().await.unwrap();
        response.status().as_u16()
    };
    assert_eq!(discard().await, 204);
    assert_eq!(discard().await, 404);
    assert_eq!(
        ask(&server, Method::POST, "/draft/publish", json!({}))
            .await
            .0,
        404
    );
    assert_eq!(ask(&server, Method::GET, "", json!({})).await.1, json!({}));
}

#[tokio::test]
async fn drafts_are_saved_compared_and_published_on_the_command_line() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::with_key(data.path()));
    let file = data.path().join("rules.json");
    std::fs::write(&file, r#"{"message": "m"}"#).unwrap();
    let run = |args: &[&str]| {
        let output = command(data.path(), &[&["rules"], args].concat()).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), text)
    };
    assert!(!run(&["publish"]).0);
    assert!(run(&["draft", file.to_str().unwrap()]).0);
    assert_eq!(
        run(&["diff"]).1,
        "FIELD\tPUBLISHED\tDRAFT\nmessage\tnull\t\"m\"\n"
    );
    assert!(run(&["publish", "--reason", "why"]).0);
    assert!(run(&["show"]).1.contains("\"m\""));
    assert!(!run(&["diff"]).0);
    assert!(run(&["draft", file.to_str().unwrap()]).0);
    assert!(run(&["draft", "--discard"]).0);
    assert!(!run(&["diff"]).0);
}
