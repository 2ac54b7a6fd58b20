//! How an agent stops while other threads still send, and what its own threads may call.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use guard_agent::transport::{Request, Response, Transport, TransportError};
use guard_agent::{Agent, AgentBuilder, ConfigError, SecurityEvent};
use serde_json::Value;

use crate::support::clock::ManualClock;
use crate::support::shelf::Shelf;
use crate::support::{PATIENCE, builder, eventually, ledger, send};

const INTERVAL: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(1);
const FREE_RUNS: usize = 200;

/// A backend in memory. It records the reasons of events, and answers as `answer` says.
struct Line<F> {
    arrived: Arc<Mutex<Vec<String>>>,
    answer: F,
}

impl<F: Fn(usize) -> u16 + Send + Sync + 'static> Transport for Line<F> {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let mut status = 200;
            if request.path.ends_with("/events") {
                let body = request.body.unwrap_or_default();
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                let events = body["events"].as_array().expect("events").clone();
                let count = self.arrived.lock().expect("whole").len();
                status = (self.answer)(count);
                if status == 200 {
                    let reason = |event: &Value| event["reason"].as_str().map(str::to_owned);
                    let mut arrived = self.arrived.lock().expect("whole");
                    arrived.extend(events.iter().filter_map(reason));
                }
            }
            Ok(Response {
                status,
                ..Response::default()
            })
        })
    }
}

/// An agent whose batches are answered by `answer`, which gets the number of events received
/// before. Also returns the received events.
fn agent_on(
    builder: AgentBuilder,
    answer: impl Fn(usize) -> u16 + Send + Sync + 'static,
) -> (Agent, Arc<Mutex<Vec<String>>>) {
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let line = Line {
        arrived: Arc::clone(&arrived),
        answer,
    };
    let agent = builder
        .compression_enabled(false)
        .transport(line)
        .build()
        .expect("valid");
    (agent, arrived)
}

fn patient() -> AgentBuilder {
    builder("http://127.0.0.1:1").shutdown_timeout(PATIENCE)
}

fn count(arrived: &Mutex<Vec<String>>) -> usize {
    arrived.lock().expect("whole").len()
}

/// An agent that receives one more record while its first batch is delivered.
fn agent_with_a_late_record(builder: AgentBuilder) -> (Agent, Arc<Mutex<Vec<String>>>) {
    let late = Arc::new(OnceLock::<Agent>::new());
    let sender = Arc::clone(&late);
    let (agent, arrived) = agent_on(builder, move |before| {
        if before == 0 {
            send(sender.get().expect("set below"), 10, 1);
        }
        200
    });
    late.set(agent.clone()).expect("unset");
    send(&agent, 0, 10);
    (agent, arrived)
}

#[test]
fn a_record_sent_during_stop_is_delivered_without_a_further_record() {
    let clock = ManualClock::new();
    let builder = patient().clock(clock.clone()).flush_interval(INTERVAL);
    let (agent, arrived) = agent_with_a_late_record(builder);
    assert!(agent.stop());
    assert_eq!(count(&arrived), 10);
    assert!(agent.is_running());
    clock.wait_for_sleeper(INTERVAL.as_secs_f64(), INTERVAL.as_secs_f64());
    clock.advance(INTERVAL);
    eventually("delivered", || ledger(&agent).delivered == 11);
}

#[test]
fn a_record_saved_during_stop_is_delivered_without_a_further_record() {
    let shelf = Shelf::default();
    let builder = patient().store(shelf.opener());
    let (agent, arrived) = agent_with_a_late_record(builder.flush_interval(SOON));
    assert!(agent.stop());
    eventually("delivered", || count(&arrived) == 11);
}

#[test]
fn a_record_sent_while_the_agent_closes_is_delivered() {
    let (agent, arrived) = agent_with_a_late_record(patient());
    agent.close();
    assert_eq!(count(&arrived), 11);
    assert!(ledger(&agent).dropped.is_empty());
    assert!(!agent.is_running());
}

#[test]
fn records_that_keep_coming_while_the_agent_closes_are_reported_as_lost() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let builder = patient().on_report(move |report| {
        heard.lock().expect("whole").push(report.message.clone());
    });
    let late = Arc::new(OnceLock::<Agent>::new());
    let sender = Arc::clone(&late);
    let (agent, _) = agent_on(builder, move |before| {
        send(sender.get().expect("set below"), before + 1, 1);
        200
    });
    late.set(agent.clone()).expect("unset");
    send(&agent, 0, 1);
    agent.close();
    let report = ledger(&agent);
    assert_eq!((report.queued, report.dropped["stopped"]), (0, 1));
    let said = said.lock().expect("whole").join("\n");
    assert!(
        said.contains("before 1 record(s) could be delivered: lost; end what sends"),
        "{said}"
    );
}

#[test]
fn a_sender_that_runs_in_parallel_to_stop_loses_nothing() {
    for _ in 0..FREE_RUNS {
        let (agent, arrived) = agent_on(patient(), |_| 200);
        let (begun, has_begun) = mpsc::channel();
        let sent = thread::scope(|scope| {
            let sending = scope.spawn(|| {
                for number in 0..100 {
                    send(&agent, number, 1);
                    let _ = begun.send(());
                }
                100
            });
            has_begun.recv().expect("sending");
            assert!(agent.stop());
            sending.join().expect("no panic")
        });
        assert!(ledger(&agent).queued == 0 || agent.is_running());
        drop(agent);
        assert_eq!(count(&arrived), sent);
    }
}

#[test]
fn a_record_sent_during_a_reconfiguration_is_delivered_without_a_further_record() {
    for _ in 0..FREE_RUNS {
        let due_at_once = || patient().flush_interval(SOON);
        let (agent, old) = agent_on(due_at_once(), |_| 200);
        let new = Arc::new(Mutex::new(Vec::new()));
        let line = Line {
            arrived: Arc::clone(&new),
            answer: |_| 200,
        };
        thread::scope(|scope| {
            scope.spawn(|| send(&agent, 0, 1));
            let next = due_at_once().compression_enabled(false).transport(line);
            agent.reconfigure(next).expect("valid");
        });
        eventually("delivered", || ledger(&agent).delivered == 1);
        assert_eq!(count(&old) + count(&new), 1);
    }
}

#[test]
fn an_agent_that_is_never_dropped_delivers_when_its_guard_is_dropped() {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    let (agent, arrived) = agent_on(patient(), |_| 200);
    let agent = AGENT.get_or_init(|| agent);
    let main = || {
        let _delivers = agent.close_on_drop();
        send(agent, 0, 10);
        panic!("the end");
    };
    assert!(catch_unwind(AssertUnwindSafe(main)).is_err());
    assert_eq!(count(&arrived), 10);
}

thread_local! {
    static AT_THE_END: RefCell<Option<SendsWhenDropped>> = const { RefCell::new(None) };
}

struct SendsWhenDropped(Agent);

impl Drop for SendsWhenDropped {
    fn drop(&mut self) {
        send(&self.0, 1, 1);
    }
}

#[test]
fn the_destructor_of_a_thread_local_may_send() {
    for already_used in [true, false] {
        let (agent, arrived) = agent_on(patient(), |_| 200);
        let at_the_end = SendsWhenDropped(agent.clone());
        thread::spawn(move || {
            AT_THE_END.set(Some(at_the_end));
            if already_used {
                // The agent's own data for this thread is destroyed first.
                AT_THE_END.with_borrow(|it| send(&it.as_ref().expect("set").0, 0, 1));
            }
        })
        .join()
        .expect("no panic");
        assert!(agent.flush(PATIENCE));
        assert_eq!(count(&arrived), 1 + usize::from(already_used));
    }
}

#[test]
fn a_hook_may_call_flush_stop_and_reconfigure_without_a_deadlock() {
    let (tell, told) = mpsc::channel();
    let cell = Arc::new(OnceLock::<Agent>::new());
    let own = Arc::clone(&cell);
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let builder = patient().on_report(move |report| {
        heard.lock().expect("whole").push(report.message.clone());
        let agent = own.get().expect("set below");
        if thread::current().name() == Some("guard-agent") {
            let again = agent.reconfigure(patient()).expect_err("refused");
            assert_eq!(again, ConfigError::OwnThread);
            let ended = [agent.flush(PATIENCE), agent.stop()];
            agent.close();
            tell.send((ended, agent.is_running())).expect("awaited");
        }
    });
    let (agent, _) = agent_on(builder, |_| 503);
    cell.set(agent.clone()).expect("unset");
    send(&agent, 0, 1);
    assert!(!agent.flush(Duration::ZERO));
    let heard = told.recv_timeout(PATIENCE).expect("a report");
    assert_eq!(heard, ([false, false], true));
    assert!(!agent.stop_within(Duration::ZERO));
    assert!(!agent.is_running());
    let said = said.lock().expect("whole").join("\n");
    assert!(!said.contains("left behind"), "{said}");
}

#[test]
fn a_hook_may_stop_an_agent_whose_worker_does_not_end() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (arrive, arrived) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let cell = Arc::new(OnceLock::<Agent>::new());
    let own = Arc::clone(&cell);
    let builder = patient().on_report(move |report| {
        if report.message.contains("left behind") {
            own.get().expect("set below").stop_within(Duration::ZERO);
            tell.send(()).expect("awaited");
        }
    });
    let (agent, _) = agent_on(builder, move |_| {
        // Blocks the worker's thread itself.
        let _ = arrive.send(());
        let _ = wait.lock().expect("whole").recv();
        200
    });
    cell.set(agent.clone()).expect("unset");
    send(&agent, 0, 1);
    agent.flush(Duration::ZERO);
    arrived.recv_timeout(PATIENCE).expect("a request");
    thread::spawn(move || agent.stop_within(Duration::ZERO));
    told.recv_timeout(PATIENCE).expect("stopped");
    drop(go);
}

#[test]
fn a_hook_that_drops_the_last_agent_lets_its_worker_end() {
    let (tell, told) = mpsc::channel();
    let last = Arc::new(Mutex::new(None::<Agent>));
    let own = Arc::clone(&last);
    let builder = patient().on_rules_changed(|| {}).on_report(move |_| {
        if thread::current().name() == Some("guard-agent") {
            drop(own.lock().expect("whole").take());
            tell.send(()).expect("awaited");
        }
    });
    let shelf = Shelf::default();
    let (agent, _) = agent_on(builder.store(shelf.opener()), |_| 503);
    agent
        .send_event(&SecurityEvent::new("ip_banned").reason("#0"))
        .expect("room");
    *last.lock().expect("whole") = Some(agent.clone());
    let _ = agent.flush(Duration::ZERO);
    drop(agent);
    told.recv_timeout(PATIENCE).expect("dropped without a wait");
    eventually("saved", || shelf.state().synced == 1);
    assert_eq!(shelf.reasons(), ["#0"]);
}
