//! Who may call what: keys of agents, tokens with roles and projects.

use guard_server::people::{Role, Scope};
use guard_server::store::{ProjectSettings, Projects as _};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{KEY, P, Server, add_token, read};

const VIEWER: &str = "gt_viewer_0123456789";
const OPERATOR: &str = "gt_operator_0123456789";
const OF_SHOP: &str = "gt_admin_of_shop_0123456789";

/// Calls of people and programs: one for each kind.
fn calls() -> Vec<(Method, String, Role)> {
    let get = |path: &str| (Method::GET, path.to_owned(), Role::Viewer);
    let of = |method, path: &str, role| (method, path.to_owned(), role);
    vec![
        get("/api/v1/session"),
        get(&format!("{P}/summary")),
        get(&format!("{P}/events")),
        get(&format!("{P}/metrics")),
        get(&format!("{P}/rules/entries")),
        get(&format!("{P}/rules/in-force")),
        get(&format!("{P}/rules/adoption")),
        get(&format!("{P}/rules/versions")),
        get(&format!("{P}/rules/published")),
        of(Method::POST, &format!("{P}/rules/bans"), Role::Operator),
        of(Method::DELETE, &format!("{P}/rules/bans/1"), Role::Operator),
        of(Method::PUT, &format!("{P}/rules/published"), Role::Operator),
        of(Method::PUT, &format!("{P}/rules/draft"), Role::Operator),
        of(Method::DELETE, &format!("{P}/rules/draft"), Role::Operator),
        of(
            Method::POST,
            &format!("{P}/rules/draft/publish"),
            Role::Operator,
        ),
        of(
            Method::POST,
            &format!("{P}/rules/versions/1/rollback"),
            Role::Operator,
        ),
        of(Method::GET, "/api/v1/tokens", Role::Admin),
        of(Method::POST, "/api/v1/tokens", Role::Admin),
        of(Method::DELETE, "/api/v1/tokens/1", Role::Admin),
        of(Method::GET, "/api/v1/audit", Role::Admin),
    ]
}

async fn server() -> Server {
    let server = Server::start().await;
    let shop = server
        .store
        .save_project("shop", ProjectSettings::default());
    shop.await.unwrap();
    add_token(&*server.store, VIEWER, Role::Viewer, Scope::All).await;
    add_token(&*server.store, OPERATOR, Role::Operator, Scope::All).await;
    let shop = Scope::Named(["shop".to_owned()].into());
    add_token(&*server.store, OF_SHOP, Role::Admin, shop).await;
    server
}

async fn code(request: RequestBuilder) -> (u16, String) {
    let (status, answer) = read(request.send().await.unwrap()).await;
    assert!(
        answer["detail"].is_string() && answer.get("field").is_some(),
        "{answer}"
    );
    (status, answer["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_key_of_an_agent_opens_no_call_of_people() {
    let server = server().await;
    let mut calls = calls();
    // Also where there is nothing, or nothing any more.
    calls.push((Method::GET, "/api/v1/summary".to_owned(), Role::Viewer));
    calls.push((Method::GET, "/api/v1/events".to_owned(), Role::Viewer));
    calls.push((
        Method::GET,
        "/api/v1/projects/other/summary".to_owned(),
        Role::Viewer,
    ));
    for (method, path, _) in calls {
        for (header, value) in [
            ("X-API-Key", KEY),
            ("Authorization", &format!("Bearer {KEY}")),
        ] {
            let request = server.request(method.clone(), &path).header(header, value);
            let answer = code(request).await;
            assert_eq!(answer, (403, "agent_key".to_owned()), "{method} {path}");
        }
    }
    let rules = server.get("/api/v1/rules").send().await.unwrap();
    assert_eq!(read(rules).await.1, json!({}), "nothing was changed");
}

#[tokio::test]
async fn without_a_valid_token_no_call_of_people_is_answered() {
    let server = server().await;
    for (method, path, _) in calls() {
        let none = code(server.request(method.clone(), &path)).await;
        assert_eq!(none, (401, "sign_in_needed".to_owned()), "{method} {path}");
    }
    let (method, path) = (Method::GET, format!("{P}/summary"));
    let wrong = server
        .request(method.clone(), &path)
        .bearer_auth("gt_wrong_0123456789");
    assert_eq!(code(wrong).await, (401, "unknown_token".to_owned()));
    let cookie = server
        .request(method, &path)
        .header("Cookie", "guard_session=x");
    assert_eq!(code(cookie).await, (401, "sign_in_needed".to_owned()));
}

#[tokio::test]
async fn each_role_may_do_what_the_lower_ones_may_and_no_more() {
    let server = server().await;
    for (method, path, needed) in calls() {
        for (token, role) in [(VIEWER, Role::Viewer), (OPERATOR, Role::Operator)] {
            let request = server.request(method.clone(), &path).bearer_auth(token);
            let response = request.body("{}").send().await.unwrap();
            let status = response.status();
            let is_refused = status == 403;
            assert_eq!(
                is_refused,
                role < needed,
                "{token}: {method} {path}: {status}"
            );
            assert!(status != 401, "{token}: {method} {path}");
        }
    }
}

#[tokio::test]
async fn a_token_for_some_projects_sees_no_other() {
    let server = server().await;
    let ask = |path: &str| server.request(Method::GET, path).bearer_auth(OF_SHOP);
    let own = ask("/api/v1/projects/shop/summary").send().await.unwrap();
    assert_eq!(own.status(), 200);
    for path in ["default", "missing"].map(|name| format!("/api/v1/projects/{name}/summary")) {
        let answer = code(ask(&path)).await;
        assert_eq!(answer, (404, "no_such_project".to_owned()), "{path}");
    }
    // What belongs to the whole server needs a role for all projects.
    assert_eq!(
        code(ask("/api/v1/tokens")).await,
        (403, "role_needed".to_owned())
    );
    let (_, me) = read(ask("/api/v1/session").send().await.unwrap()).await;
    assert_eq!(
        me,
        json!({ "who": "token:admin_of_shop_0123456789", "name": "admin_of_shop_0123456789",
            "role": "admin", "projects": ["shop"] })
    );
}

#[tokio::test]
async fn a_token_is_refused_on_the_paths_of_agents() {
    let server = server().await;
    for (method, path) in [
        (Method::GET, "/api/v1/rules"),
        (Method::POST, "/api/v1/events"),
        (Method::POST, "/api/v1/status"),
    ] {
        let request = server.request(method, path).bearer_auth(OPERATOR);
        assert_eq!(
            code(request).await,
            (403, "not_an_agent".to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_token_is_made_shown_once_listed_used_and_revoked() {
    let server = server().await;
    let body = json!({ "label": "nightly", "role": "viewer", "projects": ["shop"] });
    let (status, made) = read(
        server
            .post("/api/v1/tokens", body.to_string())
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 200, "{made}");
    let (id, token) = (
        made["id"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    assert!(token.starts_with("gt_") && token.len() == 46);
    let listed = async || {
        let (_, all) = read(server.get("/api/v1/tokens").send().await.unwrap()).await;
        assert!(!all.to_string().contains(token), "{all}");
        let all = all["items"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["id"] == id)
    };
    let before: Value = listed().await.unwrap();
    assert_eq!(before["created_by"], crate::support::AUTHOR);
    assert_eq!(
        (&before["label"], &before["last_used_at"]),
        (&json!("nightly"), &Value::Null)
    );
    let ask = || {
        let request = server.request(Method::GET, "/api/v1/projects/shop/summary");
        request.bearer_auth(token)
    };
    assert_eq!(ask().send().await.unwrap().status(), 200);
    assert!(listed().await.unwrap()["last_used_at"].is_string());

    let revoke = || server.ask(Method::DELETE, &format!("/api/v1/tokens/{id}"));
    assert_eq!(revoke().send().await.unwrap().status(), 204);
    assert_eq!(code(ask()).await, (401, "unknown_token".to_owned()));
    assert_eq!(code(revoke()).await, (404, "not_found".to_owned()));
    assert_eq!(listed().await, None);

    let (_, log) = read(server.get("/api/v1/audit").send().await.unwrap()).await;
    let told: Vec<_> = log["items"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 2, "{log}");
    assert_eq!(
        (&told[0]["action"], &told[0]["object"]),
        (&json!("token.revoke"), &json!(id))
    );
    assert_eq!(
        (&told[1]["action"], &told[1]["who"]),
        (&json!("token.add"), &json!(crate::support::AUTHOR))
    );
    assert_eq!(told[1]["address"], "127.0.0.1");
    assert!(!log.to_string().contains(token));
}

#[tokio::test]
async fn a_bad_token_request_names_the_field() {
    let server = server().await;
    let good = json!({ "label": "x", "role": "viewer", "projects": ["*"] });
    for (field, value) in [
        ("label", json!("")),
        ("label", json!("a\nb")),
        ("role", json!("root")),
        ("projects", json!([])),
        ("projects", json!(["nowhere"])),
        ("expires_at", json!("2020-01-01T00:00:00Z")),
        ("expires_at", json!("soon")),
        ("roles", json!("viewer")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let response = server.post("/api/v1/tokens", body.to_string()).send().await;
        let (status, answer) = read(response.unwrap()).await;
        assert_eq!((status, &answer["field"]), (400, &json!(field)), "{answer}");
    }
}

#[tokio::test]
async fn the_author_of_a_change_is_who_signed_in() {
    let server = server().await;
    let ban = json!({ "ip": "192.0.2.7", "reason": "scans", "author": "somebody else" });
    let ask = |body: Value| {
        let request = server.request(Method::POST, &format!("{P}/rules/bans"));
        request.bearer_auth(OPERATOR).body(body.to_string())
    };
    let (status, answer) = read(ask(ban).send().await.unwrap()).await;
    assert_eq!(
        (status, &answer["field"]),
        (400, &json!("author")),
        "{answer}"
    );
    let ban = json!({ "ip": "192.0.2.7", "reason": "scans" });
    assert_eq!(ask(ban).send().await.unwrap().status(), 200);
    let (_, history) = read(
        server
            .get(&format!("{P}/rules/versions"))
            .send()
            .await
            .unwrap(),
    )
    .await;
    let who = json!("token:operator_0123456789");
    assert_eq!(history["versions"][0]["author"], who);
    let (_, log) = read(server.get("/api/v1/audit").send().await.unwrap()).await;
    let told = &log["items"][0];
    assert_eq!(
        (
            &told["who"],
            &told["action"],
            &told["project"],
            &told["object"]
        ),
        (
            &who,
            &json!("rules.add"),
            &json!("default"),
            &json!("ban 192.0.2.7")
        )
    );
    assert_eq!(told["after"], json!({ "version": 1, "reason": "scans" }));
}

#[tokio::test]
async fn an_install_reads_back_its_own_last_status() {
    let server = Server::start().await;
    let report = server.post("/api/v1/status", r#"{"status": "healthy", "n": 1}"#);
    let report = report.header("X-Agent-Install-Id", "host-7");
    assert_eq!(report.send().await.unwrap().status(), 200);
    let ask = async |install: Option<&str>| {
        let request = server.get("/api/v1/status");
        let request = match install {
            Some(install) => request.header("X-Agent-Install-Id", install),
            None => request,
        };
        read(request.send().await.unwrap()).await
    };
    let (status, own) = ask(Some("host-7")).await;
    assert_eq!((status, &own["status"]), (200, &json!("ok")));
    assert_eq!(
        own["report"]["status"],
        json!({ "status": "healthy", "n": 1 })
    );
    assert_eq!(own["report"]["install_id"], "host-7");
    assert_eq!(ask(Some("another")).await.1["report"], Value::Null);
    assert_eq!(ask(None).await.1.get("report"), None);
    let wrong = server.request(Method::GET, "/api/v1/status");
    let wrong = wrong
        .header("X-API-Key", "fg_wrong_key")
        .header("X-Agent-Install-Id", "host-7");
    assert_eq!(wrong.send().await.unwrap().status(), 401);
}
