//! Agents that save their records in a real Redis.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Write, stdin};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use guard_agent::report::Level;
use guard_agent::stats::DurabilityStats;
use guard_agent::store::{RedisOptions, RedisStore, Store};
use guard_agent::{Agent, AgentBuilder, Kind, SecurityEvent};

use super::server::Server;
use crate::support::backend::{Answer, Backend};
use crate::support::{PATIENCE, builder, eventually, ledger, send};

const NOWHERE: &str = "http://127.0.0.1:1";
const RECORDS: &str = "XLEN guard_agent:{default}:records";

fn agent(server: &Server, endpoint: &str) -> Agent {
    builder(endpoint)
        .redis_url(server.url())
        .build()
        .expect("valid")
}

fn durability(agent: &Agent) -> DurabilityStats {
    agent.stats().durability.expect("a store")
}

/// The reasons of all received events, and the number of received events.
fn received(backend: &Backend) -> (BTreeSet<String>, usize) {
    let requests = backend.requests();
    let all = requests.iter().flat_map(|each| each.reasons());
    let all: Vec<String> = all.filter(|reason| reason != FIRST).collect();
    let count = all.len();
    (all.into_iter().collect(), count)
}

/// A process that shares a Redis with others: this program again, running one test that
/// detects that it is the worker.
struct Worker(Child);

const ENDPOINT: &str = "TEST_WORKER_ENDPOINT";
const REDIS: &str = "TEST_WORKER_REDIS";
const NAME: &str = "TEST_WORKER_NAME";
const SAVED: &str = "500 events are saved";
/// The reason of an agent's first event. An agent sends its first records soon; those of the test
/// must wait.
const FIRST: &str = "the first event";

impl Worker {
    fn start(test: &str, server: &Server, backend: &Backend, name: &str) -> Self {
        let child = Command::new(env::current_exe().expect("a test"))
            .args([test, "--exact", "--nocapture"])
            .env(ENDPOINT, backend.url())
            .env(REDIS, server.url())
            .env(NAME, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut worker = Self(child);
        let output = worker.0.stdout.as_mut().expect("piped");
        let mut lines = BufReader::new(output).lines();
        let is_ready = lines.any(|line| line.expect("text").contains(SAVED));
        assert!(is_ready, "the worker ended");
        worker
    }

    fn deliver(&mut self) {
        let input = self.0.stdin.as_mut().expect("piped");
        input.write_all(b"deliver\n").expect("it lives");
    }

    fn kill(&mut self) {
        self.0.kill().expect("it lives");
        self.0.wait().expect("it is ours");
    }
}

/// Sends and delivers events on command, and takes over records of other processes, until
/// its input ends.
fn work(endpoint: &str) {
    let var = |name| env::var(name).expect("given");
    let options = RedisOptions::new(&var(REDIS)).expect("a URL");
    let options = options.lease(Duration::from_secs(1));
    let agent = builder(endpoint)
        .flush_interval(Duration::from_secs(3600))
        .store(move || Ok(Box::new(RedisStore::open(options.clone())?)))
        .build()
        .expect("valid");
    let first = SecurityEvent::new("ip_banned").reason(FIRST.to_owned());
    agent.send_event(&first).expect("room");
    assert!(agent.flush(PATIENCE));
    for number in 0..500 {
        let event = SecurityEvent::new("ip_banned").reason(format!("{} {number}", var(NAME)));
        agent.send_event(&event).expect("room");
    }
    eventually("saved", || durability(&agent).usage.records == 500);
    println!("{SAVED}");
    let mut line = String::new();
    stdin().read_line(&mut line).expect("text");
    agent.flush(PATIENCE);
    stdin().read_line(&mut line).expect("text");
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn four_processes_share_a_redis_and_deliver_records_of_a_killed_one() {
    if let Ok(endpoint) = env::var(ENDPOINT) {
        return work(&endpoint);
    }
    let test = "redis::agents::four_processes_share_a_redis_and_deliver_records_of_a_killed_one";
    let server = Server::start(&[]);
    let backend = Backend::start(|_, _| Answer::ok());
    let names = ["a", "b", "c", "d"];
    let mut workers = names.map(|name| Worker::start(test, &server, &backend, name));
    assert_eq!(server.ask::<u64>(RECORDS), 2000);
    workers[0].kill();
    workers[1..].iter_mut().for_each(Worker::deliver);
    eventually("everything is delivered", || {
        received(&backend).0.len() == 2000
    });
    eventually("and forgotten", || server.ask::<u64>(RECORDS) == 0);
    assert_eq!(received(&backend).1, 2000, "each once");
}

#[test]
fn redis_may_be_killed_under_load_and_come_back() {
    let mut server = Server::start(&[]);
    let last = agent(&server, NOWHERE);
    send(&last, 0, 200);
    eventually("saved", || durability(&last).usage.records == 200);
    server.kill();
    send(&last, 200, 200);
    eventually("it is noticed", || durability(&last).degraded);
    assert_eq!(ledger(&last).queued, 400);
    server.restart();
    eventually("saved", || durability(&last).usage.records == 400);
    let stats = durability(&last);
    assert!(!stats.degraded && stats.failures > 0);
    last.close();
    assert_eq!(ledger(&last).spooled, 400);
    let backend = Backend::start(|_, _| Answer::ok());
    let next = agent(&server, &backend.url());
    next.start();
    eventually("delivered", || ledger(&next).delivered == 400);
    assert_eq!(received(&backend).1, 400, "each once");
    eventually("forgotten", || server.ask::<u64>(RECORDS) == 0);
}

#[test]
fn records_lost_by_redis_but_in_memory_are_saved_again() {
    let mut server = Server::start(&["--appendonly", "no"]);
    let agent = agent(&server, NOWHERE);
    send(&agent, 0, 100);
    eventually("saved", || durability(&agent).usage.records == 100);
    server.kill();
    send(&agent, 100, 1);
    eventually("it is noticed", || durability(&agent).degraded);
    server.restart();
    eventually("saved again", || server.ask::<u64>(RECORDS) == 101);
    assert_eq!(ledger(&agent).queued, 101);
}

#[test]
fn a_redis_that_hangs_does_not_block_callers() {
    let server = Server::start(&[]);
    let agent = agent(&server, NOWHERE);
    send(&agent, 0, 1);
    eventually("saved", || durability(&agent).usage.records == 1);
    server.freeze();
    send(&agent, 1, 1000);
    eventually("it is noticed", || durability(&agent).degraded);
    assert_eq!(ledger(&agent).queued, 1001);
    server.wake();
    eventually("saved", || server.ask::<u64>(RECORDS) == 1001);
}

/// The warnings of an agent.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn of(&self, builder: AgentBuilder) -> AgentBuilder {
        let heard = Arc::clone(&self.0);
        builder.on_report(move |report| {
            if report.level == Level::Warning {
                heard.lock().expect("whole").push(report.message.clone());
            }
        })
    }

    fn contain(&self, words: &str) -> bool {
        let heard = self.0.lock().expect("whole");
        heard.iter().any(|warning| warning.contains(words))
    }
}

#[test]
fn an_eviction_policy_in_redis_causes_a_warning() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let warnings = Warnings::default();
    let builder = builder(NOWHERE).redis_url(server.url());
    let agent = warnings.of(builder).build().expect("valid");
    agent.start();
    eventually("warned", || {
        warnings.contain("set maxmemory-policy noeviction")
    });
}

#[test]
fn records_of_a_dead_process_are_delivered_after_the_group_was_destroyed() {
    let server = Server::start(&[]);
    let backend = Backend::start(|_, _| Answer::ok());
    let options = RedisOptions::new(&server.url()).expect("a URL");
    let options = options.lease(Duration::from_secs(1));
    let mut dead = RedisStore::open(options.clone()).expect("opened");
    let left: [(Kind, &[u8]); 1] = [(Kind::Event, br#"{"reason":"left"}"#)];
    dead.append(&left).expect("saved");
    drop(dead);
    server.ask::<u64>("XGROUP DESTROY guard_agent:{default}:records agents");
    let warnings = Warnings::default();
    let builder =
        builder(&backend.url()).store(move || Ok(Box::new(RedisStore::open(options.clone())?)));
    let agent = warnings.of(builder).build().expect("valid");
    agent.start();
    eventually("delivered", || received(&backend).0.contains("left"));
    assert!(warnings.contain("1 record(s)"), "it is told");
    eventually("forgotten", || server.ask::<u64>(RECORDS) == 0);
}

#[test]
fn records_stay_in_their_redis_until_the_process_restarts() {
    let (first, second) = (Server::start(&[]), Server::start(&[]));
    let warnings = Warnings::default();
    let at = |server: &Server| builder(NOWHERE).redis_url(server.url());
    let agent = warnings.of(at(&first)).build().expect("valid");
    send(&agent, 0, 10);
    eventually("saved", || first.ask::<u64>(RECORDS) == 10);
    agent.reconfigure(warnings.of(at(&second))).expect("valid");
    assert!(warnings.contain("another redis_url, or none, takes effect there when the process"));
    send(&agent, 10, 10);
    eventually("saved", || first.ask::<u64>(RECORDS) == 20);
    assert_eq!(second.ask::<u64>(RECORDS), 0);
}
