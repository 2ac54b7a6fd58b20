//! Rules: held requests and polls, results for callers, refused documents, and rules that
//! outlive a process.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use guard_agent::Agent;
use guard_agent::limits::{STATUS_CHANGE_DELAY, STATUS_CHANGE_JITTER};
use guard_agent::report::Level;
use guard_wire::sign;
use serde_json::Value;

use crate::support::backend::{Answer, Backend, Received};
use crate::support::clock::ManualClock;
use crate::support::{PATIENCE, builder, eventually, send};

const WAIT_APPLIED: (&str, &str) = ("Preference-Applied", "wait=30");

fn version(agent: &Agent) -> Option<i64> {
    agent.rules().map(|rules| rules.document.version)
}

fn document(version: usize) -> String {
    format!(r#"{{"rule_id":"r","version":{version},"ttl":60}}"#)
}

/// Rules as sent by a backend that holds requests.
fn tagged(version: usize) -> Answer {
    let headers = vec![
        ("ETag", format!("\"{version}\"")),
        (WAIT_APPLIED.0, WAIT_APPLIED.1.to_owned()),
    ];
    Answer::Plain(200, headers, document(version))
}

/// A backend that answers the first request for rules at once, and the others on command.
fn holding_backend(first: Answer) -> (Backend, Sender<Answer>) {
    let (publish, published) = mpsc::channel();
    let mut first = Some(first);
    let published: Arc<Mutex<Receiver<Answer>>> = Arc::new(Mutex::new(published));
    let backend = Backend::start(move |_, request| {
        if request.path != "/api/v1/rules" {
            return Answer::ok();
        }
        first.take().unwrap_or_else(|| {
            let (answer, held) = mpsc::channel();
            let published = Arc::clone(&published);
            std::thread::spawn(move || {
                let next = published.lock().expect("whole").recv();
                // The test may have ended.
                let _ = next.map(|next| answer.send(next));
            });
            Answer::Later(held)
        })
    });
    (backend, publish)
}

fn rules_requests(backend: &Backend) -> Vec<Received> {
    let mut requests = backend.requests();
    requests.retain(|request| request.path == "/api/v1/rules");
    requests
}

#[test]
fn no_request_for_rules_is_made_before_a_caller_wants_them() {
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = builder(&backend.url()).build().expect("valid");
    send(&agent, 0, 1);
    assert!(agent.flush(PATIENCE));
    assert!(rules_requests(&backend).is_empty());
}

#[test]
fn a_held_request_brings_each_change_at_once_and_names_the_known_rules() {
    let (backend, publish) = holding_backend(tagged(1));
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    let mut updates = agent.rules_updates();
    assert_eq!(version(&agent), Some(1));
    for number in 2..5 {
        clock.wait_for_sleeper(0.05, 0.1);
        clock.advance(Duration::from_millis(100));
        publish.send(tagged(number)).expect("taken");
        eventually("the change", || {
            updates
                .current()
                .is_some_and(|rules| rules.document.version == number as i64)
        });
        assert_eq!(version(&agent), Some(number as i64));
    }
    assert!(block_on(updates.changed()));
    let requests = rules_requests(&backend);
    assert!(
        requests
            .iter()
            .all(|request| request.headers["prefer"] == "wait=30")
    );
    assert!(!requests[0].headers.contains_key("if-none-match"));
    assert_eq!(requests[1].headers["if-none-match"], "\"1\"");
    assert_eq!(requests[3].headers["if-none-match"], "\"3\"");
}

#[test]
fn a_ban_right_after_the_start_arrives_as_fast_as_a_later_one() {
    let headers = vec![
        ("ETag", "\"none\"".to_owned()),
        (WAIT_APPLIED.0, WAIT_APPLIED.1.to_owned()),
    ];
    let (backend, publish) = holding_backend(Answer::Plain(200, headers, "{}".to_owned()));
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    assert_eq!(version(&agent), None);
    let updates = agent.rules_updates();
    for number in 1..=150 {
        // The pause between two requests is at most 100 ms. A step may go to another sleep of
        // the same length. The one-second pauses that this test excludes would take ten steps.
        let mut steps = 0;
        eventually("a held request", || {
            if clock.has_sleeper(0.05, 0.1) && rules_requests(&backend).len() == number {
                clock.advance(Duration::from_millis(100));
                steps += 1;
            }
            rules_requests(&backend).len() == number + 1
        });
        assert!(steps <= 5, "{steps} steps before request {}", number + 1);
        publish.send(tagged(number)).expect("taken");
        eventually("the change", || {
            updates
                .current()
                .is_some_and(|rules| rules.document.version == number as i64)
        });
    }
}

#[test]
fn a_held_request_delays_neither_records_nor_callers_nor_the_stop() {
    let (backend, _publish) = holding_backend(tagged(1));
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    assert_eq!(version(&agent), Some(1));
    clock.wait_for_sleeper(0.05, 0.1);
    clock.advance(Duration::from_millis(100));
    eventually("a held request", || rules_requests(&backend).len() == 2);
    // The rules are older than their time to live, but the held request would report a change.
    clock.advance(Duration::from_secs(61));
    assert_eq!(version(&agent), Some(1));
    send(&agent, 0, 3);
    assert!(agent.flush(PATIENCE));
    assert!(agent.stop());
    assert_eq!(rules_requests(&backend).len(), 2);
}

#[test]
fn a_backend_that_does_not_hold_is_polled_and_also_asked_when_rules_are_too_old() {
    let backend = Backend::start(|index, _| Answer::body(&document(index + 1)));
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    assert_eq!((version(&agent), version(&agent)), (Some(1), Some(1)));
    // The time to live is a minute, and the jitter subtracts up to a fifth.
    clock.wait_for_sleeper(48.0, 60.0);
    assert_eq!(backend.requests().len(), 1);
    clock.advance(Duration::from_secs(60));
    eventually("the second version", || version(&agent) == Some(2));
    assert_eq!(agent.stats().requests.rules_fetched, 2);
}

#[test]
fn known_rules_are_returned_without_waiting_for_the_backend() {
    let backend = Backend::start(|index, _| match index {
        0 => Answer::body(&document(1)),
        _ => Answer::Silence,
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    assert_eq!(version(&agent), Some(1));
    clock.advance(Duration::from_secs(3600));
    backend.wait_for(2);
    assert_eq!(version(&agent), Some(1));
}

#[test]
fn the_last_good_rules_stay_when_the_backend_fails_or_sends_invalid_ones() {
    let good = document(3);
    let backend = Backend::start(move |index, _| {
        let signed = |secret, body: &str| {
            let signature = sign::sign(body.as_bytes(), secret).expect("a secret");
            Answer::Plain(
                200,
                vec![("X-Payload-Signature", signature)],
                body.to_owned(),
            )
        };
        match index {
            0 => signed("the-secret", &good),
            1 => Answer::status(500),
            2 => signed("another", &document(4)),
            3 => Answer::body(&document(5)),
            4 => signed(
                "the-secret",
                r#"{"version":6,"ip_blacklist":["192.0.2.1","nobody"]}"#,
            ),
            _ => signed("the-secret", &document(7)),
        }
    });
    let (said, words) = mpsc::channel();
    let clock = ManualClock::new();
    // The next status report is due later than the next request for rules.
    let agent = builder(&backend.url())
        .payload_signing_secret("the-secret")
        .backoff_factor(60.0)
        .status_interval(Duration::from_secs(86_400))
        .clock(clock.clone())
        .on_report(move |report| {
            said.send((report.level, report.message.clone()))
                .expect("heard")
        })
        .build()
        .expect("valid");
    assert_eq!(version(&agent), Some(3));
    let next_request = || {
        clock.wait_for_sleeper(48.0, 75.0);
        clock.advance(Duration::from_secs(75));
    };
    for failures in 1..5 {
        next_request();
        eventually("another failure", || {
            agent.stats().requests.rules_failures == failures
        });
        assert_eq!(version(&agent), Some(3));
    }
    next_request();
    eventually("good rules again", || version(&agent) == Some(7));
    let said: Vec<(Level, String)> = words.try_iter().collect();
    for expected in [
        "backend answered 500",
        "their signature is wrong",
        "they are not signed",
        "`ip_blacklist[1]`: \"nobody\"",
    ] {
        assert!(
            said.iter().any(|(_, words)| words.contains(expected)),
            "{expected}: {said:?}"
        );
    }
    let troubles = agent.stats().requests.recent_errors;
    assert!(
        troubles
            .iter()
            .any(|words| words.contains("signature is wrong")),
        "{troubles:?}"
    );
}

#[test]
fn answers_that_no_backend_wrote_change_nothing_and_are_reported_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.json");
    let backend = Backend::start(|index, _| match index {
        0 => Answer::body(&document(3)),
        1..4 => Answer::body(""),
        4..7 => Answer::Plain(
            404,
            vec![("Content-Type", "text/html".to_owned())],
            "<html>404 Not Found</html>".to_owned(),
        ),
        7 => Answer::body(&document(4)),
        8 => Answer::body(""),
        _ => Answer::Plain(404, Vec::new(), r#"{"detail":"no rules"}"#.to_owned()),
    });
    let (said, words) = mpsc::channel();
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .rules_cache_path(&path)
        .backoff_factor(60.0)
        .status_interval(Duration::from_secs(86_400))
        .clock(clock.clone())
        .on_report(move |report| said.send(report.message.clone()).expect("heard"))
        .build()
        .expect("valid");
    assert_eq!(version(&agent), Some(3));
    eventually("a file", || path.exists());
    let kept = std::fs::read(&path).expect("a file");
    let next_request = |count: usize| {
        clock.wait_for_sleeper(48.0, 75.0);
        clock.advance(Duration::from_secs(75));
        backend.wait_for(count);
    };
    for failures in 1..7 {
        next_request(failures + 1);
        eventually("another failure", || {
            agent.stats().requests.rules_failures == failures as u64
        });
        assert_eq!(version(&agent), Some(3));
        assert_eq!(std::fs::read(&path).expect("still there"), kept);
    }
    next_request(8);
    eventually("the backend's own", || version(&agent) == Some(4));
    next_request(9);
    eventually("another failure", || {
        agent.stats().requests.rules_failures == 7
    });
    assert_eq!(version(&agent), Some(4));
    next_request(10);
    eventually("no rules", || version(&agent).is_none());
    eventually("no file", || !path.exists());
    let said: Vec<String> = words.try_iter().collect();
    let count = |what: &str| said.iter().filter(|words| words.contains(what)).count();
    let counts = ["answered 200 with nothing", "answered 404 with HTML"].map(count);
    assert_eq!(counts, [2, 1], "{said:?}");
}

#[test]
fn a_proxy_that_cuts_held_requests_off_shortens_the_hold_without_a_warning() {
    for cut in [|| Answer::Close, || Answer::status(504)] as [fn() -> Answer; 2] {
        let (backend, publish) = holding_backend(tagged(1));
        let (said, words) = mpsc::channel();
        let clock = ManualClock::new();
        let agent = builder(&backend.url())
            .clock(clock.clone())
            .on_report(move |report| said.send(report.message.clone()).expect("heard"))
            .build()
            .expect("valid");
        assert_eq!(version(&agent), Some(1));
        let asked = |count: usize| {
            eventually("a held request", || rules_requests(&backend).len() == count);
            rules_requests(&backend)[count - 1].headers["prefer"].clone()
        };
        clock.wait_for_sleeper(0.05, 0.1);
        clock.advance(Duration::from_millis(100));
        assert_eq!(asked(2), "wait=30");
        clock.advance(Duration::from_secs(10));
        publish.send(cut()).expect("taken");
        // At once, without advancing the clock.
        assert_eq!(asked(3), "wait=7");
        clock.advance(Duration::from_secs(7));
        let same = vec![(WAIT_APPLIED.0, "wait=7".to_owned())];
        let same = Answer::Plain(304, same, String::new());
        publish.send(same).expect("taken");
        assert_eq!(asked(4), "wait=7");
        publish.send(tagged(2)).expect("taken");
        eventually("the change", || version(&agent) == Some(2));
        assert_eq!(agent.stats().requests.rules_failures, 0);
        assert_eq!(words.try_iter().collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[test]
fn a_document_in_gzip_is_accepted_and_inflated_only_to_its_limit() {
    let large = format!(
        r#"{{"version":6,"message":"{}"}}"#,
        "x".repeat(64 * 1024 * 1024)
    );
    for (answer, expected) in [(document(5), Some(5)), (large, None)] {
        let backend = Backend::start(move |_, _| Answer::Gzip(answer.clone()));
        let agent = builder(&backend.url()).build().expect("valid");
        assert_eq!(version(&agent), expected);
    }
}

#[test]
fn expired_rules_are_dropped_on_time_and_that_is_announced() {
    let mut expiring =
        Some(r#"{"version":2,"ttl":9000,"expires_at":"2026-11-22T14:30:00Z"}"#.to_owned());
    let backend = Backend::start(move |_, _| {
        Answer::body(&expiring.take().unwrap_or_else(|| "{}".to_owned()))
    });
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    let updates = agent.rules_updates();
    assert_eq!(version(&agent), Some(2));
    // The test's clock starts at 14:28:58.
    clock.wait_for_sleeper(62.0, 62.0);
    clock.advance(Duration::from_secs(62));
    eventually("the end", || updates.current().is_none());
    assert_eq!(version(&agent), None);
}

#[test]
fn stored_rules_are_used_when_the_backend_fails_and_named_in_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.json");
    // Answers: rules, then failures, then a confirmation of the kept rules.
    let backend = Backend::start(|_, request| match request.headers.get("if-none-match") {
        None => tagged(4),
        Some(_) => Answer::status(503),
    });
    let agent = || {
        builder(&backend.url())
            .rules_cache_path(&path)
            .build()
            .expect("valid")
    };
    let first = agent();
    assert_eq!(version(&first), Some(4));
    eventually("a file", || path.exists());
    drop(first);
    let before = backend.requests().len();
    assert_eq!(version(&agent()), Some(4));
    assert_eq!(backend.requests()[before].headers["if-none-match"], "\"4\"");
    // An agent with another key knows nothing of these rules.
    let other = Agent::builder("another-api-key").endpoint("http://127.0.0.1:1");
    let other = other.rules_cache_path(&path).build().expect("valid");
    assert_eq!(version(&other), None);
}

#[test]
fn stored_rules_are_used_when_the_backend_takes_long_and_replaced_by_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.json");
    let (backend, publish) = holding_backend(tagged(4));
    let agent = builder(&backend.url())
        .rules_cache_path(&path)
        .build()
        .expect("valid");
    assert_eq!(version(&agent), Some(4));
    eventually("a file", || path.exists());
    drop(agent);

    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .rules_cache_path(&path);
    let agent = agent.build().expect("valid");
    let updates = agent.rules_updates();
    clock.wait_for_sleeper(1.0, 1.0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(version(&agent), Some(4));
    // The first agent may have left a held request, which also consumes an answer.
    for _ in 0..2 {
        publish.send(tagged(5)).expect("taken");
    }
    eventually("the backend's own", || {
        updates
            .current()
            .is_some_and(|rules| rules.document.version == 5)
    });
}

#[test]
fn rules_of_another_backend_are_forgotten_by_a_new_configuration() {
    let old = Backend::start(|_, _| Answer::body(&document(8)));
    let new = Backend::start(|_, _| Answer::body(&document(1)));
    let agent = builder(&old.url()).build().expect("valid");
    let updates = agent.rules_updates();
    assert_eq!(version(&agent), Some(8));
    agent.reconfigure(builder(&new.url())).expect("valid");
    assert_eq!(version(&agent), Some(1));
    assert_eq!(
        updates.current().map(|rules| rules.document.version),
        Some(1)
    );
}

#[test]
fn the_stats_contain_the_version_in_force() {
    let backend = Backend::start(|_, _| Answer::body(&document(12)));
    let agent = builder(&backend.url()).build().expect("valid");
    assert_eq!(agent.stats().rules_version, None);
    assert_eq!(version(&agent), Some(12));
    assert_eq!(agent.stats().rules_version, Some(12));
}

/// The newest status report, once there are `count`.
fn report(backend: &Backend, count: usize) -> Value {
    eventually("a status report", || backend.reports().len() == count);
    let newest = backend.reports().pop().expect("there are some");
    serde_json::from_slice(&newest.body).expect("JSON")
}

#[test]
fn changed_and_refused_rules_are_reported_soon() {
    let (backend, publish) = holding_backend(tagged(1));
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .build()
        .expect("valid");
    assert_eq!(version(&agent), Some(1));
    assert_eq!(report(&backend, 1)["status"], "healthy");
    let soon = STATUS_CHANGE_DELAY.as_secs_f64();
    clock.wait_for_sleeper(soon * (1.0 - STATUS_CHANGE_JITTER), soon);
    clock.advance(STATUS_CHANGE_DELAY);
    assert_eq!(report(&backend, 2)["rules_version"], 1);

    let refused = Answer::body(r#"{"version":2,"ttl":0}"#);
    publish.send(refused).expect("taken");
    clock.wait_for_sleeper(soon * (1.0 - STATUS_CHANGE_JITTER), soon);
    clock.advance(STATUS_CHANGE_DELAY);
    let told = report(&backend, 3);
    assert_eq!(told["rules_version"], 1);
    let why = told["errors"][0].as_str().expect("a trouble");
    assert!(
        why.starts_with("rules refused: ") && why.contains("`ttl`"),
        "{why}"
    );
}

/// Runs a future that is ready or nearly ready.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}
