//! What a start says if ClickHouse cannot be used.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::Database;
use crate::store::{ClickHouse, ClickHouseError as OpenError, Endpoint};

/// A server that gives each request the same answer.
async fn always(status: &'static str, code: &'static str, body: &'static str) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let _ = client.read(&mut request).await;
            let code = match code {
                "" => String::new(),
                code => format!("X-ClickHouse-Exception-Code: {code}\r\n"),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\n{code}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://guard:secret@{address}/guard")
        .parse()
        .unwrap()
}

async fn refusal(endpoint: Endpoint) -> (OpenError, String) {
    let opened = ClickHouse::open(endpoint, None, || Some(1)).await;
    let error = opened.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    (error, text)
}

#[tokio::test]
async fn a_url_without_a_clickhouse_is_named() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let endpoint = format!("http://guard:secret@{address}/guard");
    let (error, text) = refusal(endpoint.parse().unwrap()).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{text}");
    assert!(text.contains(&address.to_string()), "{text}");

    let (_, text) = refusal(always("404 Not Found", "", "nothing here").await).await;
    assert!(text.contains("nothing here"), "{text}");
}

#[tokio::test]
async fn a_wrong_password_is_named() {
    let says = "Code: 516. DB::Exception: guard: Authentication failed: password is incorrect";
    let (error, text) = refusal(always("403 Forbidden", "516", says).await).await;
    assert!(matches!(error, OpenError::Refused { .. }), "{text}");
    assert!(text.contains("guard"), "{text}");
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let says = "Code: 497. DB::Exception: guard: Not enough privileges. To execute this query, it's \
                necessary to have the grant CREATE TABLE ON guard.events. (ACCESS_DENIED)";
    let (error, text) = refusal(always("403 Forbidden", "497", says).await).await;
    assert!(matches!(error, OpenError::Rights { .. }), "{text}");
    assert!(text.contains("CREATE TABLE ON guard.events"), "{text}");
}

#[tokio::test]
async fn an_old_clickhouse_is_refused() {
    // One column of type String, with the text 24.3.18.7.
    let says = "\x01\tversion()\x06String\x0924.3.18.7";
    let (error, text) = refusal(always("200 OK", "", says).await).await;
    assert!(matches!(error, OpenError::Old { .. }), "{text}");
    assert!(text.contains("24.3.18.7"), "{text}");
}

#[tokio::test]
async fn a_schema_of_a_newer_release_is_refused() {
    let database = Database::new();
    drop(database.node(1).await);
    database.run("INSERT INTO schema_version SELECT 99").await;
    let (error, text) = refusal(database.endpoint()).await;
    assert!(
        matches!(error, OpenError::Newer { found: 99, .. }),
        "{text}"
    );
}

#[tokio::test]
async fn a_database_that_exists_is_opened_again_with_its_records() {
    let database = Database::new();
    super::append(&*database.node(1).await, &["a"])
        .await
        .unwrap();
    let node = database.node(1).await;
    assert_eq!(super::total(&node).await, 1);
}
