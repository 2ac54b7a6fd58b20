//! Projects and keys over HTTP: who may send what, settings, quotas and removal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guard_server::Clock;
use guard_server::people::{Role, Scope};
use guard_server::store::Projects as _;
use guard_wire::sign::sign;
use jiff::Timestamp;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{KEY, P, Server, Setup, add_token, batch, event, gzip, metric, read};

const PROJECTS: &str = "/api/v1/projects";
const SHOP: &str = "/api/v1/projects/shop";
const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECRET: &str = "a signing secret";
/// Far longer than anything here takes. Only a hang reaches it.
const GENEROUS: Duration = Duration::from_secs(60);

/// A clock that moves only when the test says so.
#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        let second = i64::try_from(self.uptime().as_secs()).unwrap();
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }
    fn uptime(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

async fn sent(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let (status, body) = (response.status().as_u16(), response.bytes().await.unwrap());
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Makes a change that must succeed. Returns the answer.
async fn made(server: &Server, method: Method, path: &str, body: Value) -> Value {
    let (status, answer) = sent(server.ask(method, path).body(body.to_string())).await;
    assert!(status == 200 || status == 204, "{path}: {answer}");
    answer
}

async fn set(server: &Server, settings: Value) -> Value {
    made(server, Method::PATCH, P, json!({ "settings": settings })).await
}

/// Sends a request that must be refused. Returns status, code and field.
async fn refusal(request: RequestBuilder) -> (u16, String, Value) {
    let (status, answer) = sent(request).await;
    let code = answer["code"].as_str().unwrap_or_default().to_owned();
    (status, code, answer["field"].clone())
}

fn events(server: &Server, key: &str) -> RequestBuilder {
    let body = batch(key, &[event(key)], &[]);
    let request = server.request(Method::POST, "/api/v1/events");
    request.header("X-API-Key", key).body(body)
}

async fn project(server: &Server, path: &str) -> Value {
    made(server, Method::GET, path, json!({})).await
}

#[tokio::test]
async fn projects_are_created_listed_changed_and_removed() {
    let server = Server::start().await;
    let created = made(&server, Method::POST, PROJECTS, json!({ "name": "shop" })).await;
    assert_eq!(created["name"], "shop");
    assert_eq!(
        created["settings"],
        json!({
            "retention_days": 90, "retention_bytes": null, "raw_metrics_hours": 24,
            "require_encryption": false, "require_signature": false, "ip_allowlist": [],
            "quota_per_minute": null,
        })
    );
    let change = json!({ "settings": { "retention_days": 7, "ip_allowlist": ["10.0.0.9/8"] } });
    let changed = made(&server, Method::PATCH, SHOP, change).await;
    assert_eq!(changed["settings"]["retention_days"], 7);
    assert_eq!(changed["settings"]["ip_allowlist"], json!(["10.0.0.0/8"]));
    assert_eq!(project(&server, SHOP).await, changed);
    let listed = project(&server, PROJECTS).await;
    let names = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["default", "shop"]);

    let remove = server.ask(Method::DELETE, SHOP);
    let expected = (409, "needs_confirmation".to_owned(), json!("confirm"));
    assert_eq!(refusal(remove).await, expected);
    made(&server, Method::DELETE, SHOP, json!({ "confirm": true })).await;
    assert_eq!(refusal(server.get(SHOP)).await.1, "no_such_project");
}

#[tokio::test]
async fn secrets_are_set_and_never_shown() {
    let server = Server::start().await;
    let secrets = json!({ "encryption_key": ENCRYPTION_KEY, "signing_secret": SECRET });
    let changed = set(&server, secrets).await;
    assert_eq!(
        changed["secrets"],
        json!({ "encryption_key": true, "signing_secret": true })
    );
    assert_eq!(changed["settings"]["require_signature"], true);
    let audit = project(&server, "/api/v1/audit").await;
    for text in [
        changed.to_string(),
        project(&server, PROJECTS).await.to_string(),
    ] {
        assert!(
            !text.contains(ENCRYPTION_KEY) && !text.contains(SECRET),
            "{text}"
        );
    }
    let entry = &audit["items"][0];
    assert_eq!(entry["action"], "project.change");
    assert_eq!(entry["after"]["signing_secret"], "set");
    assert!(!audit.to_string().contains(SECRET), "{audit}");
}

#[tokio::test]
async fn a_wrong_change_is_refused_with_the_field() {
    let server = Server::start().await;
    for (settings, field) in [
        (
            json!({ "quota_per_minute": 0 }),
            "settings.quota_per_minute",
        ),
        (
            json!({ "quota_per_minute": "many" }),
            "settings.quota_per_minute",
        ),
        (
            json!({ "ip_allowlist": ["::1", "x"] }),
            "settings.ip_allowlist[1]",
        ),
        (
            json!({ "require_encryption": true }),
            "settings.require_encryption",
        ),
        (json!({ "retention": 7 }), "settings.retention"),
    ] {
        let body = json!({ "settings": settings });
        let refused = refusal(server.ask(Method::PATCH, P).body(body.to_string())).await;
        assert_eq!(
            refused,
            (400, "bad_request".to_owned(), json!(field)),
            "{body}"
        );
    }
    for (body, code, field) in [
        (json!({ "name": "Shop" }), "bad_request", json!("name")),
        (json!({ "name": "default" }), "exists", json!("name")),
    ] {
        let refused = refusal(server.ask(Method::POST, PROJECTS).body(body.to_string())).await;
        assert_eq!(refused, (400, code.to_owned(), field), "{body}");
    }
    let remove = server
        .ask(Method::DELETE, P)
        .body(json!({ "confirm": true }).to_string());
    assert_eq!(refusal(remove).await.1, "default_project");
    let key = server.ask(Method::DELETE, &format!("{P}/keys/unknown"));
    assert_eq!(
        refusal(key).await,
        (404, "no_such_key".to_owned(), Value::Null)
    );
    let label = server.ask(Method::POST, &format!("{P}/keys"));
    let label = label.body(json!({ "label": " " }).to_string());
    assert_eq!(
        refusal(label).await,
        (400, "bad_request".to_owned(), json!("label"))
    );
}

#[tokio::test]
async fn only_admins_change_projects_and_viewers_see_their_own() {
    let server = Server::start().await;
    made(&server, Method::POST, PROJECTS, json!({ "name": "shop" })).await;
    let (viewer, of_shop) = ("gt_viewer_0123456789", "gt_admin_of_shop_0123456789");
    add_token(&*server.store, viewer, Role::Viewer, Scope::All).await;
    let shop = Scope::Named(["shop".to_owned()].into());
    add_token(&*server.store, of_shop, Role::Admin, shop).await;
    let ask = |method, path: &str, token: &str| {
        let request = server.request(method, path).bearer_auth(token);
        refusal(request.body(json!({ "confirm": true, "name": "new", "label": "new" }).to_string()))
    };
    let keys = format!("{SHOP}/keys");
    for (method, path) in [
        (Method::POST, PROJECTS),
        (Method::PATCH, SHOP),
        (Method::DELETE, SHOP),
        (Method::POST, &keys),
        (Method::DELETE, &format!("{keys}/1")),
    ] {
        let (status, code, _) = ask(method.clone(), path, viewer).await;
        assert_eq!((status, &*code), (403, "role_needed"), "{method} {path}");
    }
    assert_eq!(ask(Method::POST, PROJECTS, of_shop).await.1, "role_needed");
    assert_eq!(ask(Method::GET, P, of_shop).await.1, "no_such_project");
    assert_eq!(ask(Method::GET, &keys, viewer).await.0, 200);
    let (_, seen) = sent(server.request(Method::GET, PROJECTS).bearer_auth(of_shop)).await;
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);
    let key = server
        .request(Method::GET, PROJECTS)
        .header("X-API-Key", KEY);
    assert_eq!(refusal(key).await.1, "agent_key");
}

#[tokio::test]
async fn several_keys_are_live_and_each_is_revoked_at_once() {
    let server = Server::start().await;
    let keys = format!("{P}/keys");
    let make =
        async |label: &str| made(&server, Method::POST, &keys, json!({ "label": label })).await;
    let (web, jobs) = (make("web").await, make("jobs").await);
    for key in [
        KEY,
        web["key"].as_str().unwrap(),
        jobs["key"].as_str().unwrap(),
    ] {
        assert_eq!(sent(events(&server, key)).await.0, 200);
    }
    server.state.save_activity().await;
    let listed = project(&server, &keys).await;
    let listed = listed["items"].as_array().unwrap();
    let labels: Vec<_> = listed
        .iter()
        .map(|key| key["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels.len(), 3);
    assert!(labels.contains(&"web") && labels.contains(&"jobs"));
    assert!(
        listed
            .iter()
            .all(|key| key["last_used_at"].is_string() && key.get("key").is_none())
    );

    let path = format!("{keys}/{}", web["id"].as_str().unwrap());
    made(&server, Method::DELETE, &path, json!({})).await;
    assert_eq!(
        sent(events(&server, web["key"].as_str().unwrap())).await.0,
        401
    );
    assert_eq!(
        sent(events(&server, jobs["key"].as_str().unwrap())).await.0,
        200
    );
}

/// A request for rules that the server holds for a minute.
async fn held(server: &Server, key: &str) -> tokio::task::JoinHandle<(u16, Value)> {
    let ask = || {
        server
            .request(Method::GET, "/api/v1/rules")
            .header("X-API-Key", key)
    };
    let tag = ask().send().await.unwrap().headers()["ETag"].clone();
    let request = ask()
        .header("If-None-Match", tag)
        .header("Prefer", "wait=60");
    tokio::spawn(sent(request))
}

#[tokio::test]
async fn a_held_request_ends_when_its_key_is_revoked_here_or_by_another_process() {
    let server = Server::start().await;
    let keys = format!("{P}/keys");
    let made_key = made(&server, Method::POST, &keys, json!({ "label": "web" })).await;
    let (id, key) = (
        made_key["id"].as_str().unwrap(),
        made_key["key"].as_str().unwrap(),
    );
    let waiting = held(&server, key).await;
    made(&server, Method::DELETE, &format!("{keys}/{id}"), json!({})).await;
    let ended = tokio::time::timeout(GENEROUS / 2, waiting).await;
    assert_eq!(ended.unwrap().unwrap().0, 401);

    let waiting = held(&server, KEY).await;
    let default = server
        .store
        .project_named("default")
        .await
        .unwrap()
        .unwrap();
    for key in server.store.keys(default.id).await.unwrap() {
        server
            .store
            .remove_key(default.id, key.id, None)
            .await
            .unwrap();
    }
    let ended = tokio::time::timeout(GENEROUS / 2, waiting).await;
    assert_eq!(ended.unwrap().unwrap().0, 401);
}

#[tokio::test]
async fn a_project_that_requires_encryption_refuses_plain_batches() {
    let server = Server::start().await;
    set(
        &server,
        json!({ "encryption_key": ENCRYPTION_KEY, "require_encryption": true }),
    )
    .await;
    for path in ["/api/v1/events", "/api/v1/metrics"] {
        let plain = server.post(path, batch("1", &[event("1")], &[metric(1.0)]));
        let expected = (403, "encryption_required".to_owned(), Value::Null);
        assert_eq!(refusal(plain).await, expected, "{path}");
    }
    let found = project(&server, P).await;
    assert_eq!(found["refused"]["encryption_required"], 2);
    assert_eq!(found["records"]["events"]["stored"], 0);
}

#[tokio::test]
async fn signatures_are_mandatory_only_if_the_project_says_so_and_wrong_ones_never_pass() {
    let server = Server::start().await;
    set(&server, json!({ "signing_secret": SECRET })).await;
    let body = batch("1", &[event("1")], &[]);
    let unsigned = || server.post("/api/v1/events", body.clone());
    let signed = |secret| {
        let signature = sign(body.as_bytes(), secret).unwrap();
        unsigned().header("X-Payload-Signature", signature)
    };
    assert_eq!(refusal(unsigned()).await.1, "signature_required");
    assert_eq!(sent(signed(SECRET)).await.0, 200);
    set(&server, json!({ "require_signature": false })).await;
    assert_eq!(sent(unsigned()).await.0, 200);
    assert_eq!(sent(signed(SECRET)).await.0, 200);
    assert_eq!(refusal(signed("another secret")).await.1, "wrong_signature");
    assert_eq!(project(&server, P).await["refused"]["signature"], 2);
}

#[tokio::test]
async fn only_addresses_of_the_allowlist_use_the_keys() {
    let setup = Setup {
        proxies: &["127.0.0.1"],
        ..Setup::default()
    };
    let server = setup.start().await;
    set(&server, json!({ "ip_allowlist": ["198.51.100.0/24"] })).await;
    let from = |path: &str, method, address: &str| {
        let request = server.request(method, path).header("X-API-Key", KEY);
        let request = request.body(batch("1", &[event("1")], &[]));
        request.header("X-Forwarded-For", address)
    };
    for (path, method) in [
        ("/api/v1/events", Method::POST),
        ("/api/v1/metrics", Method::POST),
        ("/api/v1/events/encrypted", Method::POST),
        ("/api/v1/status", Method::POST),
        ("/api/v1/rules", Method::GET),
    ] {
        for address in ["203.0.113.7", "198.51.100.7, 203.0.113.7"] {
            let refused = refusal(from(path, method.clone(), address)).await;
            let expected = (403, "address_not_allowed".to_owned(), Value::Null);
            assert_eq!(refused, expected, "{path} from {address}");
        }
    }
    let allowed = from("/api/v1/events", Method::POST, "203.0.113.7, 198.51.100.7");
    assert_eq!(sent(allowed).await.0, 200);
    assert_eq!(
        project(&server, P).await["refused"]["address_not_allowed"],
        10
    );
}

#[tokio::test]
async fn batches_over_the_quota_are_refused_before_any_work_and_other_projects_go_on() {
    let clock = Arc::new(Hand::default());
    let setup = Setup {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..Setup::default()
    };
    let server = setup.start().await;
    made(&server, Method::POST, PROJECTS, json!({ "name": "shop" })).await;
    let other = made(
        &server,
        Method::POST,
        &format!("{SHOP}/keys"),
        json!({ "label": "x" }),
    )
    .await;
    let other = other["key"].as_str().unwrap();
    set(&server, json!({ "quota_per_minute": 60 })).await;

    let two = batch("1", &[event("a"), event("b")], &[]);
    server.take("/api/v1/events", two).await;
    let all: Vec<_> = (0..58).map(|n| event(&n.to_string())).collect();
    server.take("/api/v1/events", batch("2", &all, &[])).await;
    for path in [
        "/api/v1/events",
        "/api/v1/metrics",
        "/api/v1/events/encrypted",
    ] {
        // Nothing looks into this body: it would be a 400.
        let garbage = server
            .post(path, gzip(b"x"))
            .header("Content-Encoding", "gzip");
        let response = garbage.send().await.unwrap();
        assert_eq!(response.headers()["Retry-After"], "1", "{path}");
        let (status, answer) = read(response).await;
        assert_eq!(
            (status, &answer["code"]),
            (429, &json!("quota_exceeded")),
            "{path}"
        );
    }
    assert_eq!(sent(events(&server, other)).await.0, 200);
    assert_eq!(sent(server.get("/api/v1/rules")).await.0, 200);
    clock.0.store(1, Ordering::Relaxed);
    server
        .take("/api/v1/events", batch("3", &[event("c")], &[]))
        .await;
    let found = project(&server, P).await;
    assert_eq!(found["refused"]["quota"], 3);
    assert_eq!(found["records"]["events"]["stored"], 61);
}

#[tokio::test]
async fn a_project_shows_its_counts_and_storage() {
    let server = Server::start().await;
    let wrong = json!({ "event_type": "x" });
    let body = batch("1", &[event("a"), event("a"), wrong], &[metric(1.0)]);
    server.take("/api/v1/events", body).await;
    let found = project(&server, P).await;
    assert_eq!(
        found["records"],
        json!({
            "events": { "stored": 1, "duplicates": 1, "invalid": 1 },
            "metrics": { "stored": 1, "duplicates": 0, "invalid": 0 },
        })
    );
    assert!(found["storage"]["bytes"].as_u64().unwrap() > 0);
    assert!(found["storage"]["bytes_per_day"].is_u64());
    assert_eq!(
        found["storage"]["days_left"],
        Value::Null,
        "90 days of this fit"
    );
}

#[tokio::test]
async fn a_removed_project_takes_its_keys_and_records_along_and_no_others() {
    let server = Server::start().await;
    made(&server, Method::POST, PROJECTS, json!({ "name": "shop" })).await;
    let keys = format!("{SHOP}/keys");
    let key = made(&server, Method::POST, &keys, json!({ "label": "x" })).await;
    let key = key["key"].as_str().unwrap();
    for key in [KEY, key] {
        assert_eq!(sent(events(&server, key)).await.0, 200);
    }
    let waiting = held(&server, key).await;
    made(&server, Method::DELETE, SHOP, json!({ "confirm": true })).await;
    let ended = tokio::time::timeout(GENEROUS / 2, waiting).await;
    assert_eq!(ended.unwrap().unwrap().0, 401);
    assert_eq!(sent(events(&server, key)).await.0, 401);
    made(&server, Method::POST, PROJECTS, json!({ "name": "shop" })).await;
    let found = project(&server, SHOP).await;
    assert_eq!(
        found["records"]["events"]["stored"], 0,
        "the name is free, the data is gone"
    );
    assert_eq!(project(&server, P).await["records"]["events"]["stored"], 1);
}
