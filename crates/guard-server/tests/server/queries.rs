//! Queries for received records.

use std::collections::BTreeSet;

use guard_server::Limits;
use serde_json::{Value, json};

use crate::support::{ALWAYS, AT, P, Server, Setup, batch, event, events_of, read, refused};

#[tokio::test]
async fn an_empty_server_returns_zeros() {
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
async fn types_beyond_the_limit_are_counted_together() {
    let server = Server::start().await;
    let of = |n: usize| json!({ "timestamp": AT, "event_type": format!("type-{n:04}") });
    for (id, range) in [
        ("1", 0..500),
        ("2", 400..900),
        ("3", 800..1300),
        ("4", 1200..1300),
    ] {
        let events: Vec<_> = range.map(of).collect();
        server.take("/api/v1/events", batch(id, &events, &[])).await;
    }
    let events = &server.summary().await["events"];
    let by_type = events["by_type"].as_object().unwrap();
    assert_eq!(by_type.len(), 1000);
    assert_eq!(
        (&by_type["type-0450"], &by_type["type-0850"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        (&events["other"], &events["total"]),
        (&json!(400), &json!(1600))
    );
    assert_eq!(server.stored("events").await.len(), 1000, "a page of them");
}

#[tokio::test]
async fn invented_installs_displace_no_real_ones() {
    let limits = Limits {
        installs: 3,
        ..Setup::default().limits
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let server = setup.start().await;
    let report = async |install: &str| {
        let request = server.post("/api/v1/status", r#"{"status": "healthy"}"#);
        let request = request.header("X-Agent-Install-Id", install);
        assert_eq!(request.send().await.unwrap().status(), 200);
        let request = server
            .get("/api/v1/rules")
            .header("X-Agent-Install-Id", install);
        assert_eq!(request.send().await.unwrap().status(), 200);
    };
    report("real-1").await;
    report("real-2").await;
    for n in 0..20 {
        report(&format!("invented-{n}")).await;
    }
    let names = |agents: &Value| {
        let agents = agents.as_array().unwrap().iter();
        let names = agents.map(|agent| agent["install_id"].as_str().unwrap().to_owned());
        names.collect::<BTreeSet<_>>()
    };
    let expected = BTreeSet::from(["invented-0", "real-1", "real-2"].map(str::to_owned));
    assert_eq!(names(&server.summary().await["agents"]), expected);
    let adoption = server
        .get("/api/v1/projects/default/rules/adoption")
        .send()
        .await
        .unwrap();
    assert_eq!(names(&read(adoption).await.1["agents"]), expected);
}

#[tokio::test]
async fn the_newest_records_come_first() {
    let server = Server::start().await;
    let events = [event("1"), event("2"), event("3")];
    server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;
    let response = server
        .get(&format!("{P}/events?limit=2&{ALWAYS}"))
        .send()
        .await
        .unwrap();
    let (_, answer) = read(response).await;
    assert_eq!(events_of(&answer), [event("3"), event("2")]);
}

#[tokio::test]
async fn consecutive_pages_contain_every_record_once() {
    let server = Server::start().await;
    let events: Vec<_> = (0..25).map(|n| event(&n.to_string())).collect();
    server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;
    let mut keys = Vec::new();
    let mut path = format!("{P}/events?limit=10&{ALWAYS}");
    loop {
        let (_, page) = read(server.get(&path).send().await.unwrap()).await;
        let events = events_of(&page);
        keys.extend(events.iter().map(|it| it["idempotency_key"].to_string()));
        // Records that arrive while a client reads pages do not affect the pages.
        server
            .take("/api/v1/events", batch("2", &[event("late")], &[]))
            .await;
        match page["next"].as_str() {
            None => break,
            Some(next) => path = format!("{P}/events?limit=10&{ALWAYS}&cursor={next}"),
        }
    }
    assert_eq!(keys.len(), 25);
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 25);
}

#[tokio::test]
async fn a_list_of_large_records_ends_early_and_the_next_page_continues() {
    let server = for_large_records().await;
    let large = |n: usize| json!({ "timestamp": AT, "event_type": "x", "n": n, "reason": "x".repeat(1 << 20) });
    let events: Vec<_> = (0..20).map(large).collect();
    server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;
    let list = async |query: &str| {
        let request = server.get(&format!("{P}/events?limit=1000&{ALWAYS}{query}"));
        let (_, page) = read(request.send().await.unwrap()).await;
        let events = events_of(&page).into_iter();
        let numbers: Vec<_> = events.map(|event| event["n"].as_u64().unwrap()).collect();
        (numbers, page["next"].clone())
    };
    let (newest, next) = list("").await;
    assert_eq!(newest, (4..20).rev().collect::<Vec<_>>());
    let (oldest, next) = list(&format!("&cursor={}", next.as_str().unwrap())).await;
    assert_eq!(oldest, [3, 2, 1, 0]);
    assert_eq!(next, Value::Null);
}

#[tokio::test]
async fn a_record_that_fills_a_whole_list_is_included() {
    let server = for_large_records().await;
    for n in 0..2 {
        let event =
            json!({ "timestamp": AT, "event_type": "x", "n": n, "reason": "x".repeat(16 << 20) });
        server
            .take("/api/v1/events", batch("1", &[event], &[]))
            .await;
    }
    assert_eq!(server.stored("events").await.len(), 1);
}

#[tokio::test]
async fn a_summary_includes_large_reports_up_to_its_limit() {
    let server = for_large_records().await;
    for install in 0..4 {
        let report = json!({ "status": "healthy", "more": "x".repeat(8 << 20) }).to_string();
        let request = server.post("/api/v1/status", report);
        let response = request.header("X-Agent-Install-Id", install).send().await;
        assert_eq!(response.unwrap().status(), 200);
    }
    let summary = server.summary().await;
    let agents = summary["agents"].as_array().unwrap().iter();
    let installs: Vec<_> = agents.map(|agent| agent["install_id"].clone()).collect();
    assert_eq!(installs, ["3", "2"]);
}

async fn for_large_records() -> Server {
    let limits = Limits {
        encoded: 32 << 20,
        decoded: 32 << 20,
        status: 32 << 20,
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    setup.start().await
}

#[tokio::test]
async fn an_error_names_a_parameter_out_of_range() {
    let server = Server::start().await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "cursor=x",
        "cursor=AAAA",
        "before=x",
    ] {
        let request = server.get(&format!("/api/v1/projects/default/metrics?{query}"));
        let (status, detail) = refused(request).await;
        assert_eq!(status, 400, "{query}");
        let name = query.split('=').next().unwrap();
        assert!(detail.contains(name), "{detail}");
    }
}

#[tokio::test]
async fn a_filter_selects_records_over_all_pages() {
    let server = Server::start().await;
    let of = |n: usize| {
        let code = if n.is_multiple_of(40) { 403 } else { 200 };
        json!({ "timestamp": AT, "event_type": "seen", "status_code": code, "metadata": { "n": n } })
    };
    let events: Vec<_> = (0..400).map(of).collect();
    server
        .take("/api/v1/events", batch("1", &events, &[]))
        .await;

    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!(
            "{P}/events?limit=3&{ALWAYS}&filter=status_code:%3E=400%20-metadata.n:0{cursor}"
        );
        let (status, page) = read(server.get(&path).send().await.unwrap()).await;
        assert_eq!(status, 200);
        let events = events_of(&page);
        found.extend(
            events
                .iter()
                .map(|event| event["metadata"]["n"].as_u64().unwrap()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = (1..10).rev().map(|n| n * 40).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_is_refused_with_the_place() {
    let server = Server::start().await;
    let request = server.get("/api/v1/projects/default/events?filter=a%20event_tipe:x");
    let (status, detail) = refused(request).await;
    assert_eq!(status, 400);
    assert!(detail.contains("did you mean event_type?"), "{detail}");
    assert!(detail.contains("character 2"), "{detail}");
}
