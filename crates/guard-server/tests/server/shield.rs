//! Headers of every answer.

use reqwest::Method;

use crate::support::{KEY, Server};

#[tokio::test]
async fn every_answer_has_security_headers() {
    let server = Server::start().await;
    for path in [
        "/",
        "/health",
        "/api/v1/summary",
        "/api/v1/rules",
        "/nothing",
        "/api/v1/nothing",
    ] {
        for method in [Method::GET, Method::DELETE] {
            let request = server.request(method, path).header("X-API-Key", KEY);
            let response = request.send().await.unwrap();
            let header = |name: &str| response.headers()[name].to_str().unwrap();
            assert!(
                header("content-security-policy").contains("default-src 'none'"),
                "{path}"
            );
            assert!(
                header("content-security-policy").contains("frame-ancestors 'none'"),
                "{path}"
            );
            assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(header("x-frame-options"), "DENY", "{path}");
            assert!(!header("referrer-policy").is_empty(), "{path}");
            assert!(!header("cache-control").is_empty(), "{path}");
            assert!(
                !response.headers().contains_key("strict-transport-security"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_which_a_proxy_may_choose() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for given in [None, Some("from-the-proxy.1"), Some("not usable"), None] {
        let mut request = server.request(Method::GET, "/nothing");
        if let Some(given) = given {
            request = request.header("X-Request-Id", given);
        }
        let response = request.send().await.unwrap();
        ids.push(
            response.headers()["x-request-id"]
                .to_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(ids[1], "from-the-proxy.1");
    assert_ne!(ids[2], "not usable");
    assert_ne!(ids[0], ids[3]);
}
