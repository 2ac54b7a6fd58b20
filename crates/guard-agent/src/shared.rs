//! State shared by the caller's side and the worker of one agent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use guard_wire::Kind;
use guard_wire::encode::Encoder;
use guard_wire::redact::MARK;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::classify::DeliveryError;
use crate::delivery::throttle::Throttle;
use crate::descriptors::{Holding, Witness};
use crate::install_id;
use crate::queue::{Limits, Queue};
use crate::report::{Level, Reporter, flush_stage};
use crate::request_stats::RequestCounters;
use crate::rules::Known;
use crate::seal::Sealer;
use crate::store::durability::Durability;
use crate::sync::lock;
use crate::transport::{Request, Response, Transport, TransportError};

/// State of an agent under one configuration. Queue, request statistics and rules outlive a
/// configuration change.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) encoder: Encoder,
    pub(crate) sealer: Sealer,
    pub(crate) queue: Arc<Queue>,
    pub(crate) requests: Arc<RequestCounters>,
    pub(crate) rules: Arc<Known>,
    pub(crate) durability: Arc<Durability>,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) install_id: String,
    reporter: Reporter,
    /// Set when the worker starts, in the process that sends.
    transport: Mutex<Option<Holding<Arc<dyn Transport>>>>,
    /// The largest body that the backend is known to accept.
    batch_cap: AtomicUsize,
    /// Number of batches that rest between rounds.
    resting: AtomicUsize,
    /// Ends pauses early.
    backoff_interrupt: Notify,
    /// Makes the next status report come soon.
    status_change: Notify,
}

impl Shared {
    /// Creates the state, with the install id of this installation.
    pub(crate) fn identified(config: Config) -> Self {
        let found = install_id::resolve(None, config.settings.install_id.as_deref());
        let shared = Self::new(config, found.id);
        if let Some(error) = found.not_kept {
            shared.warn("worker", "install_id", || {
                format!(
                    "the installation's identifier cannot be kept ({error}): each process has \
                     another; set install_id to give one"
                )
            });
        }
        shared
    }

    pub(crate) fn new(config: Config, install_id: String) -> Self {
        let queue = Arc::new(Queue::new(Limits::from(&config)));
        let requests = Arc::new(RequestCounters::new(config.clock.now()));
        Self::with(
            config,
            install_id,
            queue,
            requests,
            Arc::default(),
            Arc::default(),
        )
    }

    /// Keeps records and statistics under another configuration. An open store stays open until
    /// the process ends, because no other store would find its records.
    pub(crate) fn reconfigured(&self, mut config: Config, install_id: String) -> Self {
        if let Some(open) = &self.config.store
            && self.durability.was_opened()
        {
            config.store = Some(open.clone());
            self.warn_of_changed_location(&config);
        }
        self.queue.set_limits(Limits::from(&config));
        if !self.config.has_same_source(&config) {
            self.rules.forget();
        }
        let (queue, requests) = (Arc::clone(&self.queue), Arc::clone(&self.requests));
        let (rules, durability) = (Arc::clone(&self.rules), Arc::clone(&self.durability));
        Self::with(config, install_id, queue, requests, rules, durability)
    }

    fn warn_of_changed_location(&self, next: &Config) {
        if let Some(field) = self.config.changed_location(next) {
            self.warn("spool", field, || {
                format!(
                    "records stay where they are kept: another {field}, or none, takes effect \
                     there when the process starts again"
                )
            });
        }
    }

    fn with(
        config: Config,
        install_id: String,
        queue: Arc<Queue>,
        requests: Arc<RequestCounters>,
        rules: Arc<Known>,
        durability: Arc<Durability>,
    ) -> Self {
        let sealer = Sealer::new(&config);
        let encoder = Encoder::new(
            config.redactor.clone(),
            config.settings.max_payload_size,
            sealer
                .room(config.settings.max_batch_bytes)
                .saturating_sub(1),
        )
        .anonymize(config.settings.anonymize.clone());
        Self {
            encoder,
            sealer,
            queue,
            requests,
            rules,
            durability,
            install_id,
            throttle: Mutex::default(),
            reporter: Reporter::new(config.hook.clone()),
            transport: Mutex::default(),
            batch_cap: AtomicUsize::new(config.settings.max_batch_bytes),
            resting: AtomicUsize::new(0),
            backoff_interrupt: Notify::new(),
            status_change: Notify::new(),
            config,
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.config.clock.as_ref()
    }

    /// Sets the transport for requests. It belongs to the runtime of `witness`.
    pub(crate) fn set_transport(&self, transport: Arc<dyn Transport>, witness: Arc<Witness>) {
        *lock(&self.transport) = Some(Holding::new(transport, witness));
    }

    fn transport(&self) -> Option<(Arc<dyn Transport>, Arc<Witness>)> {
        let transport = lock(&self.transport);
        let held = transport.as_ref()?;
        Some((Arc::clone(held.peek()?), held.witness()))
    }

    /// Sends one request, counts it, and returns its answer.
    pub(crate) async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let Some((transport, witness)) = self.transport() else {
            return Err(TransportError::Connect("the agent is not running".into()));
        };
        self.requests
            .requested(request.body.as_ref().map_or(0, bytes::Bytes::len));
        let mut response = Holding::new(transport.send(request), witness).await?;
        hide(&self.config.api_key, &mut response.body);
        Ok(response)
    }

    /// Number of record bytes for the next batch.
    pub(crate) fn batch_room(&self) -> usize {
        self.sealer.room(self.batch_cap.load(Ordering::Relaxed))
    }

    /// Remembers that the backend refused a larger body.
    pub(crate) fn shrink_batches(&self, cap: usize) {
        self.batch_cap.fetch_min(cap, Ordering::Relaxed);
    }

    /// Waits until `until`, or until all batches must be tried at once.
    pub(crate) async fn pause(&self, until: Instant) {
        tokio::select! {
            () = self.clock().sleep_until(until) => {}
            () = self.backoff_interrupt.notified() => {}
        }
    }

    /// Ends all pauses.
    pub(crate) fn interrupt_backoff(&self) {
        self.backoff_interrupt.notify_waiters();
    }

    /// Notes that the next status report should come soon.
    pub(crate) fn mark_status_dirty(&self) {
        self.status_change.notify_one();
    }

    /// Waits until a status report should come soon.
    pub(crate) async fn status_dirty(&self) {
        self.status_change.notified().await;
    }

    /// Counts a batch as resting until the returned guard is dropped.
    pub(crate) fn resting(&self) -> Resting<'_> {
        self.resting.fetch_add(1, Ordering::Relaxed);
        self.queue.wake();
        Resting(self)
    }

    pub(crate) fn resting_count(&self) -> usize {
        self.resting.load(Ordering::Relaxed)
    }

    /// Remembers and reports an error that prevents deliveries.
    pub(crate) fn delivery_failed(&self, error: &DeliveryError) {
        self.requests.remember(error.message());
        let topic = match error {
            DeliveryError::Unreachable(_) => "unreachable",
            DeliveryError::Transport(_) => "transport",
            DeliveryError::Denied(_) => "denied",
            DeliveryError::Foreign(..) => "foreign",
            DeliveryError::Redirect(_) => {
                self.requests.redirected();
                "redirect"
            }
            DeliveryError::Unauthorized(..) => "unauthorized",
            DeliveryError::NotFound => "not_found",
            DeliveryError::Throttled => "throttled",
            DeliveryError::Status(..) => "status",
        };
        self.warn("transport_send", topic, || {
            format!("{}; records are kept", error.message())
        });
    }

    /// Runs `work`. A panic does not reach the caller: it is counted, and reported with the
    /// message that `note` returns.
    pub(crate) fn guarded<T>(
        &self,
        stage: &'static str,
        work: impl FnOnce() -> T,
        note: impl FnOnce() -> String,
    ) -> Option<T> {
        // Data behind this crate's locks is consistent between any two statements.
        if let Ok(outcome) = catch_unwind(AssertUnwindSafe(work)) {
            return Some(outcome);
        }
        self.requests.panicked();
        let message = note();
        // A clock or hook of the program may be what panics.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.error(stage, "panic", || message);
        }));
        None
    }

    /// Like [`guarded`](Self::guarded), for a call of the program other than for a record.
    pub(crate) fn guarded_call<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        self.guarded("worker", work, || {
            "a call failed in the agent, which goes on; please report this".to_owned()
        })
    }

    pub(crate) fn warn(
        &self,
        stage: &'static str,
        topic: &'static str,
        message: impl FnOnce() -> String,
    ) {
        self.report(Level::Warning, stage, topic, message);
    }

    pub(crate) fn error(
        &self,
        stage: &'static str,
        topic: &'static str,
        message: impl FnOnce() -> String,
    ) {
        self.report(Level::Error, stage, topic, message);
    }

    pub(crate) fn report(
        &self,
        level: Level,
        stage: &'static str,
        topic: &'static str,
        message: impl FnOnce() -> String,
    ) {
        let now = self.clock().now();
        self.reporter
            .report(now, level, stage, topic, None, message);
    }

    /// Reports the outcome of a batch of this many records.
    pub(crate) fn report_batch(
        &self,
        level: Level,
        kind: Kind,
        topic: &'static str,
        batch_size: usize,
        message: impl FnOnce() -> String,
    ) {
        let (now, stage, size) = (self.clock().now(), flush_stage(kind), Some(batch_size));
        self.reporter
            .report(now, level, stage, topic, size, message);
    }
}

/// Redacts the key in an answer, because messages and the log quote answers and must not show it.
fn hide(key: &str, body: &mut Vec<u8>) {
    if let Ok(text) = std::str::from_utf8(body)
        && text.contains(key)
    {
        *body = text.replace(key, MARK).into_bytes();
    }
}

/// Guard for a batch that rests.
pub(crate) struct Resting<'s>(&'s Shared);

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.resting.fetch_sub(1, Ordering::Relaxed);
    }
}
