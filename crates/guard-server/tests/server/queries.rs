//! Reading back what was received.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{AT, Server, batch, event, read, refused};

#[tokio::test]
async fn an_empty_server_answers_zeros() {
    let server = Server::start().await;
    let none = json!({ "total": 0, "by_type": {} });
    let zeros = json!({ "events": 0, "metrics": 0 });
    assert_eq!(
        server.summary().await,
        json!({ "events": none, "metrics": none, "duplicates": zeros, "invalid": zeros, "agents": [] })
    );
}

#[tokio::test]
async fn a_summary_counts_by_type() {
    let server = Server::start().await;
    let of = |name: &str| json!({ "timestamp": AT, "event_type": name });
    let body = batch("1", &[of("a"), of("b"), of("a")], &[]);
    server.take("/api/v1/events", body).await;
    assert_eq!(
        server.summary().await["events"],
        json!({ "total": 3, "by_type": { "a": 2, "b": 1 } })
    );
}

#[tokio::test]
async fn the_newest_records_come_first() {
    let server = Server::start().await;
    let events = [event("1"), event("2"), event("3")];
    server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;
    let response = server.get("/api/v1/events?limit=2").send().await.unwrap();
    let (_, answer) = read(response).await;
    assert_eq!(answer["events"], json!([event("3"), event("2")]));
}

#[tokio::test]
async fn pages_that_follow_one_another_hold_every_record_once() {
    let server = Server::start().await;
    let events: Vec<_> = (0..25).map(|n| event(&n.to_string())).collect();
    server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;
    let mut keys = Vec::new();
    let mut path = "/api/v1/events?limit=10".to_owned();
    loop {
        let (_, page) = read(server.get(&path).send().await.unwrap()).await;
        let events = page["events"].as_array().unwrap();
        keys.extend(
            events
                .iter()
                .map(|it| it["idempotency_key"].clone().to_string()),
        );
        // What comes in while somebody pages does not disturb them.
        server
            .take("/api/v1/events", batch("2", &[event("late")], &[]))
            .await;
        match &page["next_before"] {
            Value::Null => break,
            next => path = format!("/api/v1/events?limit=10&before={next}"),
        }
    }
    assert_eq!(keys.len(), 25);
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 25);
}

#[tokio::test]
async fn parameters_out_of_range_are_refused_by_name() {
    let server = Server::start().await;
    for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "before=x"] {
        let request = server.get(&format!("/api/v1/metrics?{query}"));
        let (status, detail) = refused(request).await;
        assert_eq!(status, 400, "{query}");
        let name = query.split('=').next().unwrap();
        assert!(detail.contains(name), "{detail}");
    }
}
