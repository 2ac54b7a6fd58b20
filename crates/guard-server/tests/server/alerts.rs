//! Alerts and channels over HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use guard_server::alerts::sender::Attempt;
use guard_server::alerts::{Answer, Channel, Notification, Sender};
use guard_server::people::{Role, Scope};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{P, Server, Setup, add_token, batch, event, maintain, read};

const OPERATOR: &str = "gt_operator_0123456789";

fn settings() -> Value {
    json!({
        "label": "Brute force",
        "condition": { "type": "threshold", "filter": "endpoint:/login", "count": 5, "window_s": 60 },
        "group_by": "ip_address",
    })
}

async fn call(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = server.ask(method, path).body(body.to_string());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn channel(server: &Server, url: &str) -> String {
    let body =
        json!({ "label": "Ops", "type": "webhook", "url": url, "secret": "hush-hush-hush-hush" });
    let (status, made) = call(server, Method::POST, "/api/v1/channels", body).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_project_has_alerts_from_the_start() {
    let server = Server::start().await;
    let (_, listed) = server.query("alerts").await;
    let items = listed["items"].as_array().unwrap();
    let labels: Vec<_> = items
        .iter()
        .map(|it| it["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels.len(), 4);
    for label in ["Agent silent", "Records lost", "Storage", "Attack"] {
        assert!(labels.contains(&label), "{labels:?}");
    }
    assert!(
        items
            .iter()
            .all(|it| it["active"] == json!([]) && it["failure"].is_null())
    );
}

#[tokio::test]
async fn an_alert_is_added_changed_muted_and_removed() {
    let server = Server::start().await;
    let alerts = format!("{P}/alerts");
    let (status, made) = call(&server, Method::POST, &alerts, settings()).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("{alerts}/{}", made["id"].as_str().unwrap());
    let (status, changed) = call(&server, Method::PATCH, &path, json!({ "enabled": false })).await;
    assert_eq!(
        (status, &changed["enabled"]),
        (200, &json!(false)),
        "{changed}"
    );
    assert_eq!(changed["condition"], settings()["condition"]);
    let mute = format!("{path}/mute");
    let (_, muted) = call(&server, Method::POST, &mute, json!({ "duration_s": 60 })).await;
    assert!(muted["muted_until"].is_string(), "{muted}");
    let (_, muted) = call(&server, Method::POST, &mute, json!({ "duration_s": 0 })).await;
    assert_eq!(muted["muted_until"], Value::Null);
    let (status, _) = call(&server, Method::DELETE, &path, json!({})).await;
    assert_eq!(status, 204);
    let (status, gone) = call(&server, Method::DELETE, &path, json!({})).await;
    assert_eq!((status, &gone["code"]), (404, &json!("no_such_alert")));
    let audit = read(server.get("/api/v1/audit").send().await.unwrap())
        .await
        .1;
    let actions = audit["items"].as_array().unwrap().iter();
    let actions: Vec<_> = actions.map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "alert.remove",
            "alert.mute",
            "alert.mute",
            "alert.change",
            "alert.add"
        ]
    );
}

#[tokio::test]
async fn bad_input_is_refused_with_the_field() {
    let server = Server::start().await;
    let with = |pointer: &str, value: Value| {
        let mut settings = settings();
        *settings.pointer_mut(pointer).unwrap() = value;
        settings
    };
    let alerts = format!("{P}/alerts");
    for (body, code, field) in [
        (
            with("/condition/filter", json!("a OR (")),
            "invalid_filter",
            "condition.filter",
        ),
        (
            with("/condition/window_s", json!(0)),
            "invalid_alert",
            "condition.window_s",
        ),
        (
            with("/condition/type", json!("tide")),
            "invalid_alert",
            "condition.type",
        ),
        (
            with("/group_by", json!("adress")),
            "invalid_alert",
            "group_by",
        ),
        (with("/label", json!("")), "invalid_alert", "label"),
    ] {
        let (status, error) = call(&server, Method::POST, &alerts, body).await;
        assert_eq!(status, 400, "{error}");
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!(code), &json!(field)),
            "{error}"
        );
    }
    let mut unknown = settings();
    unknown["channels"] = json!(["none"]);
    let (_, error) = call(&server, Method::POST, &alerts, unknown).await;
    assert_eq!(error["field"], "channels[0]", "{error}");
    for (body, field) in [
        (
            json!({ "label": "x", "type": "webhook", "url": "hush" }),
            "url",
        ),
        (
            json!({ "label": "x", "type": "webhook", "url": "ftp://hush/" }),
            "url",
        ),
        (json!({ "label": "x", "type": "webhook" }), "url"),
        (
            json!({ "label": "x", "type": "webhook", "to": "hush@example.com" }),
            "to",
        ),
        (json!({ "label": "x", "type": "email", "to": "hush" }), "to"),
        (
            json!({ "label": "x", "type": "pigeon", "to": "hush" }),
            "type",
        ),
    ] {
        let (status, error) = call(&server, Method::POST, "/api/v1/channels", body).await;
        assert_eq!((status, &error["field"]), (400, &json!(field)), "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn operators_manage_alerts_and_admins_channels() {
    let server = Server::start().await;
    add_token(&*server.store, OPERATOR, Role::Operator, Scope::All).await;
    let ask = async |method: Method, path: &str, body: Value| {
        let request = server
            .request(method, path)
            .bearer_auth(OPERATOR)
            .body(body.to_string());
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(
        ask(Method::POST, &format!("{P}/alerts"), settings()).await,
        201
    );
    assert_eq!(ask(Method::GET, "/api/v1/channels", json!({})).await, 200);
    assert_eq!(ask(Method::POST, "/api/v1/channels", json!({})).await, 403);
    assert_eq!(
        ask(Method::POST, "/api/v1/channels/x/test", json!({})).await,
        403
    );
}

#[tokio::test]
async fn the_secrets_of_a_channel_are_never_shown() {
    let server = Server::start().await;
    let id = channel(&server, "https://hooks.example.com/hush?token=hush").await;
    let (_, listed) = call(&server, Method::GET, "/api/v1/channels", json!({})).await;
    assert_eq!(listed["items"][0]["target"], "https://hooks.example.com/…");
    assert_eq!(listed["items"][0]["has_secret"], true);
    let path = format!("/api/v1/channels/{id}");
    let change = json!({ "label": "Others", "secret": null });
    let (status, changed) = call(&server, Method::PATCH, &path, change).await;
    assert_eq!(
        (status, &changed["has_secret"]),
        (200, &json!(false)),
        "{changed}"
    );
    let audit = read(server.get("/api/v1/audit").send().await.unwrap())
        .await
        .1;
    for text in [listed, changed, audit] {
        assert!(!text.to_string().contains("hush"), "{text}");
    }
}

#[tokio::test]
async fn a_channel_in_use_stays() {
    let server = Server::start().await;
    let id = channel(&server, "https://hooks.example.com/x").await;
    let mut settings = settings();
    settings["channels"] = json!([id]);
    let (_, made) = call(&server, Method::POST, &format!("{P}/alerts"), settings).await;
    let path = format!("/api/v1/channels/{id}");
    let (status, error) = call(&server, Method::DELETE, &path, json!({})).await;
    assert_eq!((status, &error["code"]), (400, &json!("in_use")), "{error}");
    assert!(error["detail"].as_str().unwrap().contains("Brute force"));
    let alert = format!("{P}/alerts/{}", made["id"].as_str().unwrap());
    call(&server, Method::DELETE, &alert, json!({})).await;
    assert_eq!(call(&server, Method::DELETE, &path, json!({})).await.0, 204);
}

/// Keeps what it is asked to send, and answers only if it is told to.
#[derive(Default)]
struct Receiver {
    answers: bool,
    sent: Mutex<Vec<Notification>>,
}

impl Sender for Receiver {
    fn send<'a>(&'a self, _: &'a Channel, notification: &'a Notification) -> Attempt<'a> {
        self.sent.lock().unwrap().push(notification.clone());
        if self.answers {
            Box::pin(async { Ok(Answer::default()) })
        } else {
            Box::pin(std::future::pending())
        }
    }
}

/// A server with an alert that starts at its first evaluation.
async fn alarmed(answers: bool) -> (Server, Arc<Receiver>) {
    let receiver = Arc::new(Receiver {
        answers,
        ..Receiver::default()
    });
    let setup = Setup {
        sender: Some(Arc::clone(&receiver) as Arc<dyn Sender>),
        is_maintained: false,
        ..Setup::default()
    };
    let server = setup.start().await;
    let id = channel(&server, "https://hooks.example.com/x").await;
    let mut settings = settings();
    settings["channels"] = json!([id]);
    call(&server, Method::POST, &format!("{P}/alerts"), settings).await;
    let now = jiff::Timestamp::now();
    let events: Vec<_> = (0..7)
        .map(|n| {
            json!({ "idempotency_key": n.to_string(), "timestamp": now, "event_type": "x",
            "endpoint": "/login", "ip_address": "203.0.113.7" })
        })
        .collect();
    server
        .take("/api/v1/events", batch("b", &events, &[]))
        .await;
    maintain(&server.state);
    (server, receiver)
}

async fn until<T>(mut found: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = found().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_was_committed_is_told_and_kept_in_the_history() {
    let (server, receiver) = alarmed(true).await;
    let (_, listed) = server.query("alerts").await;
    let alerts = listed["items"].as_array().unwrap().iter();
    let mut alerts = alerts.filter(|it| it["label"] == "Brute force");
    let path = format!(
        "alerts/{}/history",
        alerts.next().unwrap()["id"].as_str().unwrap()
    );
    let history = until(async || {
        let (_, history) = server.query(&path).await;
        (history["items"].as_array()?.len() == 2).then_some(history)
    })
    .await;
    let [delivered, started] = [&history["items"][0], &history["items"][1]];
    assert_eq!(
        (&started["event"], &started["told"]),
        (&json!("started"), &json!(true))
    );
    assert_eq!(
        started["summary"],
        "7 events within 60 seconds, ip_address 203.0.113.7"
    );
    assert_eq!(delivered["event"], "delivered", "{history}");
    let sent = receiver.sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 1);
    assert_eq!(delivered["notification"], sent[0].id);
    assert_eq!(sent[0].top_addresses[0].value, "203.0.113.7");
    let (_, listed) = server.query("alerts").await;
    let mut items = listed["items"].as_array().unwrap().iter();
    let active = items.find_map(|it| it["active"].get(0)).unwrap();
    assert_eq!(
        (&active["group"], &active["told"]),
        (&json!("203.0.113.7"), &json!(true))
    );
    let page = format!("{path}?limit=1");
    let (_, first) = server.query(&page).await;
    let next = first["next"].as_str().unwrap();
    let (_, second) = server.query(&format!("{page}&cursor={next}")).await;
    assert_eq!(
        (&second["items"][0], &second["next"]),
        (started, &Value::Null)
    );
    let (status, error) = server.query(&format!("{page}&cursor=AAAA")).await;
    assert_eq!((status, &error["field"]), (400, &json!("cursor")));
    let expected = [
        "guard_server_alert_notifications_total{state=\"started\"} 1",
        "guard_server_alert_deliveries_total{type=\"webhook\",outcome=\"delivered\"} 1",
    ];
    // An evaluation is counted when it is over. Its notifications may be delivered before that.
    until(async || {
        let metrics = server.get("/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        expected
            .iter()
            .all(|line| metrics.contains(line))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_holds_up_no_records() {
    let (server, receiver) = alarmed(false).await;
    until(async || (!receiver.sent.lock().unwrap().is_empty()).then_some(())).await;
    // The attempt is still going on.
    for n in 0..20 {
        let batch = batch(&format!("more-{n}"), &[event(&format!("more-{n}"))], &[]);
        server.take("/api/v1/events", batch).await;
    }
    assert_eq!(receiver.sent.lock().unwrap().len(), 1);
    assert_eq!(server.stored("events").await.len(), 27);
}

#[tokio::test]
async fn a_test_says_what_the_receiver_answered() {
    let receiver = Arc::new(Receiver {
        answers: true,
        ..Receiver::default()
    });
    let setup = Setup {
        sender: Some(Arc::clone(&receiver) as Arc<dyn Sender>),
        ..Setup::default()
    };
    let server = setup.start().await;
    let id = channel(&server, "https://hooks.example.com/x").await;
    let path = format!("/api/v1/channels/{id}/test");
    let (status, answer) = call(&server, Method::POST, &path, json!({})).await;
    assert_eq!(
        (status, &answer["delivered"]),
        (200, &json!(true)),
        "{answer}"
    );
    assert!(receiver.sent.lock().unwrap()[0].test);
    let other = Server::start().await;
    let id = channel(&other, "https://hooks.example.com/x").await;
    let path = format!("/api/v1/channels/{id}/test");
    let (status, answer) = call(&other, Method::POST, &path, json!({})).await;
    assert_eq!(
        (status, &answer["delivered"]),
        (200, &json!(false)),
        "{answer}"
    );
    assert_eq!(answer["text"], "this server was built without channels");
}
