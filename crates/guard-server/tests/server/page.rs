//! The page at `/`.

use guard_server::Access;
use reqwest::Method;
use serde_json::json;

use crate::support::{AT, KEY, Server, Setup, TOKEN, batch};

#[tokio::test]
async fn the_page_shows_received_records_and_escapes_their_text() {
    let server = Server::start().await;
    let attack = "<script>alert('1')</script>";
    let event = json!({ "timestamp": AT, "event_type": attack, "ip_address": "192.0.2.7",
        "endpoint": "/\"><img>", "reason": attack, "status_code": 403 });
    server
        .take("/api/v1/events", batch("1", &[event], &[]))
        .await;
    let response = server.request(Method::GET, "/").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let page = response.text().await.unwrap();
    for shown in [
        "192.0.2.7",
        "403",
        "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;",
        "/&quot;&gt;&lt;img&gt;",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(!page.contains("<script") && !page.contains("<img"));
}

#[tokio::test]
async fn the_page_shows_only_the_start_of_a_long_text() {
    let server = Server::start().await;
    let long = "é".repeat(10_000);
    let event = json!({ "timestamp": AT, "event_type": "x", "reason": long, "method": [long] });
    server
        .take("/api/v1/events", batch("1", &[event], &[]))
        .await;
    let response = server.request(Method::GET, "/").send().await.unwrap();
    let page = response.text().await.unwrap();
    assert!(page.contains(&format!("<td>{}…</td>", "é".repeat(200))));
    assert!(page.len() < 10_000, "{}", page.len());
}

#[tokio::test]
async fn rare_types_share_a_row() {
    let server = Server::start().await;
    let of = |name: String| json!({ "timestamp": AT, "event_type": name });
    let rare = (0..150).map(|n| of(format!("rare-{n}")));
    let frequent = [of("frequent".to_owned()), of("frequent".to_owned())];
    let events: Vec<_> = rare.chain(frequent).collect();
    server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;
    let response = server.request(Method::GET, "/").send().await.unwrap();
    let page = response.text().await.unwrap();
    let row = |name: &str, n| format!("<tr><td>{name}</td><td class=\"n\">{n}</td></tr>");
    assert!(page.contains(&row("frequent", 2)));
    assert!(page.contains(&row("51 others", 51)));
    assert_eq!(page.matches("<td class=\"n\">").count(), 101);
}

#[tokio::test]
async fn the_content_policy_allows_only_the_one_style() {
    let server = Server::start().await;
    let response = server.request(Method::GET, "/").send().await.unwrap();
    let policy = response.headers()["Content-Security-Policy"]
        .to_str()
        .unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    for absent in ["unsafe", "script-src", "*"] {
        assert!(!policy.contains(absent), "{policy}");
    }
    assert!(policy.contains("frame-ancestors 'none'"));
    assert_eq!(response.headers()["X-Content-Type-Options"], "nosniff");
}

#[tokio::test]
async fn on_loopback_only_a_loopback_name_opens_the_page() {
    let server = Server::start().await;
    for (host, status) in [
        ("localhost:8400", 200),
        ("127.0.0.1", 200),
        ("rebound.example", 403),
    ] {
        let request = server.request(Method::GET, "/").header("Host", host);
        assert_eq!(request.send().await.unwrap().status(), status, "{host}");
    }
}

#[tokio::test]
async fn on_other_addresses_the_page_asks_for_a_token() {
    let setup = Setup {
        access: Access::SignIn,
        ..Setup::default()
    };
    let server = setup.start().await;
    let page = || {
        server
            .request(Method::GET, "/")
            .header("Host", "guard.example")
    };
    let asked = page().send().await.unwrap();
    assert_eq!(asked.status(), 401);
    let challenge = asked.headers()["WWW-Authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Basic realm="), "{challenge}");
    let wrong = page().basic_auth("me", Some(KEY)).send().await;
    assert_eq!(wrong.unwrap().status(), 401);
    let right = page().basic_auth("me", Some(TOKEN)).send().await;
    assert_eq!(right.unwrap().status(), 200);
}

#[tokio::test]
async fn the_adoption_of_rules_is_shown_and_escaped() {
    let server = Server::start().await;
    let page = async || {
        let response = server.request(Method::GET, "/").send().await.unwrap();
        response.text().await.unwrap()
    };
    assert!(page().await.contains("None are set."));
    let limit = json!({ "endpoint": "/a", "requests": 1, "window_s": 1 }).to_string();
    let set = server
        .post("/api/v1/projects/default/rules/limits", limit)
        .send()
        .await;
    assert_eq!(set.unwrap().status(), 200);
    let fetch = server
        .get("/api/v1/rules")
        .header("X-Agent-Install-Id", "<b>");
    assert_eq!(fetch.send().await.unwrap().status(), 200);
    let page = page().await;
    for shown in [
        "Rules version 1: 0 applied, 1 fetched, 0 waiting, 0 refused",
        "&lt;b&gt;",
        "in intervals",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(!page.contains("<b>"));
}
