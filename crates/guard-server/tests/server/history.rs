//! The history of the rules: what changed, when, by whom and why.

use reqwest::Method;
use serde_json::json;

use crate::operations::{ask, post};
use crate::support::{AUTHOR, Server, read};
use crate::versions::{Book, operation};

#[tokio::test]
async fn renewals_do_not_push_human_changes_out_of_the_history() {
    let mut book = Book::open().await;
    book.publish(json!({ "message": "m" })).await;
    book.ban("192.0.2.0/24", None).await;
    for _ in 0..100 {
        book.later(450).await;
    }
    let history = book.history().await;
    let told: Vec<_> = history
        .iter()
        .map(|(version, change)| (*version, change.action.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (102, "renew in time"),
            (2, "ban 192.0.2.0/24"),
            (1, "publish the draft")
        ]
    );
    book.roll_back(1).await;
    assert_eq!(book.bans().await.0, json!([]));
}

#[tokio::test]
async fn history_names_what_ended() {
    let mut book = Book::open().await;
    let country = operation("country", json!({ "country": "FR" }));
    book.make(country, Some(60)).await;
    book.ban("192.0.2.7", Some(60)).await;
    book.later(60).await;
    for number in 1..=13 {
        book.ban(&format!("198.51.100.{number}"), Some(10)).await;
    }
    book.later(10).await;
    book.publish(json!({ "message": "m", "expires_at": "2999-01-01T00:02:00Z" }))
        .await;
    book.later(50).await;
    let history = book.history().await;
    let told = |at: usize| history[at].1.action.as_str();
    assert_eq!(told(0), "end: the published document");
    let many = told(2);
    assert!(many.starts_with("end: ban 198.51.100.1, ban") && many.ends_with(", 3 more"));
    assert_eq!(
        history[history.len() - 3].1.action,
        "end: block country FR, ban 192.0.2.7"
    );
}

#[tokio::test]
async fn history_has_pages_and_each_version_has_its_document() {
    let server = Server::start().await;
    for country in ["FR", "NZ", "AQ"] {
        let body = json!({ "country": country, "reason": "a test" });
        post(&server, "countries", body).await;
    }
    let get = async |path: &str| {
        let request = server.get(&format!("/api/v1/projects/default/rules/{path}"));
        read(request.send().await.unwrap()).await
    };
    let (_, page) = get("versions?limit=2").await;
    assert_eq!(page["versions"][1]["version"], 2);
    assert_eq!(page["next_before"], 2);
    let (_, page) = get("versions?limit=2&before=2").await;
    assert_eq!(page["versions"][0]["action"], "block country FR");
    assert_eq!(page["next_before"], json!(null));
    for limit in ["0", "1001", "x"] {
        assert_eq!(get(&format!("versions?limit={limit}")).await.0, 400);
    }
    let (status, version) = get("versions/2").await;
    assert_eq!(status, 200);
    assert_eq!(
        version["document"]["blocked_countries"],
        json!(["FR", "NZ"])
    );
    assert_eq!(
        (&version["version"], &version["author"], &version["reason"]),
        (&json!(2), &json!(AUTHOR), &json!("a test"))
    );
    for (path, status) in [
        ("versions/4", 404),
        ("versions/0", 404),
        ("versions/x", 400),
    ] {
        let (found, answer) = get(path).await;
        assert_eq!(found, status, "{path}: {answer}");
        assert!(answer["detail"].is_string(), "{path}: {answer}");
    }
    let (status, answer) = post(&server, "versions/x/rollback", json!({})).await;
    assert!(status == 400 && answer["detail"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_reason_is_one_line_of_at_most_a_thousand_characters() {
    let server = Server::start().await;
    for field in ["reason"] {
        for bad in [
            "é".repeat(1001),
            "a\u{1b}[2Jb".to_owned(),
            "a\nb".to_owned(),
        ] {
            for (method, path, mut body) in [
                (Method::POST, "bans", json!({ "ip": "192.0.2.7" })),
                (Method::DELETE, "bans/0", json!({})),
                (Method::PUT, "published", json!({ "document": {} })),
            ] {
                body[field] = json!(bad);
                let (status, answer) = ask(&server, method, path, body).await;
                let detail = answer["detail"].as_str().unwrap();
                let told = detail.starts_with(&format!("rules field `{field}`: "));
                assert!(status == 400 && told, "{path}: {detail}");
            }
        }
        let body = json!({ "ip": "192.0.2.7", field: "é".repeat(1000) });
        assert_eq!(post(&server, "bans", body).await.0, 200);
    }
}

#[tokio::test]
async fn concurrent_changes_all_succeed_each_with_its_own_version() {
    let server = Server::start().await;
    let number = 60;
    let changes = (1..=number).map(|host| {
        let server = &server;
        async move {
            let body = json!({ "ip": format!("192.0.2.{host}") });
            let (status, answer) = post(server, "bans", body).await;
            assert_eq!(status, 200, "{answer}");
            answer["version"].as_i64().unwrap()
        }
    });
    let mut versions = futures_util::future::join_all(changes).await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=number).collect::<Vec<_>>());
    let rules = crate::operations::document(&server).await;
    assert_eq!(rules["ip_blacklist"].as_array().unwrap().len(), 60);
}
