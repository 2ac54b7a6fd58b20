//! Configuration: what users write ([`AgentBuilder`]) and what was validated
//! ([`Config`]). Every default is one documented constant.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use guard_wire::anonymize::Anonymize;
use guard_wire::encrypt::{Encryptor, KeyError};
use guard_wire::redact::Redactor;
use reqwest::Url;
use reqwest::header::HeaderValue;
use thiserror::Error;

use crate::agent::Agent;
use crate::clock::{Clock, SystemClock};
use crate::delivery::transport::Transport;
use crate::report::{Hook, Report};

/// Where the service that started all this answers.
pub const DEFAULT_ENDPOINT: &str = "https://api.fastapi-guard.com";
/// The shortest API key that is taken for one.
pub const MIN_API_KEY: usize = 10;
/// Queued records at which a send is due.
pub const DEFAULT_BUFFER_SIZE: usize = 100;
/// The longest a record waits before a send is due.
pub const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(30);
/// The share of the buffer size at which a send starts.
pub const DEFAULT_HIGH_WATERMARK: f64 = 0.8;
/// Batches in flight at once.
pub const DEFAULT_CONCURRENT_FLUSHES: usize = 1;
/// The hard limit on records held in memory.
pub const DEFAULT_MAX_BUFFERED: usize = 100_000;
/// The hard limit on bytes held in memory.
pub const DEFAULT_MAX_BUFFER_BYTES: usize = 64 * 1024 * 1024;
/// The largest body of a batch, before compression.
pub const DEFAULT_MAX_BATCH_BYTES: usize = 262_144;
/// The smallest `max_batch_bytes` that is taken.
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
/// Bodies from this many bytes up are compressed.
pub const DEFAULT_COMPRESSION_THRESHOLD: usize = 1024;
/// Time between status reports.
pub const DEFAULT_STATUS_INTERVAL: Duration = Duration::from_secs(300);
/// What stopping may take.
pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

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

/// A configuration that cannot be used. Names the field and says what to give;
/// secrets are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A field holds what it must not.
    #[error("{field} = {value}: {remedy}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What to give instead.
        remedy: &'static str,
    },
    /// A secret cannot be used.
    #[error("{field}: {remedy}")]
    Secret {
        /// The name of the field.
        field: &'static str,
        /// What to give instead.
        remedy: String,
    },
}

/// The fields that are taken as they are, shared by builder and configuration.
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
    pub(crate) shutdown_timeout: Duration,
    pub(crate) guard_version: Option<String>,
    pub(crate) guard_core_version: Option<String>,
    pub(crate) agent_version: String,
    pub(crate) install_id: Option<String>,
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
            shutdown_timeout: DEFAULT_SHUTDOWN_TIMEOUT,
            guard_version: None,
            guard_core_version: None,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            install_id: None,
        }
    }
}

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
    settings: Settings,
    hook: Option<Hook>,
    clock: Arc<dyn Clock>,
    transport: Option<Arc<dyn Transport>>,
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

impl AgentBuilder {
    pub(crate) fn new(api_key: String) -> Self {
        Self {
            api_key,
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            encryption_key: None,
            signing_secret: None,
            settings: Settings::default(),
            hook: None,
            clock: Arc::new(SystemClock),
            transport: None,
        }
    }

    /// Where the backend answers: http or https and a host; a trailing
    /// `/api/v1` is ignored. Default [`DEFAULT_ENDPOINT`].
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

    /// Hears what the agent has to say, instead of `tracing`. Called on any
    /// thread, also the caller's; must not block and must not call the agent.
    #[must_use]
    pub fn on_report(mut self, hook: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Another clock than the system's, for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Another transport than HTTP.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    setters! {
        /// The project that records belong to.
        project_id: impl Into<String> => Some;
        /// Queued records at which a send is due, and the hard limit under
        /// [`OverflowPolicy::Block`] and [`OverflowPolicy::Raise`].
        buffer_size: usize;
        /// The longest a record waits before a send is due.
        flush_interval: Duration;
        /// The share of `buffer_size` at which a send starts, above 0 and up to 1.
        high_watermark_ratio: f64;
        /// Batches in flight at once.
        max_concurrent_flushes: usize;
        /// The hard limit on records in memory. Default [`DEFAULT_MAX_BUFFERED`]
        /// under [`OverflowPolicy::Drop`], else `buffer_size`.
        max_buffered: impl Into<usize> => Some;
        /// The hard limit on bytes in memory.
        max_buffer_bytes: usize;
        /// The largest body of a batch, in bytes before compression; at least
        /// [`MIN_BATCH_BYTES`]. A record that does not fit alone is lost, as `too_large`.
        max_batch_bytes: usize;
        /// What happens when the buffer is full.
        overflow_policy: OverflowPolicy;
        /// Whether events are taken at all.
        enable_events: bool;
        /// Whether metrics are taken at all.
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
        /// What events say of the client's address.
        anonymize: Anonymize;
        /// Whether bodies are compressed.
        compression_enabled: bool;
        /// Bodies from this many bytes up are compressed.
        compression_threshold: usize;
        /// Time between status reports.
        status_interval: Duration;
        /// What [`Agent::stop`] may take.
        shutdown_timeout: Duration;
        /// The version of the guard in front of the agent.
        guard_version: impl Into<String> => Some;
        /// The version of guard-core.
        guard_core_version: impl Into<String> => Some;
        /// What the agent calls its version, for packages built on this crate.
        agent_version: impl Into<String> => std::convert::identity::<String>;
        /// Names this installation, instead of the identity kept on disk.
        install_id: impl Into<String> => Some;
    }

    /// Validates the configuration and makes the agent. Starts nothing: the
    /// worker starts with the first record.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first field that cannot be used.
    pub fn build(self) -> Result<Agent, ConfigError> {
        Ok(Agent::new(self.validate()?))
    }

    pub(crate) fn validate(self) -> Result<Config, ConfigError> {
        check_settings(&self.settings)?;
        Ok(Config {
            api_key: check_key(self.api_key)?,
            endpoint: check_endpoint(&self.endpoint)?,
            encryptor: check_encryption(self.encryption_key.as_deref())?,
            signing_secret: self.signing_secret.filter(|secret| !secret.is_empty()),
            redactor: Redactor::new(&self.settings.sensitive_headers),
            settings: self.settings,
            hook: self.hook,
            clock: self.clock,
            transport: self.transport,
        })
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
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Option<Arc<dyn Transport>>,
}

impl Config {
    /// Queued records at which a send starts.
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
}

impl fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder")
            .field("endpoint", &self.endpoint)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn check_settings(settings: &Settings) -> Result<(), ConfigError> {
    let one_or_more = [
        ("buffer_size", settings.buffer_size),
        ("max_concurrent_flushes", settings.max_concurrent_flushes),
        ("max_buffered", settings.max_buffered.unwrap_or(1)),
        ("max_buffer_bytes", settings.max_buffer_bytes),
    ];
    for (field, number) in one_or_more {
        reject(number == 0, field, number, "give 1 or more")?;
    }
    let above_zero = [
        ("flush_interval", settings.flush_interval),
        ("timeout", settings.timeout),
        ("status_interval", settings.status_interval),
    ];
    for (field, duration) in above_zero {
        reject(duration.is_zero(), field, 0, "give more than 0 seconds")?;
    }
    let bytes = settings.max_batch_bytes;
    reject(
        bytes < MIN_BATCH_BYTES,
        "max_batch_bytes",
        bytes,
        "give 4096 or more",
    )?;
    let factor = settings.backoff_factor;
    let is_positive = factor.is_finite() && factor > 0.0;
    reject(
        !is_positive,
        "backoff_factor",
        factor,
        "give a number of seconds above 0",
    )?;
    let ratio = settings.high_watermark_ratio;
    let is_share = ratio > 0.0 && ratio <= 1.0;
    reject(
        !is_share,
        "high_watermark_ratio",
        ratio,
        "give a share above 0 and up to 1",
    )?;
    for (field, text) in [
        ("project_id", &settings.project_id),
        ("install_id", &settings.install_id),
    ] {
        let text = text.as_deref().unwrap_or_default();
        let remedy = "give printable ASCII: it is sent as an HTTP header";
        reject(
            HeaderValue::from_str(text).is_err(),
            field,
            format!("{text:?}"),
            remedy,
        )?;
    }
    Ok(())
}

fn reject(
    is_wrong: bool,
    field: &'static str,
    value: impl ToString,
    remedy: &'static str,
) -> Result<(), ConfigError> {
    if is_wrong {
        let value = value.to_string();
        return Err(ConfigError::Field {
            field,
            value,
            remedy,
        });
    }
    Ok(())
}

fn check_key(api_key: String) -> Result<String, ConfigError> {
    let remedy = if api_key.chars().count() < MIN_API_KEY {
        format!("too short; give the project's key, {MIN_API_KEY} characters or more")
    } else if HeaderValue::from_str(&["Bearer ", &api_key].concat()).is_err() {
        "not printable ASCII; check that the whole key was copied, and nothing else".to_owned()
    } else {
        return Ok(api_key);
    };
    Err(ConfigError::Secret {
        field: "api_key",
        remedy,
    })
}

fn check_endpoint(endpoint: &str) -> Result<Url, ConfigError> {
    let fail = |remedy| ConfigError::Field {
        field: "endpoint",
        value: without_userinfo(endpoint),
        remedy,
    };
    let trimmed = endpoint.trim().trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/api/v1").unwrap_or(trimmed);
    let url = Url::parse(trimmed.trim_end_matches('/'))
        .map_err(|_| fail("give a URL such as https://guard.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(fail("give a URL that starts with http:// or https://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(fail("give a URL with a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::Secret {
            field: "endpoint",
            remedy: "leave user and password out of the URL; the API key is the credential".into(),
        });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(fail("leave everything from ? or # on out of the URL"));
    }
    Ok(url)
}

/// The endpoint as messages show it: a user and password in it are secrets,
/// whatever else is wrong with it.
fn without_userinfo(endpoint: &str) -> String {
    match endpoint.rsplit_once('@') {
        Some((_, rest)) => format!("{:?}", ["...@", rest].concat()),
        None => format!("{endpoint:?}"),
    }
}

fn check_encryption(key: Option<&str>) -> Result<Option<Arc<Encryptor>>, ConfigError> {
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    let encryptor = Encryptor::new(key).map_err(|error: KeyError| ConfigError::Secret {
        field: "project_encryption_key",
        remedy: error.to_string(),
    })?;
    Ok(Some(Arc::new(encryptor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> AgentBuilder {
        AgentBuilder::new("a-valid-api-key".to_owned()).endpoint("http://127.0.0.1:1")
    }

    fn error(builder: AgentBuilder) -> String {
        builder.validate().err().expect("refused").to_string()
    }

    #[test]
    fn a_wrong_field_is_named_with_its_value_and_a_remedy() {
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
                builder().project_id("a\nb"),
                "project_id = \"a\\nb\": give printable",
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
    fn the_endpoint_is_reduced_to_where_the_api_hangs() {
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
    fn the_hard_limit_on_records_follows_the_policy() {
        let limit = |builder: AgentBuilder| builder.validate().expect("valid").max_items();
        assert_eq!(limit(builder()), DEFAULT_MAX_BUFFERED);
        assert_eq!(limit(builder().overflow_policy(OverflowPolicy::Raise)), 100);
        assert_eq!(limit(builder().max_buffered(7_usize)), 7);
    }
}
