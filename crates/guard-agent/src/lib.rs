//! The agent: takes security events and metrics from an application, delivers
//! them to a Guard backend without slowing it or losing any, and brings back
//! dynamic rules.
//!
//! ```no_run
//! use guard_agent::{Agent, MetricType, SecurityEvent, SecurityMetric};
//!
//! let agent = Agent::builder("an-api-key-of-yours")
//!     .endpoint("http://127.0.0.1:8400")
//!     .build()?;
//! agent.send_event(&SecurityEvent::new("ip_banned").ip_address("192.0.2.7"))?;
//! agent.send_metric(&SecurityMetric::new(MetricType::RequestCount, 1.0))?;
//! agent.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The path of a record
//!
//! ```text
//! send_event, send_metric      agent.rs, intake.rs    caller's thread: copies the fields
//!   -> queue                   queue/, ledger.rs      bounded; counts before it enqueues
//!   -> pipeline                pipeline.rs            one thread, started on first use, per process
//!   -> batching                batching.rs            redact, truncate, encode once
//!   -> seal                    seal.rs                sign, encrypt, compress
//!   -> delivery                pipeline/, delivery/   classify -> backoff -> breaker; split, set aside
//!   -> ledger                  accepted = delivered + queued + spooled + dropped, always
//! beside it, with a store:
//!   -> journal                 journal/, queue/save_tracker.rs one thread; saves, forgets what is delivered
//!      and writer              journal/writer.rs      one thread, with a disk: appends, never waits for it
//! ```
//!
//! Without a store memory is all there is between acceptance and delivery: a
//! process that is killed loses what it had queued.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod agent;
mod batching;
mod builder;
mod clock;
mod compat;
mod config;
mod defaults;
mod delivery;
mod error;
mod fork;
pub mod install_id;
mod intake;
mod journal;
mod ledger;
mod pipeline;
mod process;
mod queue;
mod report;
mod request_stats;
mod rules;
mod seal;
mod shared;
mod stats;
mod status;
mod store;
mod sync;
mod threads;
mod transport;
mod worker;

pub use agent::{Agent, CloseOnDrop};
pub use builder::AgentBuilder;
pub use clock::{Clock, SystemClock};
pub use compat::{Buffer, DirectClient as Courier};
pub use config::OverflowPolicy;
pub use defaults::{
    DEFAULT_BACKOFF_FACTOR, DEFAULT_BUFFER_SIZE, DEFAULT_COMPRESSION_THRESHOLD,
    DEFAULT_CONCURRENT_FLUSHES, DEFAULT_ENDPOINT, DEFAULT_FLUSH_INTERVAL, DEFAULT_HIGH_WATERMARK,
    DEFAULT_MAX_BATCH_BYTES, DEFAULT_MAX_BUFFER_BYTES, DEFAULT_MAX_BUFFERED,
    DEFAULT_MAX_PAYLOAD_SIZE, DEFAULT_REDIS_MAX_BYTES, DEFAULT_RETRY_ATTEMPTS,
    DEFAULT_RULES_INTERVAL, DEFAULT_SENSITIVE_HEADERS, DEFAULT_SHUTDOWN_TIMEOUT,
    DEFAULT_SPOOL_MAX_BYTES, DEFAULT_STATUS_INTERVAL, DEFAULT_TIMEOUT, MIN_API_KEY,
    MIN_BATCH_BYTES, MIN_REDIS_MAX_BYTES, MIN_RULES_INTERVAL, MIN_SPOOL_MAX_BYTES,
};
pub use delivery::backoff::{JITTER, MAX_DELAY, MAX_RETRY_AFTER, MIN_RETRY_AFTER, REST};
pub use delivery::breaker::{FAILURE_THRESHOLD, RECOVERY, State as BreakerState};
pub use delivery::pace::CATCH_UP;
pub use error::{ConfigError, SendError};
#[doc(hidden)]
pub use fork::fork_generation;
pub use guard_wire::anonymize::Anonymize;
pub use guard_wire::status::{Health, LedgerReport};
pub use guard_wire::{Kind, MetricType, SecurityEvent, SecurityMetric, Value};
pub use journal::{RETRY_AFTER, SAVED_WITHIN};
pub use ledger::{Account, Ledger, LossReason};
pub use queue::RECORD_OVERHEAD;
pub use report::{Level, REPORT_INTERVAL, Report};
pub use request_stats::RequestStats;
pub use rules::{RETRY_INTERVAL, RULES_HOLD, RULES_PATIENCE, Rules, RulesUpdates};
pub use stats::Stats;
pub use status::{
    DEGRADED_FAILURES, DEGRADED_FILL, FAILED_FAILURES, FAILED_FILL, NEWS_DELAY, NEWS_JITTER,
};
pub use store::disk::{DiskStore, SpoolFsync};
pub use store::durability::DurabilityStats;
pub use store::keyvalue;
pub use store::redis::{
    REDIS_LEASE, REDIS_QUARANTINE, REDIS_RECORD_OVERHEAD, REDIS_TIMEOUT, RedisHealth, RedisOptions,
    RedisStore,
};
pub use store::{GATHER, LetGo, OpenStore, Store, StoreError, Stored, Usage};
pub use transport::proxy::proxy_for;
pub use transport::{MAX_RESPONSE, Request, Response, Transport, TransportError};
