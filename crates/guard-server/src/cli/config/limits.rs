//! The options that bound how much the server takes at a time.

use std::time::Duration;

use clap::Args;

use super::ConfigError;
use crate::http::Limits;
use crate::http::connections::ConnectionLimits;

/// Default of both limits of bodies. Agents whose buffer was set to some ten
/// thousand records send them as one body of several megabytes, the oldest of
/// them uncompressed; one encrypted is a third larger still.
const MAX_BODY_BYTES: u32 = 16 * 1024 * 1024;
/// Default of `--max-status-bytes`; those of agents have a few thousand.
const MAX_STATUS_BYTES: u32 = 64 * 1024;
/// Default of `--max-batch-records`: all that an agent holds by default.
const MAX_BATCH_RECORDS: u32 = 100_000;
/// Default of `--max-body-memory`.
const MAX_BODY_MEMORY: u32 = 256 * 1024 * 1024;
/// Default of `--max-connections`: agents send on a connection that is closed for
/// another one while it is idle.
const MAX_CONNECTIONS: u32 = 4096;
/// Default of `--max-connections-per-address`: room for many agents behind one address.
const MAX_CONNECTIONS_PER_ADDRESS: u32 = 1024;
/// Default of `--max-held-requests`: each agent has one.
const MAX_HELD_REQUESTS: u32 = 8192;
/// The budget must have room for this many of the largest bodies.
const MEMORY_FACTOR: u32 = 4;
/// Default of `--head-timeout`, in seconds.
const HEAD_TIMEOUT: u32 = 10;
/// Default of `--write-timeout`, in seconds.
const WRITE_TIMEOUT: u32 = 30;

/// How much the server takes at a time.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Largest body as it is sent, in bytes; larger ones are answered 413.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_BODY_BYTES",
        default_value_t = MAX_BODY_BYTES,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1024..)
    )]
    pub max_body_bytes: u32,

    /// Largest body after inflating or decrypting, in bytes; larger ones are
    /// answered 413.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_DECODED_BYTES",
        default_value_t = MAX_BODY_BYTES,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1024..)
    )]
    pub max_decoded_bytes: u32,

    /// Largest status report, in bytes, as it is sent and after inflating.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_STATUS_BYTES",
        default_value_t = MAX_STATUS_BYTES,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1024..)
    )]
    pub max_status_bytes: u32,

    /// Records of a batch; one with more is answered 413.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_BATCH_RECORDS",
        default_value_t = MAX_BATCH_RECORDS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_batch_records: u32,

    /// Bytes of all bodies of requests and answers in memory; what does not fit
    /// waits, and is answered 503 after 5 s. At least four times the largest body.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_BODY_MEMORY",
        default_value_t = MAX_BODY_MEMORY,
        value_name = "BYTES"
    )]
    pub max_body_memory: u32,

    /// Connections at a time, without those that wait for rules. When all are in
    /// use, idle ones and those of slow clients are closed for new ones.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_CONNECTIONS",
        default_value_t = MAX_CONNECTIONS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_connections: u32,

    /// Connections at a time from one address (IPv6: one /64), without those that
    /// wait for rules; more are refused. Does not count for loopback addresses.
    /// Behind a proxy on another machine give as many as for --max-connections.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_CONNECTIONS_PER_ADDRESS",
        default_value_t = MAX_CONNECTIONS_PER_ADDRESS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_connections_per_address: u32,

    /// Requests at a time that wait for rules, one for each agent; more are
    /// answered at once, and their agents ask again after a pause.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_HELD_REQUESTS",
        default_value_t = MAX_HELD_REQUESTS,
        value_name = "N"
    )]
    pub max_held_requests: u32,

    /// Seconds for the head of a request to arrive; then the connection is closed.
    #[arg(
        long,
        env = "GUARD_SERVER_HEAD_TIMEOUT",
        default_value_t = HEAD_TIMEOUT,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub head_timeout: u32,

    /// Seconds that a client may be late in reading an answer, at 8 KiB a second;
    /// then the connection is closed.
    #[arg(
        long,
        env = "GUARD_SERVER_WRITE_TIMEOUT",
        default_value_t = WRITE_TIMEOUT,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub write_timeout: u32,
}

impl LimitArgs {
    /// Whether the budget has room for a body as large as may be.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let largest = self.max_body_bytes.max(self.max_decoded_bytes);
        let needed = largest.saturating_mul(MEMORY_FACTOR);
        if self.max_body_memory < needed {
            return Err(ConfigError::BodyMemory { needed });
        }
        Ok(())
    }

    /// The limits of bodies.
    pub(super) fn of_bodies(&self) -> Limits {
        Limits {
            encoded: self.max_body_bytes as usize,
            decoded: self.max_decoded_bytes as usize,
            status: self.max_status_bytes as usize,
            records: self.max_batch_records as usize,
            memory: self.max_body_memory as usize,
            ..Limits::default()
        }
    }

    /// The limits of connections.
    pub(super) fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            open: self.max_connections as usize,
            per_address: self.max_connections_per_address as usize,
            held: self.max_held_requests as usize,
            head_timeout: Duration::from_secs(self.head_timeout.into()),
            write_timeout: Duration::from_secs(self.write_timeout.into()),
        }
    }
}
