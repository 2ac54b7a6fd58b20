//! The agent as a whole: batching, sealing, limits, stopping.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::support::backend::{Answer, Backend};
use crate::support::clock::ManualClock;
use crate::support::{PATIENCE, builder, eventually, ledger, send};
use futures_util::future::BoxFuture;
use guard_agent::clock::{Clock, SystemClock};
use guard_agent::limits::FIRST_SEND_DELAY;
use guard_agent::{
    Agent, AgentBuilder, Kind, MetricType, OverflowPolicy, SecurityEvent, SecurityMetric,
};
use guard_wire::encrypt::Encryptor;
use guard_wire::fields::{Fields, Sink};
use guard_wire::sign;
use serde_json::{Value, json};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn fields_that_guard_core_adds_to_an_event_arrive_unchanged() {
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = builder(&backend.url()).build().expect("valid");
    for score in [0, 50, 100] {
        let event = SecurityEvent::new("ip_banned")
            .metadata("guard.threat_score", score)
            .metadata("guard.project_id", "shop")
            .metadata("guard.rule.version", 7);
        agent.send_event(&event).expect("taken");
    }
    assert!(agent.flush(PATIENCE));
    let body: Value = backend.requests()[0].json();
    let sent = body["events"].as_array().expect("events");
    let added: Vec<_> = sent.iter().map(|event| event["metadata"].clone()).collect();
    let expected = [0, 50, 100].map(|score| {
        json!({"guard.threat_score": score, "guard.project_id": "shop", "guard.rule.version": 7})
    });
    assert_eq!(added, expected);
}

#[test]
fn requests_carry_the_headers_of_the_contract() {
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = builder(&backend.url())
        .project_id("shop")
        .build()
        .expect("valid");
    send(&agent, 0, 1);
    assert!(agent.flush(PATIENCE));
    let request = &backend.requests()[0];
    let process = std::process::id().to_string();
    for (name, value) in [
        ("authorization", "Bearer the-api-key-of-the-test"),
        ("x-api-key", "the-api-key-of-the-test"),
        ("x-project-id", "shop"),
        ("x-agent-install-id", "test-install"),
        ("x-agent-process-id", process.as_str()),
        ("content-type", "application/json"),
    ] {
        assert_eq!(request.headers[name], value);
    }
    assert!(request.headers["user-agent"].starts_with("fastapi-guard-agent/"));
}

#[test]
fn events_and_metrics_use_separate_endpoints() {
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = builder(&backend.url()).build().expect("valid");
    send(&agent, 0, 2);
    let metric = SecurityMetric::new(MetricType::ErrorRate, 1.0).tag("endpoint", "/x");
    agent.send_metric(&metric).expect("room");
    assert!(agent.flush(PATIENCE));
    let requests = backend.requests();
    let paths: Vec<&str> = requests
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(paths, ["/api/v1/events", "/api/v1/metrics"]);
    assert_eq!(requests[1].json()["metrics"][0]["tags"]["endpoint"], "/x");
    assert_eq!(ledger(&agent).delivered, 3);
}

#[test]
fn a_send_starts_by_itself_at_the_watermark_and_after_the_interval() {
    let backend = Backend::start(|_, _| Answer::ok());
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .buffer_size(10)
        .flush_interval(Duration::from_secs(30))
        .build()
        .expect("valid");
    send(&agent, 0, 8);
    backend.wait_for(1);
    eventually("delivered", || ledger(&agent).delivered == 8);
    send(&agent, 8, 3);
    clock.wait_for_sleeper(30.0, 30.0);
    assert_eq!(backend.requests().len(), 1);
    clock.advance(Duration::from_secs(30));
    assert_eq!(backend.wait_for(2)[1].reasons().len(), 3);
}

#[test]
fn the_first_records_of_each_kind_are_sent_within_a_second() {
    let backend = Backend::start(|_, _| Answer::ok());
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .flush_interval(Duration::from_secs(30))
        .build()
        .expect("valid");
    let delay = FIRST_SEND_DELAY.as_secs_f64();
    assert!(delay < 1.0);
    agent.start();
    send(&agent, 0, 2);
    clock.wait_for_sleeper(delay, delay);
    clock.advance(FIRST_SEND_DELAY);
    assert_eq!(backend.wait_for(1)[0].reasons().len(), 2);
    eventually("delivered", || ledger(&agent).delivered == 2);

    send(&agent, 2, 1);
    clock.advance(Duration::from_secs(2));
    agent
        .send_metric(&SecurityMetric::new(MetricType::RequestCount, 1.0))
        .expect("room");
    clock.wait_for_sleeper(delay, delay);
    assert_eq!(backend.requests().len(), 1);
    clock.advance(FIRST_SEND_DELAY);
    assert_eq!(backend.wait_for(3).len(), 3);
}

#[test]
fn records_gather_while_a_send_is_in_flight() {
    let (go, wait) = mpsc::channel::<()>();
    let backend = Backend::start(move |index, _| {
        if index == 0 {
            wait.recv().expect("told to go on");
        }
        Answer::ok()
    });
    let agent = builder(&backend.url())
        .buffer_size(10)
        .build()
        .expect("valid");
    send(&agent, 0, 8);
    eventually("taken", || agent.stats().events_waiting == 0);
    send(&agent, 8, 500);
    go.send(()).expect("listening");
    assert!(agent.flush(PATIENCE));
    let sizes: Vec<usize> = backend
        .requests()
        .iter()
        .map(|each| each.reasons().len())
        .collect();
    assert_eq!(sizes, [8, 500]);
}

#[test]
fn no_body_exceeds_max_batch_bytes() {
    for encrypted in [false, true] {
        let backend = Backend::start(|_, _| Answer::ok());
        let mut builder = builder(&backend.url()).max_batch_bytes(8192);
        if encrypted {
            builder = builder.project_encryption_key(KEY);
        }
        let agent = builder.build().expect("valid");
        send(&agent, 0, 500);
        assert!(agent.flush(PATIENCE));
        let requests = backend.requests();
        assert!(requests.iter().all(|request| request.body.len() <= 8192));
        assert!(requests.len() < 30, "{}", requests.len());
        assert_eq!(ledger(&agent).delivered, 500);
    }
}

#[test]
fn with_a_key_everything_is_encrypted_and_with_a_secret_everything_signed() {
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = builder(&backend.url())
        .project_encryption_key(KEY)
        .payload_signing_secret("the-secret")
        .build()
        .expect("valid");
    send(&agent, 0, 100);
    assert!(agent.flush(PATIENCE));
    let encryptor = Encryptor::new(KEY).expect("a key");
    for request in backend.requests() {
        assert_eq!(request.path, "/api/v1/events/encrypted");
        assert!(sign::verify(
            &request.body,
            &request.headers["x-payload-signature"],
            "the-secret"
        ));
        let sealed = request.json()["encrypted_payload"]
            .as_str()
            .expect("text")
            .to_owned();
        let plain = encryptor.decrypt(&sealed).expect("opens");
        let payload: Value = serde_json::from_slice(&plain).expect("JSON");
        assert_eq!(payload["events"].as_array().expect("events").len(), 100);
    }
}

#[test]
fn an_unusable_encryption_key_fails_at_construction() {
    let error = builder("http://127.0.0.1:1")
        .project_encryption_key("s3cret-key")
        .build();
    let message = error.expect_err("refused").to_string();
    assert!(message.contains("project_encryption_key") && !message.contains("s3cret-key"));
}

#[test]
fn invalid_records_are_counted_and_reported_but_cause_no_error() {
    let agent = builder("http://127.0.0.1:1").build().expect("valid");
    agent
        .send_event(&SecurityEvent::new(""))
        .expect("never raised");
    agent
        .send_event(&SecurityEvent::new("x").metadata("big", vec!["y".repeat(1000); 1000]))
        .expect("never raised");
    let report = ledger(&agent);
    assert_eq!(
        (report.dropped["invalid"], report.dropped["too_large"]),
        (1, 1)
    );
}

#[test]
fn a_disabled_kind_is_not_accepted() {
    let agent = builder("http://127.0.0.1:1")
        .enable_events(false)
        .build()
        .expect("valid");
    send(&agent, 0, 5);
    assert_eq!(ledger(&agent).accepted, 0);
}

#[test]
fn under_raise_a_full_buffer_is_an_error_and_the_record_is_not_counted() {
    let agent = Agent::builder("the-api-key-of-the-test")
        .endpoint("http://127.0.0.1:1")
        .install_id("test")
        .shutdown_timeout(Duration::ZERO)
        .buffer_size(3)
        .overflow_policy(OverflowPolicy::Raise)
        .clock(ManualClock::new())
        .build()
        .expect("valid");
    send(&agent, 0, 3);
    let error = agent
        .send_event(&SecurityEvent::new("x"))
        .expect_err("full");
    assert_eq!(error.limit, 3);
    assert_eq!(ledger(&agent).accepted, 3);
}

#[test]
fn under_block_a_full_buffer_makes_callers_wait_and_loses_nothing() {
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = builder(&backend.url())
        .buffer_size(5)
        .overflow_policy(OverflowPolicy::Block)
        .build()
        .expect("valid");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let agent = agent.clone();
            scope.spawn(move || send(&agent, thread * 100, 100));
        }
    });
    assert!(agent.flush(PATIENCE));
    assert_eq!(
        (ledger(&agent).delivered, ledger(&agent).dropped.len()),
        (400, 0)
    );
}

#[test]
fn the_buffer_is_limited_by_bytes_and_by_records() {
    let large = || SecurityEvent::new("x").reason("y".repeat(2000));
    let bounded = |url: &str, policy| {
        builder(url)
            .max_buffer_bytes(5000)
            .max_payload_size(5000)
            .overflow_policy(policy)
            .build()
            .expect("valid")
    };
    let agent = bounded("http://127.0.0.1:1", OverflowPolicy::Raise);
    assert!(agent.send_event(&large()).is_ok() && agent.send_event(&large()).is_ok());
    assert!(agent.send_event(&large()).is_err());
    assert_eq!(ledger(&agent).accepted, 2);
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = bounded(&backend.url(), OverflowPolicy::Block);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| (0..20).all(|_| agent.send_event(&large()).is_ok()));
        // Too few records wait for a send to be due.
        eventually("sent", || {
            agent.flush(PATIENCE);
            ledger(&agent).delivered == 20
        });
        assert!(sending.join().expect("ends"));
    });
    assert_eq!(ledger(&agent).dropped.len(), 0);
}

#[test]
fn stopping_delivers_waiting_records() {
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = builder(&backend.url())
        .shutdown_timeout(PATIENCE)
        .build()
        .expect("valid");
    send(&agent, 0, 1000);
    assert!(agent.stop());
    assert!(!agent.is_running());
    assert_eq!(ledger(&agent).delivered, 1000);
    send(&agent, 1000, 5);
    assert!(agent.is_running());
    drop(agent);
    let sent: usize = backend
        .requests()
        .iter()
        .map(|request| request.reasons().len())
        .sum();
    assert_eq!(sent, 1005);
}

#[test]
fn records_that_keep_coming_do_not_delay_the_stop() {
    let sender = Arc::new(OnceLock::<Agent>::new());
    let busy = Arc::clone(&sender);
    let backend = Backend::start(move |index, _| {
        send(busy.get().expect("set below"), index + 1, 1);
        Answer::ok()
    });
    let agent = builder(&backend.url())
        .shutdown_timeout(PATIENCE)
        .build()
        .expect("valid");
    sender.set(agent.clone()).expect("unset");
    send(&agent, 0, 1);
    agent.stop();
    let report = ledger(&agent);
    assert_eq!((report.delivered, report.queued), (1, 1));
    // It runs for the records that came meanwhile, as it would for later ones.
    assert!(agent.is_running());
}

#[test]
fn stopping_ends_at_its_deadline_and_the_rest_stays_or_is_counted() {
    let backend = Backend::start(|_, _| Answer::Silence);
    let agent = builder(&backend.url())
        .shutdown_timeout(Duration::from_millis(100))
        .build()
        .expect("valid");
    send(&agent, 0, 10);
    assert!(!agent.stop());
    assert_eq!(ledger(&agent).queued, 10);
    agent.close();
    let report = ledger(&agent);
    assert_eq!((report.queued, report.dropped["stopped"]), (0, 10));
}

#[test]
fn records_of_a_failed_stop_are_not_tried_again_at_once() {
    let backend = Backend::start(|_, _| Answer::Silence);
    let clock = ManualClock::new();
    let agent = builder(&backend.url())
        .clock(clock.clone())
        .shutdown_timeout(PATIENCE)
        .build()
        .expect("valid");
    send(&agent, 0, 10);
    let stop_in_vain = |requests| {
        thread::scope(|scope| {
            let stopped = scope.spawn(|| agent.stop());
            backend.wait_for(requests);
            clock.wait_for_sleeper(PATIENCE.as_secs_f64(), PATIENCE.as_secs_f64());
            clock.advance(PATIENCE);
            assert!(!stopped.join().expect("no panic"));
        });
    };
    stop_in_vain(1);
    assert!(!agent.stop());
    assert_eq!(backend.requests().len(), 1);
    clock.advance(PATIENCE);
    stop_in_vain(2);
    agent.close();
    assert_eq!(ledger(&agent).dropped["stopped"], 10);
    assert_eq!(backend.requests().len(), 2);
}

#[test]
fn another_configuration_takes_over_records_and_numbers() {
    let old = Backend::start(|_, _| Answer::Silence);
    let new = Backend::start(|_, _| Answer::ok());
    let agent = builder(&old.url()).build().expect("valid");
    send(&agent, 0, 7);
    agent.flush(Duration::ZERO);
    old.wait_for(1);
    agent.reconfigure(builder(&new.url())).expect("valid");
    assert!(agent.flush(PATIENCE));
    assert_eq!((ledger(&agent).accepted, ledger(&agent).delivered), (7, 7));
    assert_eq!(new.requests()[0].reasons().len(), 7);
}

#[test]
fn records_sent_right_after_a_change_of_configuration_are_delivered_once() {
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = builder(&backend.url()).build().expect("valid");
    agent.start();
    for number in 0..50 {
        let another = builder(&backend.url()).project_id(number.to_string());
        agent.reconfigure(another).expect("valid");
        send(&agent, number, 1);
        assert!(agent.flush(PATIENCE));
    }
    let requests = backend.requests();
    let arrived: usize = requests.iter().map(|each| each.reasons().len()).sum();
    assert_eq!(arrived, 50);
}

#[test]
fn a_status_report_is_sent_at_the_start_and_contains_the_ledger() {
    let (reported, reports) = mpsc::channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !request.ends_with(b"}}}") {
            let read = stream.read(&mut chunk).expect("readable");
            request.extend_from_slice(&chunk[..read]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .expect("writable");
        reported
            .send(String::from_utf8(request).expect("text"))
            .expect("awaited");
    });
    let agent = builder(&url).build().expect("valid");
    agent.send_event(&SecurityEvent::new("")).expect("counted");
    let request = reports.recv_timeout(PATIENCE).expect("a report");
    assert!(
        request.starts_with("POST /api/v1/status HTTP/1.1\r\n"),
        "{request}"
    );
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    let report: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(report["install_id"], "test-install");
    assert_eq!(report["status"], "healthy");
    assert_eq!(report["ledger"]["dropped"]["invalid"], 1);
    eventually("the answer is counted", || {
        agent.stats().requests.last_status_ok == Some(true)
    });
}

#[test]
fn a_status_report_names_the_agent_by_its_program_and_host_or_as_configured() {
    let name = |builder: AgentBuilder, backend: &Backend| {
        let agent = builder.build().expect("valid");
        agent.start();
        eventually("the report", || !backend.reports().is_empty());
        let report = backend.reports()[0].json();
        report["agent_name"].as_str().expect("a name").to_owned()
    };
    let backend = Backend::start(|_, _| Answer::ok());
    let by_default = name(builder(&backend.url()), &backend);
    let host = gethostname::gethostname();
    let (program, found) = by_default.split_once('@').expect("a host");
    assert!(program.starts_with("agent-"), "{program}");
    assert_eq!(found, host.to_string_lossy());

    let backend = Backend::start(|_, _| Answer::ok());
    let configured = name(builder(&backend.url()).name("shop"), &backend);
    assert_eq!(configured, "shop");
}

/// A clock of the program that panics once, when told.
#[derive(Clone, Default)]
struct PanickingClock(Arc<AtomicBool>);

impl Clock for PanickingClock {
    fn now(&self) -> Instant {
        assert!(!self.0.swap(false, Ordering::Relaxed), "panics once");
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        SystemClock.sleep_until(at)
    }
}

#[test]
fn a_panic_in_a_guarded_call_is_counted_and_reported() {
    let (tell, told) = mpsc::channel();
    let clock = PanickingClock::default();
    let agent = builder("http://127.0.0.1:9")
        .clock(clock.clone())
        .on_report(move |report| tell.send(report.message.clone()).expect("heard"))
        .build()
        .expect("valid");
    let calls: [fn(&Agent); 2] = [|agent| drop(agent.stats()), |agent| agent.close()];
    for (failed, call) in (1..).zip(calls) {
        clock.0.store(true, Ordering::Relaxed);
        assert_eq!(agent.guarded(call), None);
        assert_eq!(agent.stats().requests.internal_errors, failed);
    }
    assert!(told.recv().expect("reported").contains("please report"));
    assert!(agent.guarded(Agent::stats).is_some());
}

#[test]
fn a_panic_while_a_record_is_read_only_loses_that_record() {
    #[derive(Clone, Copy)]
    struct Panics;

    impl Fields for Panics {
        fn write(self, _: &mut impl Sink) {
            panic!("as an object of the program's may");
        }
    }

    let (tell, told) = mpsc::channel();
    let backend = Backend::start(|_, _| Answer::ok());
    let agent = builder(&backend.url())
        .on_report(move |report| tell.send(report.message.clone()).expect("heard"))
        .build()
        .expect("valid");
    assert_eq!(agent.try_record(Kind::Event, Panics), Ok(()));
    assert_eq!(agent.try_again(Kind::Metric, Panics, agent.stops()), Ok(()));
    assert!(told.recv().expect("reported").contains("please report"));
    send(&agent, 0, 1);
    assert!(agent.flush(PATIENCE));
    let report = ledger(&agent);
    assert_eq!((report.accepted, report.delivered), (3, 1));
    assert_eq!(report.dropped["invalid"], 2);
}
