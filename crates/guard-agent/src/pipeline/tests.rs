//! Two hundred agents whose backend goes down and comes back, in simulated time: tokio's
//! clock jumps to the next time at which anything is due.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use guard_wire::Kind;

use super::*;
use crate::Agent;
use crate::clock::Clock;
use crate::descriptors::Witness;
use crate::queue::Incoming;
use crate::sync::lock;
use crate::transport::{Request, Response, Transport, TransportError};

const AGENTS: usize = 200;
/// Records that each application sends. With an interval of 30 s and batches of at most
/// about 64 records, this causes about one request in half a minute.
const RECORDS_A_SECOND: usize = 2;
const RECORD: [u8; 500] = [b'x'; 500];
const BATCH_BYTES: usize = 32 * 1024;

const STEADY: usize = 300;
const OUTAGE: usize = 300;
const RECOVERY: usize = 840;
/// Requests are counted over windows of this many seconds.
const WINDOW: usize = 30;

/// tokio's clock, which does not advance while there is work to do.
struct SimulatedClock {
    start: tokio::time::Instant,
}

impl Clock for SimulatedClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.start.elapsed()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}

/// A backend that all agents share.
struct Backend {
    start: tokio::time::Instant,
    up: AtomicBool,
    /// Number of batches in each second.
    batches: Mutex<Vec<u64>>,
}

impl Backend {
    /// The number of batches in each window between two times, in seconds.
    fn windows(&self, from: usize, to: usize) -> Vec<u64> {
        let seconds = lock(&self.batches);
        (from..to - WINDOW)
            .map(|at| seconds[at..at + WINDOW].iter().sum())
            .collect()
    }
}

struct Line(Arc<Backend>);

impl Transport for Line {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            if request.path.ends_with("/events") {
                let second = usize::try_from(self.0.start.elapsed().as_secs()).expect("few");
                lock(&self.0.batches)[second] += 1;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            if !self.0.up.load(Ordering::Relaxed) {
                return Err(TransportError::Connect("refused".to_owned()));
            }
            Ok(Response {
                status: 200,
                ..Response::default()
            })
        })
    }
}

fn agent(backend: &Arc<Backend>) -> Arc<Shared> {
    let start = backend.start;
    let config = Agent::builder("the-api-key-of-the-test")
        .endpoint("http://127.0.0.1:1")
        .max_batch_bytes(BATCH_BYTES)
        .clock(SimulatedClock { start })
        .on_report(|_| {})
        .validate()
        .expect("valid");
    let shared = Arc::new(Shared::new(config, "install".to_owned()));
    let witness = Arc::new(Witness::new().expect("a descriptor"));
    shared.set_transport(Arc::new(Line(Arc::clone(backend))), witness);
    shared
}

/// Sends records. Each agent starts at a different time.
async fn applications(agents: &[Arc<Shared>], seconds: usize) {
    for second in 0..seconds {
        for (index, agent) in agents.iter().enumerate() {
            if second * AGENTS >= index * 30 {
                for _ in 0..RECORDS_A_SECOND {
                    let push = agent
                        .queue
                        .push(Kind::Event, Incoming::Json(&RECORD), || agent.clock().now());
                    assert_eq!(push, crate::queue::Pushed::Queued);
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_recovering_agents_at_most_double_the_request_rate() {
    fastrand::seed(7);
    let start = tokio::time::Instant::now();
    let backend = Arc::new(Backend {
        start,
        up: AtomicBool::new(true),
        batches: Mutex::new(vec![0; STEADY + OUTAGE + RECOVERY + 60]),
    });
    let agents: Vec<_> = (0..AGENTS).map(|_| agent(&backend)).collect();
    let (_stop, stopped) = watch::channel(None);
    let mut running: FuturesUnordered<_> = agents
        .iter()
        .map(|agent| run(agent, stopped.clone()))
        .collect();
    let story = async {
        applications(&agents, STEADY).await;
        backend.up.store(false, Ordering::Relaxed);
        applications(&agents, OUTAGE).await;
        let left: u64 = agents
            .iter()
            .map(|agent| agent.queue.fill().items as u64)
            .sum();
        assert!(left > 100_000, "no backlog: {left}");
        backend.up.store(true, Ordering::Relaxed);
        applications(&agents, RECOVERY).await;
    };
    tokio::select! {
        () = story => {}
        _ = running.next() => panic!("an agent ended"),
    }
    let steady = backend.windows(60, STEADY);
    let steady = steady.iter().sum::<u64>() / steady.len() as u64;
    let most = backend.windows(STEADY + OUTAGE, STEADY + OUTAGE + RECOVERY);
    let most = most.into_iter().max().expect("windows");
    assert!(
        most <= 2 * steady,
        "{most} instead of {steady} in {WINDOW} s"
    );
    for agent in &agents {
        let left = agent.queue.fill().items;
        assert!(left <= 150, "{left} records still wait");
        assert_eq!(agent.queue.ledger().report().dropped.len(), 0);
    }
}
