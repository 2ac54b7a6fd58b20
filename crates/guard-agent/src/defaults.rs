//! Defaults and limits of the configuration, each defined once. The builder, its checks and
//! the Python package read them from here.

use std::time::Duration;

/// Endpoint of the hosted FastAPI Guard service.
pub const DEFAULT_ENDPOINT: &str = "https://api.fastapi-guard.com";
/// The shortest accepted API key.
pub const MIN_API_KEY: usize = 10;
/// Queued records at which a send is due.
pub const DEFAULT_BUFFER_SIZE: usize = 100;
/// Maximum time that a record waits before a send is due.
pub const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(30);
/// The share of the buffer size at which a send starts.
pub const DEFAULT_HIGH_WATERMARK: f64 = 0.8;
/// Maximum number of batches in flight.
pub const DEFAULT_CONCURRENT_FLUSHES: usize = 1;
/// The hard limit on records held in memory.
pub const DEFAULT_MAX_BUFFERED: usize = 100_000;
/// The hard limit on bytes held in memory.
pub const DEFAULT_MAX_BUFFER_BYTES: usize = 64 * 1024 * 1024;
/// The largest body of a batch, before compression.
pub const DEFAULT_MAX_BATCH_BYTES: usize = 262_144;
/// The smallest accepted `max_batch_bytes`.
pub const MIN_BATCH_BYTES: usize = 4096;
/// Resends in one round.
pub const DEFAULT_RETRY_ATTEMPTS: u32 = 3;
/// The first wait between attempts, in seconds.
pub const DEFAULT_BACKOFF_FACTOR: f64 = 1.0;
/// The limit on one request, from connecting to the end of the answer.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest text in a record, in bytes.
pub const DEFAULT_MAX_PAYLOAD_SIZE: usize = 1024;
/// Names whose values are redacted.
pub const DEFAULT_SENSITIVE_HEADERS: [&str; 3] = ["authorization", "cookie", "x-api-key"];
/// Bodies of at least this many bytes are compressed.
pub const DEFAULT_COMPRESSION_THRESHOLD: usize = 1024;
/// Time between status reports.
pub const DEFAULT_STATUS_INTERVAL: Duration = Duration::from_secs(300);
/// The smallest accepted time between status reports.
pub const MIN_STATUS_INTERVAL: Duration = Duration::from_secs(60);
/// Polling interval for rules, for a backend that does not hold requests.
pub const DEFAULT_RULES_INTERVAL: Duration = Duration::from_secs(300);
/// The smallest accepted polling interval.
pub const MIN_RULES_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum size of the spool on disk.
pub const DEFAULT_SPOOL_MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// The smallest accepted `spool_max_bytes`.
pub const MIN_SPOOL_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// A spool has room for at least this many bodies of `max_batch_bytes`.
pub const MIN_SPOOL_BATCHES: u64 = 8;
/// The largest accepted `max_batch_bytes` with a spool: a segment holds two bodies.
pub const MAX_SPOOL_BATCH_BYTES: usize = 32 * 1024 * 1024;
/// Maximum bytes of a project's records in Redis.
pub const DEFAULT_REDIS_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// The smallest accepted `redis_max_bytes`.
pub const MIN_REDIS_MAX_BYTES: u64 = 1024 * 1024;
/// Maximum time for stopping.
pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
