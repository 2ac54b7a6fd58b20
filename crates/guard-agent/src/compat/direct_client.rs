//! Deliveries without a queue, for programs that keep their records themselves.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use guard_wire::Kind;
use guard_wire::fields::Fields;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::batching;
use crate::builder::AgentBuilder;
use crate::config::OverflowPolicy;
use crate::descriptors::{Holding, unless_lost};
use crate::error::ConfigError;
use crate::pipeline::{self, InFlightBatch};
use crate::rules::Rules;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::sync::lock;
use crate::{descriptors, fork, intake, status, tenure};

/// Seals and sends records in the calling thread, and keeps nothing.
///
/// It builds, sends, retries and splits batches as an [`Agent`](crate::Agent) does. It
/// connects with the first request. Calls from several threads run one after the other.
/// It belongs to one process: after a fork, the child must create another client.
///
/// ```no_run
/// use std::time::Duration;
///
/// use guard_agent::compat::DirectClient;
/// use guard_agent::{Agent, Kind, SecurityEvent};
///
/// let client = DirectClient::new(Agent::builder("an-api-key-of-yours"))?;
/// let record = client.encode(Kind::Event, SecurityEvent::new("ip_banned").fields());
/// let records: Vec<Vec<u8>> = record.into_iter().collect();
/// if !client.deliver(Kind::Event, &records, Duration::from_secs(30))? {
///     println!("not delivered; they are still here: {}", records.len());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DirectClient {
    fork_generation: u32,
    inner: Arc<Inner>,
}

struct Inner {
    shared: Shared,
    /// The runtime; `None` while closed. Locked for the duration of a call.
    runtime: Mutex<Option<Holding<Runtime>>>,
    /// True if there is a runtime. Read without the lock.
    is_open: AtomicBool,
}

impl DirectClient {
    /// A client that has not connected yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first invalid field. Settings that bound a queue have no
    /// effect.
    pub fn new(builder: AgentBuilder) -> Result<Self, ConfigError> {
        let config = builder
            .overflow_policy(OverflowPolicy::Drop)
            .max_buffered(usize::MAX)
            .max_buffer_bytes(usize::MAX)
            .enable_events(true)
            .enable_metrics(true)
            .validate()?;
        let inner = Arc::new(Inner {
            shared: Shared::identified(config),
            runtime: Mutex::new(None),
            is_open: AtomicBool::new(false),
        });
        let fork_generation = fork::fork_generation();
        Ok(Self {
            fork_generation,
            inner,
        })
    }

    /// Encodes a record: redacts, truncates and checks it. Returns `None` for a record that
    /// cannot be sent; it is counted and reported.
    pub fn encode(&self, kind: Kind, fields: impl Fields) -> Option<Vec<u8>> {
        intake::encode(&self.inner.shared, kind, fields)
    }

    /// Delivers encoded records. Returns true if none of them must be sent again. Gives up
    /// after one round of attempts (`retry_attempts` resends), and after `limit`. If the
    /// backend refuses a record while it accepts others, the record is lost, counted and
    /// reported; sending it again would not help.
    ///
    /// # Errors
    ///
    /// When the system cannot provide the resources for another connection.
    pub fn deliver(&self, kind: Kind, records: &[Vec<u8>], limit: Duration) -> io::Result<bool> {
        let queue = &self.inner.shared.queue;
        self.run(async || {
            for record in records {
                // With this configuration there is always room.
                let _ = intake::enqueue(&self.inner.shared, kind, record);
            }
            let end = self.inner.shared.clock().now() + limit;
            queue.start_flush();
            tokio::select! {
                () = self.send_all() => {}
                () = self.first_rest() => {}
                () = self.inner.shared.clock().sleep_until(end) => {}
            }
            batching::withdraw(&self.inner.shared, kind).is_empty()
        })
    }

    async fn send_all(&self) {
        let shared = &self.inner.shared;
        while let Some((kind, batch)) = batching::next_batch(shared) {
            InFlightBatch::new(shared, kind, batch).run().await;
        }
    }

    /// Resolves when a round of attempts has failed.
    async fn first_rest(&self) {
        while self.inner.shared.resting_count() == 0 {
            self.inner.shared.queue.woken().await;
        }
    }

    /// Posts the JSON of a status report. Returns true if the backend accepted it.
    ///
    /// # Errors
    ///
    /// As [`deliver`](Self::deliver).
    pub fn push_status(&self, report: Vec<u8>) -> io::Result<bool> {
        self.run(async || status::post(&self.inner.shared, report).await)
    }

    /// Fetches the rules. Returns `None` if the backend has none, and the last known rules
    /// if the request fails.
    ///
    /// # Errors
    ///
    /// As [`deliver`](Self::deliver).
    pub fn fetch_rules(&self) -> io::Result<Option<Arc<Rules>>> {
        self.run(async || {
            pipeline::fetch(&self.inner.shared).await;
            let now = Timestamp::try_from(self.inner.shared.clock().wall()).unwrap_or_default();
            self.inner.shared.rules.current(now)
        })
    }

    /// The current statistics; `running` says whether the client is connected.
    pub fn stats(&self) -> Stats {
        Stats::of(
            &self.inner.shared,
            self.inner.is_open.load(Ordering::Relaxed),
        )
    }

    /// Runs `call`, as [`Agent::guarded`](crate::Agent::guarded) does.
    pub fn guarded<T>(&self, call: impl FnOnce(&Self) -> T) -> Option<T> {
        self.inner.shared.guarded_call(|| call(self))
    }

    /// Connects now instead of with the first request.
    ///
    /// # Errors
    ///
    /// As [`deliver`](Self::deliver).
    pub fn open(&self) -> io::Result<()> {
        self.run(async || ())
    }

    /// Closes the connections. The next request opens new ones.
    pub fn close(&self) {
        self.inner.is_open.store(false, Ordering::Relaxed);
        let runtime = lock(&self.inner.runtime).take();
        if let Some(runtime) = runtime.and_then(Holding::into_held) {
            // A name lookup that hangs in the system's resolver must not delay this.
            runtime.shutdown_background();
        }
    }

    fn run<T>(&self, work: impl AsyncFnOnce() -> T) -> io::Result<T> {
        let mut place = lock(&self.inner.runtime);
        let holding = match place.take().filter(|it| it.get().is_some()) {
            Some(holding) => holding,
            None => self.connect()?,
        };
        let holding = place.insert(holding);
        let witness = holding.witness();
        let runtime = holding.get();
        let done = runtime.and_then(|it| it.block_on(unless_lost(&witness, work())));
        done.ok_or_else(|| io::Error::other("the program closed the connection's descriptor"))
    }

    fn connect(&self) -> io::Result<Holding<Runtime>> {
        let runtime = descriptors::runtime()?;
        self.inner
            .shared
            .set_transport(tenure::transport(&self.inner.shared), runtime.witness());
        self.inner.is_open.store(true, Ordering::Relaxed);
        Ok(runtime)
    }
}

impl Drop for DirectClient {
    fn drop(&mut self) {
        if self.fork_generation != fork::fork_generation() {
            // Dropping the connections here would remove them from the parent's event queue.
            std::mem::forget(Arc::clone(&self.inner));
        }
    }
}
