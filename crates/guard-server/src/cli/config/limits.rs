//! The options that limit what the server accepts.

use std::time::Duration;

use clap::Args;

use super::ConfigError;
use crate::http::Limits;
use crate::http::connections::ConnectionLimits;

/// Default of both body limits. Agents with a buffer of some ten thousand records send them as one
/// body of several megabytes. The oldest agents do not compress it, and encryption adds another
/// third.
const MAX_BODY_BYTES: u32 = 16 * 1024 * 1024;
/// Default of `--max-status-bytes`; reports of agents have a few thousand bytes.
const MAX_STATUS_BYTES: u32 = 64 * 1024;
/// Default of `--max-batch-records`: as many as an agent buffers by default.
const MAX_BATCH_RECORDS: u32 = 100_000;
/// Default of both limits on calls of the operator API: a hundred a second.
const MAX_CALLS: u32 = 6000;
/// Default of `--max-body-memory`.
const MAX_BODY_MEMORY: u32 = 256 * 1024 * 1024;
/// Default of `--max-connections`. An idle connection of an agent may be closed for another one.
const MAX_CONNECTIONS: u32 = 4096;
/// Default of `--max-connections-per-address`: room for many agents behind one address.
const MAX_CONNECTIONS_PER_ADDRESS: u32 = 1024;
/// Default of `--max-held-requests`: each agent holds one.
const MAX_HELD_REQUESTS: u32 = 8192;
/// The budget must have room for this many bodies of the maximum size.
const MEMORY_FACTOR: u32 = 4;
/// Default of `--max-tails`.
const MAX_TAILS: u32 = 256;
/// Default of `--max-tails-per-credential`.
const MAX_TAILS_PER_CREDENTIAL: u32 = 32;
/// Default of `--head-timeout`, in seconds.
const HEAD_TIMEOUT: u32 = 10;
/// Default of `--write-timeout`, in seconds.
const WRITE_TIMEOUT: u32 = 30;
/// Default of `--idle-timeout`, in seconds. It is longer than balancers keep their connections (60 s,
/// nginx 75 s), and than the pause of agents between two batches (30 s).
const IDLE_TIMEOUT: u32 = 90;

/// Limits on what the server accepts.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Largest body as sent, in bytes; larger ones get a 413.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_BODY_BYTES",
        default_value_t = MAX_BODY_BYTES,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1024..)
    )]
    pub max_body_bytes: u32,

    /// Largest body after decompression or decryption, in bytes; larger ones get a 413.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_DECODED_BYTES",
        default_value_t = MAX_BODY_BYTES,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1024..)
    )]
    pub max_decoded_bytes: u32,

    /// Largest status report, in bytes, both as sent and after decompression.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_STATUS_BYTES",
        default_value_t = MAX_STATUS_BYTES,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1024..)
    )]
    pub max_status_bytes: u32,

    /// Most records in a batch; a larger batch gets a 413.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_BATCH_RECORDS",
        default_value_t = MAX_BATCH_RECORDS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_batch_records: u32,

    /// Calls of the operator API in a minute with one token, session or key; more get a 429.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_CALLS_PER_CREDENTIAL",
        default_value_t = MAX_CALLS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_calls_per_credential: u32,

    /// Calls of the operator API in a minute from one address (IPv6: one /64); more get a 429.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_CALLS_PER_ADDRESS",
        default_value_t = MAX_CALLS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_calls_per_address: u32,

    /// Memory for all bodies of requests and answers, in bytes; at least four times the largest
    /// body. A body that does not fit waits, and gets a 503 after 5 s.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_BODY_MEMORY",
        default_value_t = MAX_BODY_MEMORY,
        value_name = "BYTES"
    )]
    pub max_body_memory: u32,

    /// Open connections, not counting those that wait for rules. When all are in use, idle
    /// connections and those of slow clients are closed for new ones.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_CONNECTIONS",
        default_value_t = MAX_CONNECTIONS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_connections: u32,

    /// Open connections from one address (IPv6: one /64), not counting those that wait for rules;
    /// more are refused. Loopback addresses and trusted proxies have no such limit; see
    /// --trusted-proxy.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_CONNECTIONS_PER_ADDRESS",
        default_value_t = MAX_CONNECTIONS_PER_ADDRESS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_connections_per_address: u32,

    /// Requests that may wait for rules at the same time, one per agent. Further requests are
    /// answered at once, and their agents ask again after a pause.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_HELD_REQUESTS",
        default_value_t = MAX_HELD_REQUESTS,
        value_name = "N"
    )]
    pub max_held_requests: u32,

    /// Live readers of events at the same time; more get a 429. Each takes a connection, and up to
    /// 1 MiB of memory while its client is slow.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_TAILS",
        default_value_t = MAX_TAILS,
        value_name = "N"
    )]
    pub max_tails: u32,

    /// Live readers with one token or session at the same time; more get a 429.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_TAILS_PER_CREDENTIAL",
        default_value_t = MAX_TAILS_PER_CREDENTIAL,
        value_name = "N"
    )]
    pub max_tails_per_credential: u32,

    /// Seconds that the head of a request may take to arrive; then the connection is closed.
    #[arg(
        long,
        env = "GUARD_SERVER_HEAD_TIMEOUT",
        default_value_t = HEAD_TIMEOUT,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub head_timeout: u32,

    /// Seconds that a client may be late in reading an answer, at 8 KiB per second; then the
    /// connection is closed.
    #[arg(
        long,
        env = "GUARD_SERVER_WRITE_TIMEOUT",
        default_value_t = WRITE_TIMEOUT,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub write_timeout: u32,

    /// Seconds for which a connection may wait for its next request. Make it longer than a proxy or
    /// balancer in front keeps its connections: otherwise that one sends a request into a connection
    /// that is just being closed, and answers with a 502.
    #[arg(
        long,
        env = "GUARD_SERVER_IDLE_TIMEOUT",
        default_value_t = IDLE_TIMEOUT,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub idle_timeout: u32,
}

impl LimitArgs {
    /// Checks that the budget has room for bodies of the maximum size.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let largest = self.max_body_bytes.max(self.max_decoded_bytes);
        let needed = largest.saturating_mul(MEMORY_FACTOR);
        if self.max_body_memory < needed {
            return Err(ConfigError::BodyMemory { needed });
        }
        Ok(())
    }

    /// The limits on bodies.
    pub(super) fn of_bodies(&self) -> Limits {
        Limits {
            encoded: self.max_body_bytes as usize,
            decoded: self.max_decoded_bytes as usize,
            status: self.max_status_bytes as usize,
            records: self.max_batch_records as usize,
            calls_per_credential: self.max_calls_per_credential,
            calls_per_address: self.max_calls_per_address,
            memory: self.max_body_memory as usize,
            tails: self.max_tails as usize,
            tails_per_credential: self.max_tails_per_credential as usize,
            ..Limits::default()
        }
    }

    /// The limits on connections.
    pub(super) fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            open: self.max_connections as usize,
            per_address: self.max_connections_per_address as usize,
            held: self.max_held_requests as usize,
            head_timeout: Duration::from_secs(self.head_timeout.into()),
            write_timeout: Duration::from_secs(self.write_timeout.into()),
            idle_timeout: Duration::from_secs(self.idle_timeout.into()),
            ..ConnectionLimits::default()
        }
    }
}
