//! Queries of people over HTTP: counts that agree, answers of the pages, and bad input.

use guard_server::Limits;
use guard_server::people::{Role, Scope};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{ALWAYS, P, Server, Setup, TOKEN, add_token, batch, events_of, read};

/// The hour in which the events of these tests happen.
const HOUR: &str = "from=2026-11-22T14:00:00Z&to=2026-11-22T15:00:00Z";

fn at(minute: usize, second: usize) -> String {
    format!("2026-11-22T14:{minute:02}:{second:02}Z")
}

/// 120 events: every half minute one, from three addresses.
fn attack() -> Vec<Value> {
    let (types, actions) = (
        ["penetration_attempt", "rate_limited"],
        ["request_blocked", "logged_only", "request_blocked"],
    );
    let event = |n: usize| {
        json!({
            "idempotency_key": format!("attack-{n}"),
            "timestamp": at(n / 2, n % 2 * 30),
            "event_type": types[n % 2],
            "ip_address": format!("203.0.113.{}", n % 3),
            "action_taken": actions[n % 3],
            "endpoint": "/login",
            "reason": "SQL injection",
            "status_code": 403,
            "metadata": { "guard.rule.id": "r1", "guard.threat_score": n % 100 },
        })
    };
    (0..120).map(event).collect()
}

fn traffic() -> Vec<Value> {
    let (types, endpoints) = (["response_time", "request_count"], ["/login", "/api"]);
    let value = |n: u32| {
        if n.is_multiple_of(2) {
            f64::from(n) / 1000.0
        } else {
            1.0
        }
    };
    let metric = |n: u32| {
        json!({
            "idempotency_key": format!("metric-{n}"),
            "timestamp": at(n as usize % 60, 0),
            "metric_type": types[n as usize % 2],
            "value": value(n),
            "endpoint": endpoints[n as usize / 2 % 2],
        })
    };
    (0..600).map(metric).collect()
}

async fn attacked() -> Server {
    let setup = Setup {
        limits: Limits::default(),
        ..Setup::default()
    };
    let server = setup.start().await;
    // Half of the batch is sent again: nothing counts twice.
    server
        .take("/api/v1/events", batch("1", &attack(), &traffic()))
        .await;
    server
        .take(
            "/api/v1/events",
            batch("2", &attack()[60..], &traffic()[300..]),
        )
        .await;
    server
}

#[tokio::test]
async fn totals_of_list_series_and_top_agree() {
    let server = attacked().await;
    for (filter, expected) in [
        ("", 120),
        ("ip_address:203.0.113.1", 40),
        ("metadata.guard.threat_score:%3E=90", 10),
    ] {
        let query = format!("{HOUR}&filter={filter}");
        let (_, page) = server.query(&format!("events?limit=1000&{query}")).await;
        assert_eq!(events_of(&page).len(), expected, "{filter}");
        for by in [
            "event_type",
            "ip_address",
            "metadata.guard.rule.id",
            "reason",
        ] {
            let (_, top) = server
                .query(&format!("events/top?by={by}&limit=1&{query}"))
                .await;
            assert_eq!(top["total"], expected, "{filter} {by}");
            let (_, series) = server
                .query(&format!("events/series?by={by}&interval=900&{query}"))
                .await;
            assert_eq!(series["total"], expected, "{filter} {by}");
        }
    }
}

#[tokio::test]
async fn a_series_has_every_bucket_of_its_range() {
    let server = attacked().await;
    let range = "from=2026-11-22T13:00:00Z&to=2026-11-22T15:00:00Z";
    let (status, series) = server
        .query(&format!(
            "events/series?by=action_taken&interval=1800&{range}"
        ))
        .await;
    assert_eq!(status, 200);
    let buckets =
        ["13:00", "13:30", "14:00", "14:30"].map(|at| format!("2026-11-22T{at}:00.000000Z"));
    assert_eq!(series["buckets"], json!(buckets));
    assert_eq!(
        series["series"],
        json!([
            { "key": "request_blocked", "counts": [0, 0, 40, 40] },
            { "key": "logged_only", "counts": [0, 0, 20, 20] },
        ])
    );
    assert_eq!(
        (&series["partial"], &series["other"]),
        (&json!(false), &json!([0, 0, 0, 0]))
    );
}

#[tokio::test]
async fn a_day_has_the_length_that_clocks_give_it() {
    let server = Server::start().await;
    let range = "from=2026-10-24T22:00:00Z&to=2026-10-26T23:00:00Z";
    let (_, series) = server
        .query(&format!(
            "events/series?interval=86400&tz=Europe/Berlin&{range}"
        ))
        .await;
    let days = ["2026-10-24T22:00:00.000000Z", "2026-10-25T23:00:00.000000Z"];
    assert_eq!(
        (&series["buckets"], &series["partial"]),
        (&json!(days), &json!(false))
    );
}

#[tokio::test]
async fn the_most_frequent_keys_have_their_first_and_last_event() {
    let server = attacked().await;
    let (_, top) = server
        .query(&format!("events/top?by=ip_address&limit=2&{HOUR}"))
        .await;
    assert_eq!(top["distinct"], 3);
    assert_eq!(top["other"], 40);
    assert_eq!(
        top["items"][0],
        json!({
            "key": "203.0.113.0", "count": 40,
            "first": "2026-11-22T14:00:00.000000Z", "last": "2026-11-22T14:58:30.000000Z",
        })
    );
}

#[tokio::test]
async fn metrics_have_exact_sums_and_close_quantiles() {
    let server = attacked().await;
    let sum =
        format!("metrics/series?metric=request_count&stat=sum&by=endpoint&interval=1800&{HOUR}");
    let (status, series) = server.query(&sum).await;
    assert_eq!(status, 200, "{series}");
    let values = series["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["values"]);
    assert_eq!(
        values.cloned().collect::<Vec<_>>(),
        [json!([70.0, 80.0]), json!([80.0, 70.0])]
    );
    let top = format!("metrics/top?metric=response_time&stat=p95&{HOUR}");
    let (_, top) = server.query(&top).await;
    let p95 = top["items"][0]["value"].as_f64().unwrap();
    // Of 0, 2, 4, ... 598 milliseconds.
    assert!((p95 - 0.568).abs() <= 0.02 * 0.568, "{p95}");
    let empty = "metrics/series?metric=response_time&stat=p95&from=2020-01-01T00:00:00Z&to=2020-01-01T01:00:00Z";
    assert_eq!(server.query(empty).await.1["series"], json!([]));
}

#[tokio::test]
async fn one_event_has_its_neighbours() {
    let server = attacked().await;
    let (_, page) = server.query(&format!("events?limit=61&{HOUR}")).await;
    let id = page["items"][60]["id"].as_str().unwrap();
    let (status, detail) = server.query(&format!("events/{id}")).await;
    assert_eq!(status, 200);
    assert_eq!(detail["event"], page["items"][60]["event"]);
    let near: Vec<_> = detail["neighbours"]["minute"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["event"]["timestamp"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(near, [at(30, 30), at(30, 0), at(29, 0), at(28, 30)]);
    let address = detail["neighbours"]["address"].as_array().unwrap();
    assert_eq!(address.len(), 20);
    assert!(
        address
            .iter()
            .all(|item| item["event"]["ip_address"] == detail["event"]["ip_address"])
    );
    assert_eq!(detail["neighbours"]["correlation"], json!([]));
    for unknown in ["AAAA", "x", &"A".repeat(32)] {
        let (status, error) = server.query(&format!("events/{unknown}")).await;
        assert_eq!(
            (status, &error["code"]),
            (404, &json!("no_such_event")),
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn the_overview_compares_with_the_time_before() {
    let server = attacked().await;
    let range = "from=2026-11-22T14:30:00Z&to=2026-11-22T15:00:00Z";
    let (status, overview) = server.query(&format!("overview?{range}")).await;
    assert_eq!(status, 200, "{overview}");
    assert_eq!(overview["previous"]["from"], "2026-11-22T14:00:00.000000Z");
    let same = |count: u64| json!({ "count": count, "previous": count, "change": 0.0 });
    assert_eq!(overview["totals"]["events"], same(60));
    assert_eq!(overview["totals"]["blocked"], same(40));
    assert_eq!(overview["totals"]["would_block"], same(20));
    assert_eq!(overview["totals"]["requests"], same(150));
    assert_eq!(overview["series"]["total"], 60);
    assert_eq!(
        overview["tops"]["reason"]["items"][0]["key"],
        "SQL injection"
    );
    assert_eq!(
        overview["sparklines"]["requests"].as_array().unwrap().len(),
        overview["series"]["buckets"].as_array().unwrap().len()
    );
    assert_eq!(
        overview["bans"],
        json!({ "active": 0, "next_ends_at": null, "items": [] })
    );
}

#[tokio::test]
async fn an_address_has_its_story_its_bans_and_the_rules_about_it() {
    let server = attacked().await;
    let ban = json!({ "ip": "203.0.113.0/30", "reason": "attack", "confirm": true }).to_string();
    let (status, answer) = read(
        server
            .post(&format!("{P}/rules/bans"), ban)
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    let (status, address) = server.query(&format!("addresses/203.0.113.1?{HOUR}")).await;
    assert_eq!(status, 200, "{address}");
    assert_eq!(
        (&address["total"], &address["first_seen"]),
        (&json!(40), &json!("2026-11-22T14:00:30.000000Z"))
    );
    assert_eq!(address["endpoints"]["items"][0]["count"], 40);
    assert_eq!(address["bans"]["active"][0]["reason"], "attack");
    assert_eq!(address["rules"][0]["value"], "203.0.113.0/30");
    let (status, error) = server.query("addresses/203.0.113.300").await;
    assert_eq!((status, &error["code"]), (400, &json!("invalid_address")));
}

#[tokio::test]
async fn passive_mode_shows_what_enforcement_would_block() {
    let server = attacked().await;
    let (status, passive) = server.query(&format!("passive?{HOUR}")).await;
    assert_eq!(status, 200, "{passive}");
    assert_eq!(
        (&passive["total"], &passive["other"]),
        (&json!(40), &json!(0))
    );
    let group = &passive["items"][0];
    assert_eq!(
        (&group["reason"], &group["rule_id"], &group["count"]),
        (&json!("SQL injection"), &json!("r1"), &json!(40))
    );
    assert_eq!(
        (&group["addresses"], &group["endpoints"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(group["samples"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn losses_count_once_in_the_minute_in_which_they_were_reported() {
    let server = Server::start().await;
    for (pid, lost) in [(1, 3), (1, 5), (2, 4), (1, 5)] {
        let ledger = json!({ "accepted": 9, "delivered": 9, "queued": 0, "spooled": 0, "dropped": { "queue_full": lost } });
        let report =
            json!({ "status": "degraded", "install_id": "a", "pid": pid, "ledger": ledger });
        let response = server
            .post("/api/v1/status", report.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
    }
    let bad = json!({ "timestamp": "never", "event_type": "x" });
    server.take("/api/v1/events", batch("1", &[bad], &[])).await;
    let (status, losses) = server.query("losses").await;
    assert_eq!(status, 200, "{losses}");
    assert_eq!(losses["total"], 10);
    assert_eq!(
        losses["by_reason"],
        json!([
            { "reason": "queue_full", "source": "agent", "count": 9 },
            { "reason": "invalid_event", "source": "server", "count": 1 },
        ])
    );
    assert_eq!(
        losses["by_install"],
        json!([{ "install_id": "a", "total": 9, "dropped": { "queue_full": 9 } }])
    );
    let (_, agents) = server.query("agents").await;
    assert_eq!(
        (&agents["items"][0]["status"], &agents["items"][0]["silent"]),
        (&json!("degraded"), &json!(false))
    );
    assert_eq!(agents["counts"]["degraded"], 1);
}

#[tokio::test]
async fn operators_save_and_remove_views() {
    let server = Server::start().await;
    let view = json!({ "name": "Attacks", "filter": "action_taken:request_blocked", "from": "-7d", "columns": ["event_type"] });
    let (status, saved) = read(
        server
            .post(&format!("{P}/views"), view.to_string())
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 201, "{saved}");
    assert_eq!(
        (&saved["name"], &saved["from"]),
        (&json!("Attacks"), &json!("-7d"))
    );
    let (_, list) = server.query("views").await;
    assert_eq!(list["items"], json!([saved]));
    for (bad, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "name": "x", "filter": "nope:1" }), "filter"),
        (json!({ "name": "x", "from": "soon" }), "from"),
        (json!({ "name": "x", "columns": ["a", ""] }), "columns[1]"),
        (json!({ "name": "x", "other": 1 }), "other"),
    ] {
        let (status, error) = read(
            server
                .post(&format!("{P}/views"), bad.to_string())
                .send()
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(
            (status, error["field"].as_str()),
            (400, Some(field)),
            "{error}"
        );
    }
    add_token(&*server.store, "gt_viewer", Role::Viewer, Scope::All).await;
    let path = format!("{P}/views/{}", saved["id"].as_str().unwrap());
    let remove = |token| {
        server
            .request(reqwest::Method::DELETE, &path)
            .bearer_auth(token)
            .send()
    };
    assert_eq!(remove("gt_viewer").await.unwrap().status(), 403);
    assert_eq!(remove(crate::support::TOKEN).await.unwrap().status(), 204);
    assert_eq!(remove(crate::support::TOKEN).await.unwrap().status(), 404);
}

#[tokio::test]
async fn bad_input_is_refused_with_a_code_and_the_field() {
    let server = attacked().await;
    let (_, page) = server.query(&format!("events?limit=5&{HOUR}")).await;
    let cursor = page["next"].as_str().unwrap();
    let long = format!("events?filter={}", "a".repeat(6000));
    let terms = format!("events?filter={}", "a+".repeat(10_000));
    let nested = format!("events/series?filter={}", "(".repeat(10_000));
    let negated = format!("events/top?by=reason&filter={}", "-".repeat(4000));
    let many = format!("events?filter={}", "a+".repeat(201));
    let deep = format!("events?filter={}a{}", "(".repeat(33), ")".repeat(33));
    let other_query = format!("events?{ALWAYS}&cursor={cursor}");
    for (path, code, field) in [
        ("events?from=soon", "invalid_time", "from"),
        ("events?to=-1x", "invalid_time", "to"),
        ("events?from=-1h&to=-2h", "invalid_range", "from"),
        ("events?limit=0", "invalid_limit", "limit"),
        ("events?limit=1001", "invalid_limit", "limit"),
        ("events?cursor=AAAA", "invalid_cursor", "cursor"),
        (&other_query, "invalid_cursor", "cursor"),
        ("events?nope=1", "unknown_parameter", "nope"),
        ("events?limit=1&limit=2", "repeated_parameter", "limit"),
        ("events?filter=nope:1", "invalid_filter", "filter"),
        (&long, "invalid_filter", "filter"),
        (&terms, "invalid_filter", "filter"),
        (&nested, "invalid_filter", "filter"),
        (&negated, "invalid_filter", "filter"),
        (&many, "invalid_filter", "filter"),
        (&deep, "invalid_filter", "filter"),
        ("events/series?by=nope", "invalid_field", "by"),
        ("events/series?interval=0", "invalid_interval", "interval"),
        (
            "events/series?interval=1&from=-30d",
            "invalid_interval",
            "interval",
        ),
        ("events/series?tz=Mars", "invalid_timezone", "tz"),
        ("events/top", "invalid_field", "by"),
        ("metrics/series?stat=p95", "invalid_metric", "metric"),
        (
            "metrics/series?metric=mood&stat=p95",
            "invalid_metric",
            "metric",
        ),
        (
            "metrics/series?metric=response_time&stat=p96",
            "invalid_stat",
            "stat",
        ),
        (
            "metrics/top?metric=response_time&stat=p95&by=ip",
            "invalid_field",
            "by",
        ),
        (
            "metrics/top?metric=response_time&stat=p95&filter=value:1&from=-25h",
            "beyond_single_metrics",
            "from",
        ),
        (
            "metrics/series?metric=response_time&stat=p95&by=tags.guard.rule.id&from=-25h",
            "beyond_single_metrics",
            "from",
        ),
    ] {
        let (status, error) = server.query(path).await;
        let found = (status, error["code"].as_str(), error["field"].as_str());
        assert_eq!(found, (400, Some(code), Some(field)), "{path:.60}: {error}");
    }
    let (status, _) = server
        .query("metrics/top?metric=response_time&stat=p95&by=tags.guard.rule.id")
        .await;
    assert_eq!(status, 200, "the default range is kept one by one");
    let (_, error) = server.query("events?filter=a%20nope:1").await;
    assert_eq!(error["position"], 2);
    let (status, _) = server
        .query(&format!("events?limit=7&{HOUR}&cursor={cursor}"))
        .await;
    assert_eq!(
        status, 200,
        "a page may have another size than the one before"
    );
}

#[tokio::test]
async fn a_url_with_a_huge_filter_is_refused_with_the_reason_and_the_connection_goes_on() {
    let server = Server::start().await;
    let mut connection = TcpStream::connect(&server.origin["http://".len()..])
        .await
        .unwrap();
    for filter in [
        "a".repeat(100_000),
        "a+".repeat(50_000),
        "%28".repeat(10_000),
        "x".repeat(2_000_000),
    ] {
        let head = format!(
            "GET {P}/events?filter={filter} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let (status, error) = answer(&mut connection).await;
        assert_eq!((status, &error["code"]), (400, &json!("url_too_long")));
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains("a filter may have 4096 bytes"), "{detail}");
    }
    let head = format!(
        "GET {P}/events?limit=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut connection).await.0, 200);
}

/// The status and the body of the next answer.
async fn answer(connection: &mut TcpStream) -> (u16, Value) {
    let mut text = String::new();
    loop {
        let mut part = [0; 4096];
        let len = connection.read(&mut part).await.unwrap();
        assert!(len > 0, "{text}");
        text += std::str::from_utf8(&part[..len]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.to_lowercase();
        let length = length.split_once("content-length: ").unwrap().1;
        let length = length.split("\r\n").next().unwrap().parse::<usize>();
        if body.len() >= length.unwrap() {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return (status, serde_json::from_str(body).unwrap());
        }
    }
}

#[tokio::test]
async fn a_filter_in_a_body_has_the_same_limits() {
    let server = Server::start().await;
    for filter in ["a".repeat(50_000), "a ".repeat(10_000), "(".repeat(10_000)] {
        let view = json!({ "name": "x", "filter": filter }).to_string();
        let (status, error) = read(
            server
                .post(&format!("{P}/views"), view)
                .send()
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(
            (status, error["field"].as_str()),
            (400, Some("filter")),
            "{error}"
        );
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains("longer than 4096 bytes"), "{detail}");
    }
    // A larger body is not read at all, and neither is the head of such a request.
    let view = json!({ "name": "x", "filter": "a".repeat(100_000) }).to_string();
    let response = server.post(&format!("{P}/views"), view).send().await;
    assert_eq!(response.unwrap().status(), 413);
}

#[tokio::test]
async fn an_export_has_the_whole_filtered_set_in_the_order_of_the_list() {
    let server = attacked().await;
    let query = format!("{HOUR}&filter=event_type:rate_limited");
    let response = server
        .get(&format!("{P}/events/export?format=ndjson&{query}"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    let exported: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (_, page) = server.query(&format!("events?limit=1000&{query}")).await;
    assert_eq!(exported.len(), 60);
    assert_eq!(page["items"], json!(exported));
}

#[tokio::test]
async fn an_event_is_one_line_of_an_export_however_it_was_sent() {
    let server = Server::start().await;
    let body = format!(
        "{{\n\"events\": [\r\n  {{\n\t\"timestamp\": \"{}\",\n\"event_type\": \"a\\nb\" }}\n] }}",
        at(0, 0)
    );
    server.take("/api/v1/events", body).await;
    let path = format!("{P}/events/export?format=ndjson&{HOUR}");
    let text = server.get(&path).send().await.unwrap().text().await;
    let text = text.unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let item: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(item["event"]["event_type"], "a\nb");
}

#[tokio::test]
async fn a_csv_export_opens_in_a_spreadsheet_without_running_anything() {
    let server = Server::start().await;
    let event = json!({
        "idempotency_key": "k", "timestamp": at(0, 0), "event_type": "x", "status_code": -1,
        "reason": "=cmd|' /C calc'!A0", "user_agent": "a, \"b\"\n", "endpoint": "@SUM(1)", "country": "Größe",
        "response_time": -0.5, "metadata": { "a": 1 }, "unknown": true,
    });
    server
        .take("/api/v1/events", batch("1", &[event], &[]))
        .await;
    let export = async |query: &str| {
        let path = format!("{P}/events/export?format=csv&{HOUR}{query}");
        server
            .get(&path)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    let csv = export("").await;
    let (head, row) = csv.split_once("\r\n").unwrap();
    assert!(
        head.starts_with("id,received_at,install_id,timestamp,event_type,ip_address"),
        "{head}"
    );
    for cell in [
        ",'=cmd|' /C calc'!A0,",
        ",\"a, \"\"b\"\"\n\",",
        ",'@SUM(1),",
        ",-1,",
        ",-0.5,",
        ",Größe,",
        ",\"{\"\"a\"\":1}\",",
        ",\"{\"\"unknown\"\":true}\"\r\n",
    ] {
        assert!(row.contains(cell), "{cell}: {row}");
    }
    assert_eq!(export("&bom=1").await, format!("\u{feff}{csv}"));
    for (query, code) in [
        ("format=xml", "invalid_format"),
        ("", "invalid_format"),
        ("format=csv&bom=2", "invalid_bom"),
    ] {
        let (status, error) = server.query(&format!("events/export?{query}")).await;
        assert_eq!(
            (status, error["code"].as_str()),
            (400, Some(code)),
            "{query}"
        );
    }
}
