//! Configuration: the user's settings ([`AgentBuilder`](crate::AgentBuilder)) and the
//! validated result ([`Config`]). Every default is one documented constant.

pub(crate) mod check;

use std::env;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use guard_wire::anonymize::Anonymize;
use guard_wire::encrypt::Encryptor;
use guard_wire::redact::Redactor;
use reqwest::Url;

use crate::clock::Clock;
use crate::defaults::*;
use crate::report::Hook;
use crate::store::OpenStore;
#[cfg(feature = "spool")]
use crate::store::SpoolFsync;
use crate::transport::Transport;

/// Called when the rules in force have changed.
pub(crate) type RulesHook = Arc<dyn Fn() + Send + Sync>;

/// What happens when the buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverflowPolicy {
    /// The oldest metric is dropped, or, with none left, the oldest event.
    #[default]
    Drop,
    /// The caller waits for room.
    Block,
    /// The caller gets an error.
    Raise,
}

/// Settings that need no conversion, shared by the builder and the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) project_id: Option<String>,
    pub(crate) buffer_size: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) high_watermark_ratio: f64,
    pub(crate) max_concurrent_flushes: usize,
    pub(crate) max_buffered: Option<usize>,
    pub(crate) max_buffer_bytes: usize,
    pub(crate) max_batch_bytes: usize,
    pub(crate) overflow_policy: OverflowPolicy,
    pub(crate) enable_events: bool,
    pub(crate) enable_metrics: bool,
    pub(crate) retry_attempts: u32,
    pub(crate) backoff_factor: f64,
    pub(crate) timeout: Duration,
    pub(crate) max_payload_size: usize,
    pub(crate) sensitive_headers: Vec<String>,
    pub(crate) anonymize: Anonymize,
    pub(crate) compression_enabled: bool,
    pub(crate) compression_threshold: usize,
    pub(crate) status_interval: Duration,
    pub(crate) dynamic_rule_interval: Duration,
    pub(crate) rules_cache_path: Option<PathBuf>,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) guard_version: Option<String>,
    pub(crate) guard_core_version: Option<String>,
    pub(crate) agent_version: String,
    pub(crate) install_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) spool_dir: Option<PathBuf>,
    pub(crate) spool_max_bytes: u64,
    #[cfg(feature = "spool")]
    pub(crate) spool_fsync: SpoolFsync,
    pub(crate) redis_max_bytes: u64,
}

/// The default name of an agent in this program.
pub fn default_name(program: &str) -> String {
    format!("{program}@{}", gethostname::gethostname().to_string_lossy())
}

impl Settings {
    /// The agent's name. By default it consists of the program and the host.
    pub(crate) fn agent_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let called = env::args_os().next().unwrap_or_default();
            let program = Path::new(&called).file_stem().unwrap_or_default();
            default_name(&program.to_string_lossy())
        })
    }

    /// Resolves relative paths now, because the process may change its working directory
    /// later. A daemon changes to the root directory.
    pub(crate) fn make_paths_absolute(&mut self) {
        for path in [&mut self.spool_dir, &mut self.rules_cache_path] {
            let absolute = path.as_deref().and_then(|path| path::absolute(path).ok());
            *path = absolute.or_else(|| path.take());
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            project_id: None,
            buffer_size: DEFAULT_BUFFER_SIZE,
            flush_interval: DEFAULT_FLUSH_INTERVAL,
            high_watermark_ratio: DEFAULT_HIGH_WATERMARK,
            max_concurrent_flushes: DEFAULT_CONCURRENT_FLUSHES,
            max_buffered: None,
            max_buffer_bytes: DEFAULT_MAX_BUFFER_BYTES,
            max_batch_bytes: DEFAULT_MAX_BATCH_BYTES,
            overflow_policy: OverflowPolicy::default(),
            enable_events: true,
            enable_metrics: true,
            retry_attempts: DEFAULT_RETRY_ATTEMPTS,
            backoff_factor: DEFAULT_BACKOFF_FACTOR,
            timeout: DEFAULT_TIMEOUT,
            max_payload_size: DEFAULT_MAX_PAYLOAD_SIZE,
            sensitive_headers: DEFAULT_SENSITIVE_HEADERS.map(str::to_owned).to_vec(),
            anonymize: Anonymize::None,
            compression_enabled: true,
            compression_threshold: DEFAULT_COMPRESSION_THRESHOLD,
            status_interval: DEFAULT_STATUS_INTERVAL,
            dynamic_rule_interval: DEFAULT_RULES_INTERVAL,
            rules_cache_path: None,
            shutdown_timeout: DEFAULT_SHUTDOWN_TIMEOUT,
            guard_version: None,
            guard_core_version: None,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            install_id: None,
            name: None,
            spool_dir: None,
            spool_max_bytes: DEFAULT_SPOOL_MAX_BYTES,
            #[cfg(feature = "spool")]
            spool_fsync: SpoolFsync::default(),
            redis_max_bytes: DEFAULT_REDIS_MAX_BYTES,
        }
    }
}

/// A validated configuration.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) api_key: String,
    pub(crate) endpoint: Url,
    pub(crate) encryptor: Option<Arc<Encryptor>>,
    pub(crate) signing_secret: Option<String>,
    pub(crate) redactor: Redactor,
    pub(crate) settings: Settings,
    pub(crate) hook: Option<Hook>,
    pub(crate) rules_hook: Option<RulesHook>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Option<Arc<dyn Transport>>,
    pub(crate) redis_url: Option<String>,
    pub(crate) store: Option<OpenStore>,
}

impl Config {
    /// Returns the first setting for the location of records that differs in `next`. `None`
    /// if nothing differs or no store is configured.
    pub(crate) fn changed_location(&self, next: &Self) -> Option<&'static str> {
        let (old, new) = (&self.settings, &next.settings);
        let on_disk = [("spool_dir", old.spool_dir != new.spool_dir)];
        let in_redis = [
            ("redis_url", self.redis_url != next.redis_url),
            ("project_id", old.project_id != new.project_id),
            (
                "redis_max_bytes",
                old.redis_max_bytes != new.redis_max_bytes,
            ),
        ];
        let fields = match (&self.redis_url, &old.spool_dir) {
            (Some(_), _) => in_redis.as_slice(),
            (None, Some(_)) => on_disk.as_slice(),
            (None, None) => &[],
        };
        let mut changed = fields.iter().filter(|(_, differs)| *differs);
        changed.next().map(|(field, _)| *field)
    }

    /// True if the rules come from the same project of the same backend.
    pub(crate) fn has_same_source(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.api_key == other.api_key
            && self.settings.project_id == other.settings.project_id
            && self.signing_secret == other.signing_secret
    }

    /// Number of queued records at which a send starts.
    pub(crate) fn watermark(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a count that fits, from 0 up"
        )]
        let share =
            (self.settings.buffer_size as f64 * self.settings.high_watermark_ratio) as usize;
        share.max(1)
    }

    /// The hard limit on records in memory.
    pub(crate) fn max_items(&self) -> usize {
        let settings = &self.settings;
        settings
            .max_buffered
            .unwrap_or(match settings.overflow_policy {
                OverflowPolicy::Drop => DEFAULT_MAX_BUFFERED,
                OverflowPolicy::Block | OverflowPolicy::Raise => settings.buffer_size,
            })
    }

    /// The hard limit on bytes in memory. Records in memory are also in the spool, so the
    /// spool must have room for more than that: to make room, it can only discard records
    /// that are not in memory.
    pub(crate) fn max_bytes(&self) -> usize {
        let settings = &self.settings;
        let half = match settings.spool_dir {
            Some(_) => usize::try_from(settings.spool_max_bytes / 2).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        settings.max_buffer_bytes.min(half)
    }
}
