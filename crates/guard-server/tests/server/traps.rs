//! Input from real agents that a strict server would refuse.

use guard_server::Limits;
use serde_json::{Value, json};

use crate::support::{AT, Server, Setup, batch, event, gzip, metric};

#[tokio::test]
async fn times_with_a_space_a_t_or_no_offset_are_the_same_time() {
    let server = Server::start().await;
    let events: Vec<_> = [
        "2026-11-22 14:28:58.961533+00:00",
        "2026-11-22T14:28:58.961533+00:00",
        "2026-11-22T14:28:58.961533",
        "2026-11-22 14:28:58.961533",
    ]
    .iter()
    .map(|at| json!({ "timestamp": at, "event_type": "x" }))
    .collect();
    let answer = server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;
    assert_eq!(answer["events_processed"], 4);
    assert_eq!(answer["events_dropped_invalid_timestamp"], 0);
}

#[tokio::test]
async fn bare_nan_and_infinity_are_accepted_and_stored_as_null() {
    let server = Server::start().await;
    let body = format!(
        r#"{{"metrics": [{{"timestamp": "{AT}", "metric_type": "error_rate", "value": NaN,
            "tags": {{"a": -Infinity, "b": "NaN"}}}}], "events": [{{"timestamp": "{AT}",
            "event_type": "x", "response_time": Infinity}}]}}"#
    );
    let answer = server.take("/api/v1/metrics", body).await;
    assert_eq!(answer["metrics_processed"], 1);
    let metric = &server.stored("metrics").await[0];
    assert_eq!(metric["value"], Value::Null);
    assert_eq!(metric["tags"], json!({ "a": null, "b": "NaN" }));
    assert_eq!(
        server.stored("events").await[0]["response_time"],
        Value::Null
    );
}

#[tokio::test]
async fn numbers_beyond_the_range_of_a_double_are_accepted_and_stored_as_null() {
    let server = Server::start().await;
    let body = format!(
        r#"{{"events": [{{"timestamp": "{AT}", "event_type": "seen", "response_time": 1e400}}]}}"#
    );
    server.take("/api/v1/events", body).await;
    let event = &server.stored("events").await[0];
    assert_eq!(event["response_time"], Value::Null);
    let report = server.post(
        "/api/v1/status",
        r#"{"status": "healthy", "uptime": -1e400}"#,
    );
    assert_eq!(report.send().await.unwrap().status(), 200);
    let agent = &server.summary().await["agents"][0];
    assert_eq!(
        agent["status"],
        json!({ "status": "healthy", "uptime": null })
    );
}

#[tokio::test]
async fn unpaired_surrogates_are_replaced() {
    let server = Server::start().await;
    let body = format!(
        r#"{{"events": [{{"timestamp": "{AT}", "event_type": "x", "endpoint": "/\udc80",
            "user_agent": "\ud83d\ude00 \ud83d"}}]}}"#
    );
    server.take("/api/v1/events", body).await;
    let event = &server.stored("events").await[0];
    assert_eq!(event["endpoint"], "/\u{fffd}");
    assert_eq!(event["user_agent"], "\u{1f600} \u{fffd}");
}

#[tokio::test]
async fn a_bad_record_is_left_out_counted_and_named_and_the_rest_is_accepted() {
    let server = Server::start().await;
    let events = [
        event("a"),
        json!({ "timestamp": "yesterday", "event_type": "x" }),
        json!({ "event_type": "x" }),
        json!({ "timestamp": AT }),
        json!("not an object"),
        event("b"),
    ];
    let metrics = [
        metric(1.0),
        json!({ "timestamp": AT, "metric_type": "mood" }),
    ];
    let answer = server
        .take("/api/v1/events", batch("1", &events, &metrics))
        .await;
    assert_eq!(answer["events_received"], 6);
    assert_eq!(answer["events_processed"], 2);
    assert_eq!(answer["events_dropped_invalid_timestamp"], 2);
    assert_eq!(answer["metrics_processed"], 1);
    let left_out: Vec<_> = answer["invalid"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["kind"].as_str().unwrap(), it["index"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        left_out,
        [
            ("event", 1),
            ("event", 2),
            ("event", 3),
            ("event", 4),
            ("metric", 1)
        ]
    );
    let summary = server.summary().await;
    assert_eq!(summary["invalid"], json!({ "events": 4, "metrics": 1 }));
    assert_eq!(summary["events"]["total"], 2);
}

#[tokio::test]
async fn a_field_that_is_too_long_leaves_its_record_out_with_the_reason() {
    let limits = Limits {
        encoded: 1 << 20,
        decoded: 1 << 20,
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let server = setup.start().await;
    let long = "x".repeat(70_000);
    let fields = [
        "idempotency_key",
        "event_type",
        "ip_address",
        "method",
        "endpoint",
    ];
    let mut events = vec![event("a")];
    for field in fields {
        let mut with = event(field);
        with[field] = json!(long);
        events.push(with);
    }
    let body = batch("1", &events, &[]);
    let answer = server.take("/api/v1/events", body).await;
    assert_eq!(answer["events_processed"], 1);
    for (field, left_out) in fields.iter().zip(answer["invalid"].as_array().unwrap()) {
        let reason = left_out["reason"].as_str().unwrap();
        let expected = format!("`{field}` is longer than ");
        assert!(reason.starts_with(&expected), "{reason}");
    }
    let summary = server.summary().await;
    assert_eq!(summary["invalid"], json!({ "events": 5, "metrics": 0 }));
    assert_eq!(summary["events"]["total"], 1);
}

#[tokio::test]
async fn the_answer_stays_small_with_many_bad_records() {
    let server = Server::start().await;
    let events = vec![json!(0); 5000];
    let answer = server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;
    assert_eq!(answer["events_received"], 5000);
    assert_eq!(answer["invalid"].as_array().unwrap().len(), 20);
    assert_eq!(server.summary().await["invalid"]["events"], 5000);
}

#[tokio::test]
async fn unknown_keys_are_kept_and_the_record_stays_unchanged() {
    let server = Server::start().await;
    let event = json!({
        "timestamp": AT, "event_type": "a_type_of_tomorrow", "ip_address": "", "zz": [1, 2.50],
        "metadata": { "guard.threat_score": 0.9, "traceparent": "00-ab" }, "country": null,
    });
    let body = batch("1", std::slice::from_ref(&event), &[]);
    server.take("/api/v1/events", body).await;
    assert_eq!(server.stored("events").await, [event]);
}

#[tokio::test]
async fn fields_that_guard_core_adds_are_stored_unchanged() {
    let server = Server::start().await;
    let events = [0, 50, 100].map(|score| {
        let mut event = event(&format!("e{score}"));
        event["metadata"] = json!({
            "guard.threat_score": score, "guard.project_id": "shop", "guard.rule.id": "r",
            "guard.rule.version": 7, "guard.behavior.correlation_key": "0f", "traceparent": "00-ab",
            "guard.behavior.recent_event_count": 3, "guard.service.name": "till",
            "guard.deployment.environment": "live",
        });
        event
    });
    let answer = server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;
    assert_eq!(answer["events_processed"], 3);
    let mut stored = server.stored("events").await;
    stored.sort_by_key(|event| event["metadata"]["guard.threat_score"].as_u64());
    assert_eq!(stored, events);
}

#[tokio::test]
async fn gzip_with_several_members_is_one_body() {
    let server = Server::start().await;
    let body = batch("1", &[event("a")], &[]);
    let (head, tail) = body.as_bytes().split_at(body.len() / 2);
    let members = [gzip(head), gzip(tail)].concat();
    let request = server.post("/api/v1/events", members);
    let response = request.header("Content-Encoding", "GZIP").send().await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(server.stored("events").await, [event("a")]);
}

#[tokio::test]
async fn a_record_with_too_deep_nesting_is_left_out() {
    let server = Server::start().await;
    let deep = format!(
        r#"{{"timestamp":"{AT}","event_type":"x","metadata":{}{}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    let body = format!(r#"{{"events": [{deep}, {}]}}"#, event("a"));
    let answer = server.take("/api/v1/events", body).await;
    assert_eq!(answer["events_processed"], 1);
    assert!(
        answer["invalid"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("64 levels")
    );
}
