//! The builder: an agent's configuration, field by field.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use guard_wire::anonymize::Anonymize;
use guard_wire::redact::Redactor;

use crate::agent::Agent;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, OverflowPolicy, RulesHook, Settings, check};
use crate::defaults::DEFAULT_ENDPOINT;
#[cfg(feature = "redis")]
use crate::defaults::MIN_REDIS_MAX_BYTES;
use crate::error::ConfigError;
use crate::report::{Hook, Report};
#[cfg(feature = "spool")]
use crate::store::{DiskStore, SpoolFsync};
use crate::store::{OpenStore, Store, StoreError};
#[cfg(feature = "redis")]
use crate::store::{RedisOptions, RedisStore};
use crate::transport::Transport;

/// Builds an [`Agent`], field by field.
///
/// ```
/// use std::time::Duration;
/// use guard_agent::Agent;
///
/// let agent = Agent::builder("an-api-key-of-yours")
///     .endpoint("http://127.0.0.1:8400")
///     .project_id("shop")
///     .flush_interval(Duration::from_secs(5))
///     .build()?;
/// # Ok::<(), guard_agent::ConfigError>(())
/// ```
pub struct AgentBuilder {
    api_key: String,
    endpoint: String,
    encryption_key: Option<String>,
    signing_secret: Option<String>,
    redis_url: Option<String>,
    settings: Settings,
    hook: Option<Hook>,
    rules_hook: Option<RulesHook>,
    clock: Arc<dyn Clock>,
    transport: Option<Arc<dyn Transport>>,
    store: Option<OpenStore>,
}

/// One setter for each setting.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty $(=> $wrap:expr)?;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.settings.$name = setters!(@ $name $($wrap)?);
            self
        })*
    };
    (@ $name:ident) => { $name };
    (@ $name:ident $wrap:expr) => { $wrap($name.into()) };
}

impl Agent {
    /// Starts to configure an agent. Only the key is required.
    pub fn builder(api_key: impl Into<String>) -> AgentBuilder {
        AgentBuilder::new(api_key.into())
    }

    /// Applies another configuration. Records and statistics are kept. A running worker is
    /// replaced.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; the old configuration then stays in force.
    pub fn reconfigure(&self, builder: AgentBuilder) -> Result<(), ConfigError> {
        let config = builder.validate()?;
        if !self.may_wait() {
            return Err(ConfigError::OwnThread);
        }
        self.adopt(config);
        Ok(())
    }
}

impl AgentBuilder {
    pub(crate) fn new(api_key: String) -> Self {
        Self {
            api_key,
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            encryption_key: None,
            signing_secret: None,
            redis_url: None,
            settings: Settings::default(),
            hook: None,
            rules_hook: None,
            clock: Arc::new(SystemClock),
            transport: None,
            store: None,
        }
    }

    /// Address of the backend: http or https and a host. A trailing `/api/v1` is ignored.
    /// Default [`DEFAULT_ENDPOINT`].
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// Encrypts every batch: 32 bytes as URL-safe base64.
    #[must_use]
    pub fn project_encryption_key(mut self, key: impl Into<String>) -> Self {
        self.encryption_key = Some(key.into());
        self
    }

    /// Signs every batch, and checks the signature of rules.
    #[must_use]
    pub fn payload_signing_secret(mut self, secret: impl Into<String>) -> Self {
        self.signing_secret = Some(secret.into());
        self
    }

    #[cfg(feature = "redis")]
    /// Saves records in Redis until they are delivered, so that they outlive the
    /// process: `redis://user:password@host:port/database`, or `rediss://` for
    /// TLS. All processes of a project share them. See [`RedisOptions`], which
    /// [`store`](Self::store) takes for more than the URL.
    #[must_use]
    pub fn redis_url(mut self, url: impl Into<String>) -> Self {
        self.redis_url = Some(url.into());
        self
    }

    /// Receives the agent's reports instead of `tracing`. Called on any thread, including the
    /// caller's and the agent's own, so it must not block. It may call the agent. But on the
    /// agent's own threads nothing waits: [`Agent::flush`] and [`Agent::stop`] return false at
    /// once, [`Agent::close`] does nothing, and [`Agent::reconfigure`] returns an error.
    #[must_use]
    pub fn on_report(mut self, hook: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Called when other rules, or none, are in force; [`Agent::rules`] then returns them. Stays
    /// active after forks and [`Agent::reconfigure`], unlike
    /// [`RulesUpdates`](crate::rules::RulesUpdates). Called on the worker's thread, so it must
    /// not block. It may call the agent under the same limits as [`on_report`](Self::on_report).
    #[must_use]
    pub fn on_rules_changed(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.rules_hook = Some(Arc::new(hook));
        self
    }

    /// Uses another clock than the system's, for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Uses another transport than HTTP.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Saves records in your own store until they are delivered. `open` is called on the agent's
    /// journal thread, once in each process that sends, and again after a failure.
    #[must_use]
    pub fn store(
        mut self,
        open: impl Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync + 'static,
    ) -> Self {
        self.store = Some(Arc::new(open));
        self
    }

    setters! {
        /// The project that records belong to.
        project_id: impl Into<String> => Some;
        /// Queued records at which a send is due, and the hard limit under
        /// [`OverflowPolicy::Block`] and [`OverflowPolicy::Raise`].
        buffer_size: usize;
        /// Maximum time that a record waits before a send is due.
        flush_interval: Duration;
        /// The share of `buffer_size` at which a send starts, above 0 and up to 1.
        high_watermark_ratio: f64;
        /// Maximum number of batches in flight.
        max_concurrent_flushes: usize;
        /// The hard limit on records in memory. Default [`DEFAULT_MAX_BUFFERED`](crate::defaults::DEFAULT_MAX_BUFFERED)
        /// under [`OverflowPolicy::Drop`], else `buffer_size`.
        max_buffered: impl Into<usize> => Some;
        /// The hard limit on bytes in memory.
        max_buffer_bytes: usize;
        /// The largest body of a batch, in bytes before compression; at least
        /// [`MIN_BATCH_BYTES`](crate::defaults::MIN_BATCH_BYTES). A record that does not fit alone is lost, as `too_large`.
        max_batch_bytes: usize;
        /// What happens when the buffer is full.
        overflow_policy: OverflowPolicy;
        /// Whether events are accepted.
        enable_events: bool;
        /// Whether metrics are accepted.
        enable_metrics: bool;
        /// Resends in one round, after which a batch rests before the next.
        retry_attempts: u32;
        /// The first wait between attempts in seconds; doubles with each.
        backoff_factor: f64;
        /// The limit on one request, from connecting to the end of the answer.
        timeout: Duration;
        /// The longest text in a record, in bytes of UTF-8.
        max_payload_size: usize;
        /// Names whose values are redacted, in addition to
        /// `proxy-authorization` and `set-cookie`.
        sensitive_headers: Vec<String>;
        /// How much events reveal of the client's address.
        anonymize: Anonymize;
        /// Whether bodies are compressed.
        compression_enabled: bool;
        /// Bodies of at least this many bytes are compressed.
        compression_threshold: usize;
        /// Time between status reports; at least
        /// [`MIN_STATUS_INTERVAL`](crate::defaults::MIN_STATUS_INTERVAL).
        status_interval: Duration;
        /// Polling interval for rules, for a backend that does not hold requests until the rules
        /// change; at least [`MIN_RULES_INTERVAL`](crate::defaults::MIN_RULES_INTERVAL). A shorter
        /// time to live of the rules shortens it.
        dynamic_rule_interval: Duration;
        /// A file that stores the last good rules, for a start while the backend is unavailable.
        /// Without it they are kept in memory only. A relative path is resolved against the
        /// working directory at [`build`](Self::build).
        rules_cache_path: impl Into<PathBuf> => Some;
        /// Maximum time that [`Agent::stop`] may take.
        shutdown_timeout: Duration;
        /// The version of the guard in front of the agent.
        guard_version: impl Into<String> => Some;
        /// The version of guard-core.
        guard_core_version: impl Into<String> => Some;
        /// The agent version to report, for packages built on this crate.
        agent_version: impl Into<String> => std::convert::identity::<String>;
        /// The install id to use instead of the one stored on disk.
        install_id: impl Into<String> => Some;
        /// The agent's name in the backend, for people. The default is the program and the host,
        /// such as `shop@web-1`.
        name: impl Into<String> => Some;
        #[cfg(feature = "spool")]
        /// Saves records below this directory until they are delivered, so that they outlive the
        /// process. A missing directory is created, accessible only to this user. Several processes
        /// may share it, several projects must not. A relative path is resolved against the working
        /// directory at [`build`](Self::build).
        spool_dir: impl Into<PathBuf> => Some;
        #[cfg(feature = "spool")]
        /// Maximum size of the spool on disk, in bytes; at least
        /// [`MIN_SPOOL_MAX_BYTES`](crate::defaults::MIN_SPOOL_MAX_BYTES), and 8 times
        /// `max_batch_bytes`.
        spool_max_bytes: u64;
        #[cfg(feature = "spool")]
        /// When written records are synced, so that they survive a loss of power.
        spool_fsync: SpoolFsync;
        #[cfg(feature = "redis")]
        /// Maximum bytes of the project's records in Redis, of all processes together; at least
        /// [`MIN_REDIS_MAX_BYTES`].
        redis_max_bytes: u64;
    }

    /// Validates the configuration and creates the agent. It starts no thread: the worker starts
    /// with the first record.
    ///
    /// Queued records are delivered when the last [`Agent`] is dropped. An agent in a `static` is
    /// never dropped, and [`std::process::exit`] drops nothing. Queued records are lost then, unless
    /// you call [`Agent::close`] before or use [`Agent::close_on_drop`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first invalid field.
    pub fn build(self) -> Result<Agent, ConfigError> {
        Ok(Agent::new(self.validate()?))
    }

    pub(crate) fn validate(mut self) -> Result<Config, ConfigError> {
        check::settings(&self.settings)?;
        self.settings.make_paths_absolute();
        let store = self.store;
        #[cfg(feature = "redis")]
        let store = store.or(open_redis(self.redis_url.as_deref(), &self.settings)?);
        #[cfg(feature = "spool")]
        let store = store.or_else(|| open_disk(&self.settings, &self.clock));
        Ok(Config {
            api_key: check::key(self.api_key)?,
            endpoint: check::endpoint(&self.endpoint)?,
            encryptor: check::encryption(self.encryption_key.as_deref())?,
            signing_secret: check::signing_secret(self.signing_secret)?,
            redactor: Redactor::new(&self.settings.sensitive_headers),
            settings: self.settings,
            hook: self.hook,
            rules_hook: self.rules_hook,
            clock: self.clock,
            transport: self.transport,
            redis_url: self.redis_url,
            store,
        })
    }
}

impl fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder")
            .field("endpoint", &self.endpoint)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "spool")]
fn open_disk(settings: &Settings, clock: &Arc<dyn Clock>) -> Option<OpenStore> {
    let root = settings.spool_dir.clone()?;
    let (max_bytes, max_record) = (settings.spool_max_bytes, settings.max_batch_bytes);
    let (fsync, clock) = (settings.spool_fsync, Arc::clone(clock));
    Some(Arc::new(move || {
        let clock = Arc::clone(&clock);
        let store = DiskStore::open(&root, max_bytes, max_record, fsync, clock)?;
        Ok(Box::new(store))
    }))
}

#[cfg(feature = "redis")]
fn open_redis(url: Option<&str>, settings: &Settings) -> Result<Option<OpenStore>, ConfigError> {
    let Some(url) = url else {
        return Ok(None);
    };
    let max_bytes = settings.redis_max_bytes;
    ConfigError::reject_if(
        max_bytes < MIN_REDIS_MAX_BYTES,
        "redis_max_bytes",
        max_bytes,
        format!("give {MIN_REDIS_MAX_BYTES} or more"),
    )?;
    let mut options = RedisOptions::new(url)?.max_bytes(max_bytes);
    if let Some(project) = &settings.project_id {
        options = options.project(project);
    }
    ConfigError::reject_if(
        settings.spool_dir.is_some(),
        "redis_url",
        options.place(),
        "give redis_url or spool_dir, not both: records are saved in one place",
    )?;
    Ok(Some(Arc::new(move || {
        Ok(Box::new(RedisStore::open(options.clone())?))
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::{DEFAULT_MAX_BUFFER_BYTES, DEFAULT_MAX_BUFFERED};

    fn builder() -> AgentBuilder {
        AgentBuilder::new("a-valid-api-key".to_owned()).endpoint("http://127.0.0.1:1")
    }

    fn error(builder: AgentBuilder) -> String {
        builder.validate().err().expect("refused").to_string()
    }

    #[test]
    fn an_invalid_field_is_named_with_its_value_and_a_remedy() {
        let cases = [
            (builder().buffer_size(0), "buffer_size = 0: give 1 or more"),
            (
                builder().backoff_factor(-1.0),
                "backoff_factor = -1: give a number",
            ),
            (builder().backoff_factor(f64::NAN), "backoff_factor = NaN"),
            (
                builder().high_watermark_ratio(1.5),
                "high_watermark_ratio = 1.5: give a share",
            ),
            (
                builder().timeout(Duration::ZERO),
                "timeout = 0: give more than 0",
            ),
            (
                builder().dynamic_rule_interval(Duration::from_secs(59)),
                "dynamic_rule_interval = 59: give 60",
            ),
            (
                builder().status_interval(Duration::from_secs(59)),
                "status_interval = 59: give 60",
            ),
            (
                builder().max_batch_bytes(100),
                "max_batch_bytes = 100: give 4096 or more",
            ),
            (
                builder().endpoint("ftp://host"),
                "endpoint = \"ftp://host\": give a URL that starts",
            ),
            (
                builder().endpoint("nonsense"),
                "endpoint = \"nonsense\": give a URL such as",
            ),
            (builder().endpoint("http://h/?x=1"), "everything from ?"),
            (
                builder().spool_dir("spool").spool_max_bytes(5),
                "spool_max_bytes = 5: give 16777216 or more",
            ),
            (
                builder().spool_dir("spool").spool_max_bytes((16 << 20) - 1),
                "spool_max_bytes = 16777215: give 16777216 or more",
            ),
            (
                builder()
                    .spool_dir("spool")
                    .spool_max_bytes(32 << 20)
                    .max_batch_bytes((4 << 20) + 1),
                "spool_max_bytes = 33554432: give 16777216 or more, and at least 8 times",
            ),
            (
                builder().spool_dir("spool").max_batch_bytes(64 << 20),
                "max_batch_bytes = 67108864: give 33554432 or less",
            ),
            (
                builder().redis_url("http://u:open-sesame@h"),
                "redis_url: not such a URL; give redis://",
            ),
            (
                builder()
                    .redis_url("redis://:open-sesame@h")
                    .spool_dir("spool"),
                "redis_url = h:6379/0: give redis_url or spool_dir, not both",
            ),
            (
                builder().project_id("a\nb"),
                "project_id = \"a\\nb\": give printable",
            ),
            (
                builder().install_id("größe"),
                "install_id = \"größe\": give printable ASCII",
            ),
            (
                AgentBuilder::new("fg_kéy_0123456789".to_owned()),
                "api_key: not printable ASCII",
            ),
            (
                builder().project_encryption_key(""),
                "project_encryption_key: ",
            ),
            (
                builder().payload_signing_secret(""),
                "payload_signing_secret: empty; give the secret",
            ),
        ];
        for (builder, words) in cases {
            let message = error(builder);
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn secrets_are_neither_repeated_in_errors_nor_shown() {
        let short = AgentBuilder::new("s3cret".to_owned());
        let wrapped = AgentBuilder::new("s3cret\ns3cret-key".to_owned());
        let encrypted = builder().project_encryption_key("s3cret");
        let address = builder().endpoint("http://me:s3cret@host");
        let port = builder().endpoint("http://me:s3cret@host:99999");
        let scheme = builder().endpoint("ftp://me:s3cret@host");
        for builder in [short, wrapped, encrypted, address, port, scheme] {
            let message = error(builder);
            assert!(!message.contains("s3cret"), "{message}");
        }
        let builder = AgentBuilder::new("s3cret-api-key".to_owned())
            .project_encryption_key("s3cret")
            .payload_signing_secret("s3cret");
        assert!(!format!("{builder:?}").contains("s3cret"));
    }

    #[test]
    fn the_endpoint_is_reduced_to_the_base_of_the_api() {
        for (given, reduced) in [
            ("http://host:1/", "http://host:1/"),
            ("https://host/api/v1/", "https://host/"),
            ("https://host/guard/api/v1", "https://host/guard"),
        ] {
            let config = builder().endpoint(given).validate().expect("valid");
            assert_eq!(config.endpoint.as_str(), reduced);
        }
    }

    #[test]
    fn relative_paths_are_resolved_against_the_working_directory_at_build() {
        let paths = builder().spool_dir("spool").rules_cache_path("rules.json");
        let settings = paths.validate().expect("valid").settings;
        let here = std::env::current_dir().expect("a working directory");
        assert_eq!(settings.spool_dir, Some(here.join("spool")));
        assert_eq!(settings.rules_cache_path, Some(here.join("rules.json")));
    }

    #[test]
    fn memory_is_limited_to_half_of_the_spool_size() {
        let limit = |builder: AgentBuilder| builder.validate().expect("valid").max_bytes();
        let small = || builder().spool_max_bytes(32 << 20);
        assert_eq!(limit(small().spool_dir("/spool")), 16 << 20);
        assert_eq!(limit(small()), DEFAULT_MAX_BUFFER_BYTES);
        assert_eq!(
            limit(builder().spool_dir("/spool")),
            DEFAULT_MAX_BUFFER_BYTES
        );
    }

    #[test]
    fn the_hard_limit_on_records_follows_the_policy() {
        let limit = |builder: AgentBuilder| builder.validate().expect("valid").max_items();
        assert_eq!(limit(builder()), DEFAULT_MAX_BUFFERED);
        assert_eq!(limit(builder().overflow_policy(OverflowPolicy::Raise)), 100);
        assert_eq!(limit(builder().max_buffered(7_usize)), 7);
    }
}
