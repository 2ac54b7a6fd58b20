//! What the server does when its disk is nearly full.

use std::sync::Arc;

use guard_server::Limits;
use guard_server::maintenance::retention::{expire_all, keep_reserve};
use guard_server::store::{Expired, Stores};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::{Server, Setup, batch, event, metric, noise};

async fn with_reserve(bytes: u64) -> Server {
    let limits = Limits {
        reserve: Some(bytes),
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        is_maintained: false,
        ..Setup::default()
    };
    setup.start().await
}

#[tokio::test]
async fn near_the_reserve_records_are_refused_and_reading_goes_on() {
    let server = with_reserve(u64::MAX).await;
    server
        .take("/api/v1/events", batch("1", &[event("a")], &[]))
        .await;
    keep_reserve(&server.state).await.unwrap();

    let refused = server.post("/api/v1/events", batch("2", &[event("b")], &[]));
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = refused.text().await.unwrap();
    assert!(refused.contains("nearly full"), "{refused}");
    // Nothing was removed, because so little would not help, and reading goes on.
    assert_eq!(server.summary().await["events"]["total"], 1);
}

#[tokio::test]
async fn near_the_reserve_the_oldest_records_give_way_to_new_ones() {
    let server = with_reserve(u64::MAX).await;
    let send = async |n: u64| {
        let mut event = event(&n.to_string());
        let at = Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_secs(n.cast_signed()));
        event["timestamp"] = json!(at.unwrap().to_string());
        event["reason"] = json!(noise(n, 200_000));
        server
            .take("/api/v1/events", batch("", &[event], &[]))
            .await;
    };
    for n in 0..100 {
        send(n).await;
    }
    keep_reserve(&server.state).await.unwrap();
    let total = server.summary().await["events"]["total"].as_u64().unwrap();
    assert!((50..100).contains(&total), "{total}");
    send(100).await;
    let newest = server.stored("events").await;
    assert_eq!(newest[0]["idempotency_key"], "100");
}

#[tokio::test]
async fn far_from_the_reserve_nothing_is_removed() {
    let server = with_reserve(0).await;
    server
        .take("/api/v1/events", batch("1", &[event("a")], &[]))
        .await;
    keep_reserve(&server.state).await.unwrap();
    server
        .take("/api/v1/events", batch("2", &[event("b")], &[]))
        .await;
    assert_eq!(server.summary().await["events"]["total"], 2);
}

#[tokio::test]
async fn records_expire_by_the_settings_of_their_project() {
    let server = with_reserve(0).await;
    let now = Timestamp::now();
    let ago = |hours| {
        now.saturating_sub(SignedDuration::from_hours(hours))
            .unwrap()
    };
    let events = [91 * 24, 89 * 24].map(|hours| {
        let mut event = event(&hours.to_string());
        event["timestamp"] = json!(ago(hours).to_string());
        event
    });
    let metrics = [25, 23].map(|hours| {
        let mut metric = metric(1.0);
        metric["timestamp"] = json!(ago(hours).to_string());
        metric
    });
    server
        .take("/api/v1/events", batch("1", &events, &metrics))
        .await;
    assert_eq!(server.summary().await["events"]["total"], 2);
    let mut removed = Expired::default();
    let stores = Stores::of(Arc::clone(&server.store));
    expire_all(&stores, now, &mut removed).await.unwrap();
    assert_eq!((removed.events, removed.metrics), (1, 1));
    let summary = server.summary().await;
    assert_eq!(
        (&summary["events"]["total"], &summary["metrics"]["total"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(server.stored("events").await[0]["idempotency_key"], "2136");
}
