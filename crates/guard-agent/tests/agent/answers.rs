//! Tests every row of the table of answers against a real HTTP backend. Each test checks
//! the ledger afterwards: accepted = delivered + queued + dropped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use crate::support::backend::{Answer, Backend, Received};
use crate::support::clock::ManualClock;
use crate::support::{PATIENCE, builder, eventually, ledger, send};
use guard_agent::Health;
use guard_agent::defaults::DEFAULT_FLUSH_INTERVAL;
use guard_agent::limits::{MAX_RETRY_AFTER, REST};
use guard_agent::stats::BreakerState;
use serde_json::json;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn has_bad(request: &Received) -> bool {
    request
        .reasons()
        .iter()
        .any(|reason| reason.starts_with("#13"))
}

#[test]
fn every_2xx_that_does_not_say_otherwise_is_delivered() {
    let answers: [fn() -> Answer; 7] = [
        Answer::ok,
        || Answer::body(r#"{"success":true,"errors":[]}"#),
        || Answer::body("{}"),
        || Answer::body("thanks"),
        || Answer::status(201),
        || Answer::status(202),
        || Answer::Plain(204, Vec::new(), String::new()),
    ];
    for answer in answers {
        let backend = Backend::start(move |_, _| answer());
        let agent = builder(&backend.url()).build().expect("valid");
        send(&agent, 0, 3);
        assert!(agent.flush(PATIENCE));
        assert_eq!(ledger(&agent).delivered, 3);
        assert_eq!(backend.requests().len(), 1);
    }
}

#[test]
fn a_200_with_a_denial_keeps_the_batch_with_its_id_and_bytes() {
    for denial in [
        r#"{"success":false}"#,
        r#"{"success":true,"errors":["full"]}"#,
    ] {
        let backend = Backend::start(move |index, _| match index {
            0 => Answer::body(denial),
            _ => Answer::ok(),
        });
        let clock = ManualClock::new();
        let agent = builder(&backend.url())
            .clock(clock.clone())
            .build()
            .expect("valid");
        send(&agent, 0, 2);
        assert!(!agent.flush(Duration::ZERO));
        backend.wait_for(1);
        clock.wait_for_sleeper(1.0, 1.25);
        assert_eq!((ledger(&agent).queued, ledger(&agent).delivered), (2, 0));
        clock.advance(seconds(2));
        let requests = backend.wait_for(2);
        assert_eq!(requests[0].body, requests[1].body);
        assert!(agent.flush(PATIENCE));
        assert_eq!(ledger(&agent).delivered, 2);
    }
}

#[test]
fn an_answer_that_no_backend_wrote_keeps_the_batch_and_is_described() {
    let page = "<!doctype html><html><title>Sign in to continue</title></html>";
    let html = vec![("Content-Type", "text/html; charset=utf-8".to_owned())];
    let foreign: [(Answer, &str); 4] = [
        (Answer::Plain(200, html.clone(), page.to_owned()), "HTML"),
        (
            Answer::Plain(202, html, "Sign in".to_owned()),
            "202 with HTML",
        ),
        (Answer::body(page), "\"<!doctype html>"),
        (Answer::body("[]"), "JSON that is not an object"),
    ];
    for (answer, words) in foreign {
        let mut answer = Some(answer);
        let backend = Backend::start(move |_, _| answer.take().unwrap_or_else(Answer::ok));
        let (said, heard) = mpsc::channel();
        let clock = ManualClock::new();
        let agent = builder(&backend.url())
            .clock(clock.clone())
            .on_report(move |report| said.send(report.message.clone()).expect("heard"))
            .build()
            .expect("valid");
        send(&agent, 0, 2);
        assert!(!agent.flush(Duration::ZERO));
        clock.wait_for_sleeper(1.0, 1.25);
        assert_eq!((ledger(&agent).queued, ledger(&agent).delivered), (2, 0));
        let said = heard.recv_timeout(PATIENCE).expect("a report");
        assert!(said.contains(words), "{said}");
        clock.advance(seconds(2));
        assert!(agent.flush(PATIENCE));
        assert_eq!(ledger(&agent).delivered, 2);
    }
}

#[test]
fn a_connection_that_closes_as_a_request_is_sent_is_replaced_at_once_and_silently() {
    let backend = Backend::start(|index, _| match index {
        1 => Answer::Close,
        _ => Answer::ok(),
    });
    let (said, heard) = mpsc::channel();
    let agent = builder(&backend.url())
        .clock(ManualClock::new())
        .on_report(move |report| said.send(report.message.clone()).expect("heard"))
        .build()
        .expect("valid");
    for number in 0..3 {
        send(&agent, number, 1);
        assert!(agent.flush(PATIENCE));
    }
    assert_eq!(ledger(&agent).delivered, 3);
    let requests = backend.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[1].body, requests[2].body);
    assert_eq!(agent.stats().requests.requests_failed, 0);
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_new_connection_that_closes_is_a_failure_and_waits() {
    // The second request uses the connection of the first, then a new one.
    for (asked, answered) in [(0, 0), (2, 1)] {
        let backend = Backend::start(move |index, _| match index {
            _ if index < answered || index > asked => Answer::ok(),
            _ => Answer::Close,
        });
        let clock = ManualClock::new();
        let agent = builder(&backend.url())
            .clock(clock.clone())
            .build()
            .expect("valid");
        for number in 0..answered {
            send(&agent, number, 1);
            assert!(agent.flush(PATIENCE));
        }
        send(&agent, answered, 1);
        assert!(!agent.flush(Duration::ZERO));
        clock.wait_for_sleeper(1.0, 1.25);
        assert_eq!(backend.requests().len(), asked + 1);
        assert_eq!(agent.stats().requests.requests_failed, 1);
        clock.advance(seconds(2));
        assert!(agent.flush(PATIENCE));
        assert_eq!(
            (ledger(&agent).queued, ledger(&agent).dropped.len()),
            (0, 0)
        );
    }
}

#[test]
fn a_redirect_to_another_host_is_never_followed_and_the_key_never_sent_there() {
    let elsewhere = Backend::start(|_, _| Answer::ok());
    let target = format!("{}/api/v1/events", elsewhere.url());
    for status in [301, 302, 307, 308] {
        let target = target.clone();
        let backend = Backend::start(move |index, _| match index {
            0 => Answer::with(status, "Location", &target),
            _ => Answer::ok(),
        });
        let clock = ManualClock::new();
        let agent = builder(&backend.url())
            .clock(clock.clone())
            .build()
            .expect("valid");
        send(&agent, 0, 1);
        agent.flush(Duration::ZERO);
        clock.wait_for_sleeper(1.0, 1.25);
        assert_eq!(
            (ledger(&agent).queued, agent.stats().requests.redirects),
            (1, 1)
        );
        clock.advance(seconds(2));
        assert!(agent.flush(PATIENCE));
        assert_eq!(ledger(&agent).delivered, 1);
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn one_bad_record_among_512_is_isolated_in_at_most_20_requests() {
    for status in [400, 422] {
        let backend = Backend::start(move |_, request| {
            let is_bad = request.reasons().contains(&"#313".to_owned());
            if is_bad {
                Answer::status(status)
            } else {
                Answer::ok()
            }
        });
        let agent = builder(&backend.url()).build().expect("valid");
        send(&agent, 0, 512);
        assert!(agent.flush(PATIENCE));
        let report = ledger(&agent);
        assert_eq!((report.delivered, report.dropped["rejected"]), (511, 1));
        assert!(
            backend.requests().len() <= 20,
            "{}",
            backend.requests().len()
        );
    }
}

#[test]
fn when_every_record_is_refused_all_are_kept_until_the_backend_changes_its_mind() {
    let refuses = Arc::new(AtomicBool::new(true));
    let answer = Arc::clone(&refuses);
    let backend = Backend::start(move |_, _| {
        if answer.load(Ordering::SeqCst) {
            Answer::status(400)
        } else {
            Answer::ok()
        }
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    send(&agent, 0, 100);
    agent.flush(Duration::ZERO);
    clock.wait_for_sleeper(REST.as_secs_f64(), REST.as_secs_f64() * 1.25);
    assert_eq!(
        (ledger(&agent).queued, ledger(&agent).dropped.len()),
        (100, 0)
    );
    refuses.store(false, Ordering::SeqCst);
    clock.advance(REST * 2);
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).delivered, 100);
}

#[test]
fn a_lone_refused_record_is_rejected_once_others_are_accepted() {
    let backend = Backend::start(|_, request| {
        if has_bad(request) {
            Answer::status(422)
        } else {
            Answer::ok()
        }
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    send(&agent, 13, 1);
    agent.flush(Duration::ZERO);
    clock.wait_for_sleeper(REST.as_secs_f64(), REST.as_secs_f64() * 1.25);
    assert_eq!(ledger(&agent).queued, 1);
    clock.advance(REST * 2);
    clock.wait_for_sleeper(REST.as_secs_f64(), REST.as_secs_f64() * 1.25);
    send(&agent, 20, 1);
    clock.wait_for_sleeper(30.0, 30.0);
    clock.advance(DEFAULT_FLUSH_INTERVAL);
    eventually("the other is delivered", || ledger(&agent).delivered == 1);
    clock.advance(REST * 2);
    assert!(agent.flush(PATIENCE));
    let report = ledger(&agent);
    assert_eq!((report.delivered, report.dropped["rejected"]), (1, 1));
}

#[test]
fn a_wrong_key_or_address_is_reported_once_and_nothing_is_lost() {
    for (status, words) in [(401, "api_key"), (403, "api_key"), (404, "endpoint")] {
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&said);
        let backend = Backend::start(move |index, _| match index {
            0..3 => Answer::status(status),
            _ => Answer::ok(),
        });
        let clock = ManualClock::new();
        let agent = builder(&backend.url())
            .clock(clock.clone())
            .on_report(move |report| log.lock().expect("whole").push(report.message.clone()))
            .build()
            .expect("valid");
        send(&agent, 0, 1);
        agent.flush(Duration::ZERO);
        for wait in [1.0, 2.0, 4.0] {
            clock.wait_for_sleeper(wait, wait * 1.25);
            assert_eq!(ledger(&agent).queued, 1);
            clock.advance(Duration::from_secs_f64(wait * 1.25));
        }
        assert!(agent.flush(PATIENCE));
        assert_eq!(ledger(&agent).delivered, 1);
        let said = said.lock().expect("whole").clone();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(words) && !said[0].contains("the-api-key-of-the-test"));
    }
}

#[test]
fn a_denial_longer_than_the_read_limit_keeps_the_batch() {
    let backend = Backend::start(|index, _| match index {
        0 => Answer::body(&json!({"success": true, "errors": vec!["full"; 20_000]}).to_string()),
        1 => Answer::body(&json!({"rows": vec!["row"; 20_000], "success": false}).to_string()),
        _ => Answer::ok(),
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    send(&agent, 0, 5);
    agent.flush(Duration::ZERO);
    for wait in [1.0, 2.0] {
        clock.wait_for_sleeper(wait, wait * 1.25);
        assert_eq!(ledger(&agent).queued, 5);
        clock.advance(Duration::from_secs_f64(wait * 1.25));
    }
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).delivered, 5);
}

#[test]
fn records_that_a_backend_leaves_out_of_a_batch_are_reported() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&said);
    let backend = Backend::start(|_, _| {
        Answer::body(
            r#"{"success": true, "events_received": 5, "events_processed": 3,
                "invalid": [{"kind": "event", "index": 1, "reason": "event_type: too long"}]}"#,
        )
    });
    let agent = builder(&backend.url())
        .on_report(move |report| log.lock().expect("whole").push(report.message.clone()))
        .build()
        .expect("valid");
    send(&agent, 0, 5);
    assert!(agent.flush(PATIENCE));
    let said = said.lock().expect("whole").clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("left 2 of a batch's events out"),
        "{said:?}"
    );
    assert!(said[0].contains(r#""event_type: too long""#), "{said:?}");
}

#[test]
fn the_reason_for_a_refusal_is_in_the_message_and_the_key_is_not() {
    for (status, words) in [
        (503, "backend answered 503: "),
        (401, "backend answered 401: "),
        (400, "takes no record of the batch: "),
    ] {
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&said);
        let backend = Backend::start(move |_, _| {
            let detail = json!({"detail": "no room\nfor the-api-key-of-the-test"});
            Answer::Plain(status, Vec::new(), detail.to_string())
        });
        let agent = builder(&backend.url())
            .clock(ManualClock::new())
            .on_report(move |report| log.lock().expect("whole").push(report.message.clone()))
            .build()
            .expect("valid");
        send(&agent, 0, 1);
        agent.flush(Duration::ZERO);
        eventually("it is said", || !said.lock().expect("whole").is_empty());
        let said = said.lock().expect("whole").concat();
        assert!(said.contains(words), "{said}");
        assert!(said.contains(r#""no room\nfor [REDACTED]""#), "{said}");
        assert!(!said.contains("the-api-key-of-the-test"), "{said}");
    }
}

#[test]
fn a_smaller_cap_is_found_by_halving_and_remembered() {
    let backend = Backend::start(|_, request| {
        if request.body.len() > 20_000 {
            Answer::status(413)
        } else {
            Answer::ok()
        }
    });
    let agent = builder(&backend.url()).build().expect("valid");
    send(&agent, 0, 600);
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).delivered, 600);
    let first = backend.requests().len();
    send(&agent, 0, 600);
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).delivered, 1200);
    assert!(
        backend.requests()[first..]
            .iter()
            .all(|request| request.body.len() <= 20_000)
    );
}

#[test]
fn a_record_too_large_alone_is_lost_alone() {
    let backend = Backend::start(|_, request| {
        if request.body.len() > 6_000 {
            Answer::status(413)
        } else {
            Answer::ok()
        }
    });
    let agent = builder(&backend.url())
        .max_payload_size(100_000)
        .build()
        .expect("valid");
    send(&agent, 0, 5);
    let large = guard_agent::SecurityEvent::new("x").reason("y".repeat(10_000));
    agent.send_event(&large).expect("room");
    send(&agent, 5, 5);
    assert!(agent.flush(PATIENCE));
    let report = ledger(&agent);
    assert_eq!((report.delivered, report.dropped["too_large"]), (10, 1));
}

#[test]
fn a_429_is_waited_out_never_early_and_does_not_open_the_breaker() {
    let date = SystemTime::UNIX_EPOCH + seconds(1_795_357_738 + 40);
    let cases = [
        (Some("7".to_owned()), 7.0),
        (Some(httpdate::fmt_http_date(date)), 40.0),
        (Some("soon".to_owned()), 60.0),
        (None, 60.0),
        (Some("1e9".to_owned()), MAX_RETRY_AFTER.as_secs_f64()),
        (Some("0".to_owned()), 1.0),
        (Some("-5".to_owned()), 1.0),
    ];
    for (header, wait) in cases {
        let backend = Backend::start(move |index, _| match (index, &header) {
            (0..6, Some(value)) => Answer::with(429, "Retry-After", value),
            (0..6, None) => Answer::status(429),
            _ => Answer::ok(),
        });
        let clock = ManualClock::new();
        let agent = builder(&backend.url())
            .clock(clock.clone())
            .status_interval(seconds(100_000))
            .build()
            .expect("valid");
        send(&agent, 0, 1);
        agent.flush(Duration::ZERO);
        clock.wait_for_sleeper(wait, wait);
        clock.advance(Duration::from_secs_f64(wait - 0.5));
        agent.flush(Duration::ZERO);
        clock.wait_for_sleeper(0.5, 0.5);
        assert_eq!((backend.requests().len(), ledger(&agent).queued), (1, 1));
        clock.advance(Duration::from_millis(500));
        // A date in the past asks for no further wait, and gets the minimum.
        let wait = if wait == 40.0 { 1.0 } else { wait };
        for asked in 2..=6 {
            backend.wait_for(asked);
            clock.wait_for_sleeper(wait, wait);
            clock.advance(Duration::from_secs_f64(wait));
        }
        assert!(agent.flush(PATIENCE));
        assert_eq!(agent.stats().breaker, BreakerState::Closed);
        assert_eq!(ledger(&agent).delivered, 1);
    }
}

#[test]
fn a_503_with_retry_after_is_waited_out() {
    let backend = Backend::start(|index, _| match index {
        0 => Answer::with(503, "Retry-After", 20),
        _ => Answer::ok(),
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    send(&agent, 0, 1);
    agent.flush(Duration::ZERO);
    clock.wait_for_sleeper(20.0, 20.0);
    assert_eq!(ledger(&agent).queued, 1);
    clock.advance(seconds(20));
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).delivered, 1);
}

#[test]
fn a_5xx_is_retried_on_the_schedule_then_rests_then_continues() {
    let backend = Backend::start(|index, _| match index {
        0..4 => Answer::status(500),
        _ => Answer::ok(),
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    send(&agent, 0, 1);
    agent.flush(Duration::ZERO);
    let rest = REST.as_secs_f64();
    for (asked, wait) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, rest)] {
        backend.wait_for(asked);
        clock.wait_for_sleeper(wait, wait * 1.25);
        assert_eq!(
            (backend.requests().len(), ledger(&agent).queued),
            (asked, 1)
        );
        clock.advance(Duration::from_secs_f64(wait * 1.25));
    }
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).delivered, 1);
}

#[test]
fn five_consecutive_failures_open_the_breaker_for_a_minute_then_one_probe_is_sent() {
    let backend = Backend::start(|index, _| match index {
        0..5 => Answer::status(500),
        _ => Answer::ok(),
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .retry_attempts(20)
        .backoff_factor(0.001)
        .build()
        .expect("valid");
    send(&agent, 0, 1);
    agent.flush(Duration::ZERO);
    for asked in 1..5 {
        backend.wait_for(asked);
        clock.wait_for_sleeper(0.0005, 0.02);
        clock.advance(Duration::from_millis(20));
    }
    eventually("the breaker opens", || {
        agent.stats().breaker == BreakerState::Open
    });
    assert_ne!(agent.stats().health, Health::Healthy);
    // Wait until the pause between attempts has begun; otherwise it would begin later.
    clock.wait_for_sleeper(0.0005, 0.03);
    clock.advance(Duration::from_millis(500));
    clock.wait_for_sleeper(59.0, 60.0);
    agent.flush(Duration::ZERO);
    assert_eq!((backend.requests().len(), ledger(&agent).queued), (5, 1));
    clock.advance(seconds(60));
    assert!(agent.flush(PATIENCE));
    assert_eq!(agent.stats().breaker, BreakerState::Closed);
    assert_eq!(ledger(&agent).delivered, 1);
}

#[test]
fn an_answer_without_end_is_read_to_its_limit_only() {
    let backend = Backend::start(|_, _| Answer::Endless);
    let agent = builder(&backend.url()).build().expect("valid");
    send(&agent, 0, 1);
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).delivered, 1);
}

#[test]
fn a_connection_cut_in_the_middle_keeps_the_batch() {
    let backend = Backend::start(|index, _| match index {
        0 => Answer::Cut,
        _ => Answer::ok(),
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    send(&agent, 0, 2);
    agent.flush(Duration::ZERO);
    clock.wait_for_sleeper(1.0, 1.25);
    assert_eq!(ledger(&agent).queued, 2);
    clock.advance(seconds(2));
    let requests = backend.wait_for(2);
    assert_eq!(requests[0].body, requests[1].body);
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).delivered, 2);
}

#[test]
fn silence_ends_with_the_timeout_and_keeps_the_batch() {
    let backend = Backend::start(|index, _| match index {
        0 => Answer::Silence,
        _ => Answer::ok(),
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .timeout(Duration::from_millis(300))
        .build()
        .expect("valid");
    send(&agent, 0, 2);
    agent.flush(Duration::ZERO);
    backend.wait_for(1);
    clock.wait_for_sleeper(0.3, 0.3);
    clock.advance(Duration::from_millis(300));
    clock.wait_for_sleeper(1.0, 1.25);
    assert_eq!(ledger(&agent).queued, 2);
    clock.advance(seconds(2));
    assert!(agent.flush(PATIENCE));
    assert_eq!(ledger(&agent).delivered, 2);
}

#[test]
fn a_backend_that_is_not_there_keeps_the_batch() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let clock = ManualClock::new();
    let agent = builder(&format!("http://{address}"))
        .clock(clock.clone())
        .build()
        .expect("valid");
    send(&agent, 0, 2);
    agent.flush(Duration::ZERO);
    clock.wait_for_sleeper(1.0, 1.25);
    assert_eq!(
        (
            ledger(&agent).queued,
            agent.stats().requests.requests_failed
        ),
        (2, 1)
    );
}
