//! Records are delivered at least once, and stored once.

use serde_json::json;

use crate::support::{AT, Server, batch, event, metric};

#[tokio::test]
async fn a_repeated_record_is_acknowledged_but_not_stored_again() {
    let server = Server::start().await;
    let keyed =
        json!({ "idempotency_key": "m", "timestamp": AT, "metric_type": "error_rate", "value": 1 });
    for batch_id in ["1", "2"] {
        let body = batch(
            batch_id,
            &[event("a"), event("b")],
            std::slice::from_ref(&keyed),
        );
        let answer = server.take("/api/v1/events", body).await;
        assert_eq!(answer["events_processed"], 2);
        assert_eq!(answer["metrics_processed"], 1);
    }
    let summary = server.summary().await;
    assert_eq!(summary["events"]["total"], 2);
    assert_eq!(summary["metrics"]["total"], 1);
    assert_eq!(summary["duplicates"], json!({ "events": 2, "metrics": 1 }));
}

#[tokio::test]
async fn a_duplicate_within_a_batch_is_found_too() {
    let server = Server::start().await;
    let body = batch("1", &[event("a"), event("a")], &[]);
    let answer = server.take("/api/v1/events", body).await;
    assert_eq!(answer["duplicates"], json!({ "events": 1, "metrics": 0 }));
    assert_eq!(server.stored("events").await.len(), 1);
}

#[tokio::test]
async fn an_event_and_a_metric_may_share_a_key() {
    let server = Server::start().await;
    let metric =
        json!({ "idempotency_key": "a", "timestamp": AT, "metric_type": "error_rate", "value": 1 });
    server
        .take("/api/v1/events", batch("1", &[event("a")], &[metric]))
        .await;
    assert_eq!(
        server.summary().await["duplicates"],
        json!({ "events": 0, "metrics": 0 })
    );
}

#[tokio::test]
async fn batches_without_keys_and_with_an_empty_id_are_distinct() {
    let server = Server::start().await;
    for _ in 0..2 {
        let body = batch("", &[], &[metric(1.0)]);
        server.take("/api/v1/metrics", body).await;
    }
    assert_eq!(server.summary().await["metrics"]["total"], 2);
}

#[tokio::test]
async fn a_repeated_batch_without_keys_is_recognized_by_its_id() {
    let server = Server::start().await;
    let body = batch(
        "1795357738000-0a1b2c3d",
        &[],
        &[metric(1.0), metric(1.0), metric(2.0)],
    );
    let first = server.take("/api/v1/metrics", body.clone()).await;
    assert_eq!(
        first["duplicates"]["metrics"], 0,
        "twins within a batch are two records"
    );
    let again = server.take("/api/v1/metrics", body).await;
    assert_eq!(again["duplicates"]["metrics"], 3);
    assert_eq!(server.summary().await["metrics"]["total"], 3);
}

#[tokio::test]
async fn halves_with_the_id_of_their_batch_are_stored_and_the_whole_is_recognized() {
    let server = Server::start().await;
    let metrics = [metric(1.0), metric(2.0), metric(3.0), metric(4.0)];
    server
        .take("/api/v1/metrics", batch("id", &[], &metrics[..2]))
        .await;
    server
        .take("/api/v1/metrics", batch("id", &[], &metrics[2..]))
        .await;
    assert_eq!(server.summary().await["metrics"]["total"], 4);
    server
        .take("/api/v1/metrics", batch("id", &[], &metrics))
        .await;
    assert_eq!(server.summary().await["metrics"]["total"], 4);
}

#[tokio::test]
async fn equal_records_of_different_batches_are_different_records() {
    let server = Server::start().await;
    server
        .take("/api/v1/metrics", batch("1", &[], &[metric(1.0)]))
        .await;
    server
        .take("/api/v1/metrics", batch("2", &[], &[metric(1.0)]))
        .await;
    assert_eq!(server.summary().await["metrics"]["total"], 2);
}

#[tokio::test]
async fn without_key_and_batch_id_everything_is_stored() {
    let server = Server::start().await;
    let body = json!({ "metrics": [metric(1.0)] }).to_string();
    server.take("/api/v1/metrics", body.clone()).await;
    server.take("/api/v1/metrics", body).await;
    assert_eq!(server.summary().await["metrics"]["total"], 2);
}

#[tokio::test]
async fn concurrent_requests_store_a_record_once() {
    let server = Server::start().await;
    let body = batch("1", &[event("a")], &[metric(1.0)]);
    let sends = (0..20).map(|_| server.post("/api/v1/events", body.clone()).send());
    for response in futures_util::future::join_all(sends).await {
        assert_eq!(response.unwrap().status(), 200);
    }
    let summary = server.summary().await;
    assert_eq!(summary["events"]["total"], 1);
    assert_eq!(
        summary["duplicates"],
        json!({ "events": 19, "metrics": 19 })
    );
}
