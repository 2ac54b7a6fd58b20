//! The agent: it takes security events and metrics from an application and delivers them to a
//! Guard backend, without slowing the application and without losing records. It also brings
//! back dynamic rules.
//!
//! ```no_run
//! use guard_agent::{Agent, MetricType, SecurityEvent, SecurityMetric};
//!
//! let agent = Agent::builder("an-api-key-of-yours")
//!     .endpoint("http://127.0.0.1:8400")
//!     .build()?;
//! agent.send_event(&SecurityEvent::new("ip_banned").ip_address("192.0.2.7"))?;
//! agent.send_metric(&SecurityMetric::new(MetricType::RequestCount, 1.0))?;
//! if !agent.stop() {
//!     eprintln!("not everything was delivered; the log says why");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The agent reports problems through [`tracing`], or to the hook that you give to
//! [`AgentBuilder::on_report`].
//!
//! # Features
//!
//! Both are off by default and only add to the crate.
//!
//! | feature | what it adds |
//! |---|---|
//! | `spool` | `AgentBuilder::spool_dir` and `store::DiskStore`: records are saved on disk until they are delivered |
//! | `redis` | `AgentBuilder::redis_url` and `store::RedisStore`: records are saved in Redis until they are delivered |
//!
//! Without a store, records are in memory only: a process that is killed loses its queue.
//!
//! # The path of a record
//!
//! ```text
//! send_event, send_metric      agent.rs, intake.rs    the caller's thread copies the fields
//!   -> queue                   queue/, ledger.rs      bounded; counts before it enqueues
//!   -> pipeline                worker.rs, pipeline/   one thread per process, started on first use
//!   -> batching                batching.rs            redact, truncate, encode once
//!   -> seal                    seal.rs                sign, encrypt, compress
//!   -> delivery                delivery/, transport/  classify -> backoff -> breaker; split, set aside
//!   -> ledger                  accepted = delivered + queued + spooled + dropped, always
//! with a store, beside it:
//!   -> journal                 journal/, store/       one thread; saves, and removes what is delivered
//!      and writer              journal/writer.rs      one thread, for a disk; only appends
//! ```
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod agent;
mod batching;
mod builder;
pub mod clock;
pub mod compat;
mod config;
pub mod defaults;
mod delivery;
mod descriptors;
mod error;
mod fork;
pub mod install_id;
mod intake;
mod journal;
mod ledger;
pub mod limits;
mod pipeline;
mod process;
mod queue;
pub mod report;
mod request_stats;
pub mod rules;
mod seal;
mod shared;
pub mod stats;
mod status;
pub mod store;
mod sync;
mod tenure;
mod threads;
pub mod transport;
mod worker;

pub use agent::{Agent, CloseOnDrop};
pub use builder::AgentBuilder;
pub use config::OverflowPolicy;
#[doc(hidden)]
pub use config::default_name;
#[doc(hidden)]
pub use descriptors::{Kept, losses};
pub use error::{ConfigError, SendError};
#[doc(hidden)]
pub use fork::fork_generation;
pub use guard_wire::anonymize::Anonymize;
pub use guard_wire::status::Health;
pub use guard_wire::{Kind, MetricType, SecurityEvent, SecurityMetric, Value};
pub use stats::Stats;
