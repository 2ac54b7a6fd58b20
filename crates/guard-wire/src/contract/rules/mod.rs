//! Dynamic rules: the document that changes the guard's policy.
//!
//! Agents read it with [`DynamicRules::from_json`], which refuses a document as
//! a whole when one of its fields cannot be used, and keeps fields it does not
//! know: a backend may be newer than its agents. Backends read what people wrote
//! with [`DynamicRules::for_publishing`], which refuses unknown fields and names
//! too: they are mistakes.

mod check;
mod lenient;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::contract::answer::without_mark;
use crate::timestamp;

/// The largest document that agents take, in bytes of JSON.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The largest document that can be published: room for tens of thousands of addresses.
pub const MAX_PUBLISHED_BYTES: usize = 1024 * 1024;
/// How deep arrays and objects may stand in each other.
pub const MAX_DEPTH: usize = 16;
/// The longest regular expression, in characters.
pub const MAX_PATTERN: usize = 1000;

/// The highest version of a document that somebody wrote: 2^52. It leaves a backend that counts on
/// from there as many versions up to 2^53, the largest number that every reader of JSON takes as
/// it is.
pub const MAX_VERSION: i64 = 1 << 52;

/// Why a document cannot be used.
#[derive(Debug, Error)]
pub enum RulesError {
    /// It is longer than a document may be.
    #[error("rules of {len} bytes; give {limit} at most")]
    TooLarge {
        /// Its bytes, as far as they were read.
        len: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Arrays and objects stand too deep in each other.
    #[error("rules nested deeper than {MAX_DEPTH} levels; give fewer")]
    TooDeep,
    /// It is not the JSON of a rules document.
    #[error("not a rules document: {0}")]
    Malformed(#[from] serde_json::Error),
    /// One field holds what it must not.
    #[error("rules field `{field}`: {problem}")]
    Field {
        /// Where it stands, such as `endpoint_rate_limits./login[0]`.
        field: String,
        /// What is wrong with it, and what to give instead.
        problem: String,
    },
}

/// The rules of one project at one version. Every field has a default, so that
/// `{}` is a document without effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DynamicRules {
    /// Which document this is.
    pub rule_id: String,
    /// Rises with every effective change; guards ignore anything not above.
    #[serde(deserialize_with = "lenient::integer")]
    pub version: i64,
    /// When this version was made, RFC 3339. Left out when it is unknown: agents take the time of
    /// their own then, and refuse a null.
    #[serde(
        deserialize_with = "lenient::time",
        skip_serializing_if = "Option::is_none"
    )]
    pub timestamp: Option<String>,
    /// When it ends, RFC 3339.
    #[serde(deserialize_with = "lenient::some_time")]
    pub expires_at: Option<String>,
    /// How long an agent may answer from memory, in seconds.
    #[serde(deserialize_with = "lenient::integer")]
    pub ttl: i64,
    /// Addresses and CIDR blocks to ban, each for [`ip_ban_duration`](Self::ip_ban_duration).
    #[serde(deserialize_with = "lenient::networks")]
    pub ip_blacklist: Vec<String>,
    /// Addresses to unban.
    #[serde(deserialize_with = "lenient::networks")]
    pub ip_whitelist: Vec<String>,
    /// Seconds.
    #[serde(deserialize_with = "lenient::integer")]
    pub ip_ban_duration: i64,
    /// ISO 3166-1 alpha-2.
    pub blocked_countries: Vec<String>,
    /// ISO 3166-1 alpha-2.
    pub whitelist_countries: Vec<String>,
    /// Requests per window and client.
    #[serde(deserialize_with = "lenient::some_integer")]
    pub global_rate_limit: Option<i64>,
    /// Seconds.
    #[serde(deserialize_with = "lenient::some_integer")]
    pub global_rate_window: Option<i64>,
    /// Requests and seconds, by path.
    #[serde(deserialize_with = "lenient::limits")]
    pub endpoint_rate_limits: BTreeMap<String, (i64, i64)>,
    /// AWS, GCP, Azure, DigitalOcean, Linode or Vultr.
    pub blocked_cloud_providers: Vec<String>,
    /// Regular expressions.
    pub blocked_user_agents: Vec<String>,
    /// Regular expressions.
    pub suspicious_patterns: Vec<String>,
    /// Overrides the guard's own switch.
    #[serde(deserialize_with = "lenient::some_switch")]
    pub enable_penetration_detection: Option<bool>,
    /// Overrides the guard's own switch.
    #[serde(deserialize_with = "lenient::some_switch")]
    pub enable_ip_banning: Option<bool>,
    /// Overrides the guard's own switch.
    #[serde(deserialize_with = "lenient::some_switch")]
    pub enable_rate_limiting: Option<bool>,
    /// At least 1: zero makes guards refuse the document.
    #[serde(deserialize_with = "lenient::some_integer")]
    pub auto_ban_threshold: Option<i64>,
    /// Seconds, at least 1.
    #[serde(deserialize_with = "lenient::some_integer")]
    pub auto_ban_duration: Option<i64>,
    /// Overrides the guard's own switch.
    #[serde(deserialize_with = "lenient::some_switch")]
    pub enable_rate_limit_auto_ban: Option<bool>,
    /// Only [`emergency_whitelist`](Self::emergency_whitelist) is let in.
    #[serde(deserialize_with = "lenient::switch")]
    pub emergency_mode: bool,
    /// Addresses let in while in emergency mode.
    #[serde(deserialize_with = "lenient::networks")]
    pub emergency_whitelist: Vec<String>,
    /// Kept for completeness; guard-core 4.4 does not enforce it.
    #[serde(deserialize_with = "lenient::switch")]
    pub emergency_whitelist_only: bool,
    /// For people.
    pub message: Option<String>,
    /// Whatever else the document holds.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for DynamicRules {
    fn default() -> Self {
        Self {
            rule_id: "default-rule".to_owned(),
            version: 1,
            timestamp: None,
            expires_at: None,
            ttl: 300,
            ip_blacklist: Vec::new(),
            ip_whitelist: Vec::new(),
            ip_ban_duration: 3600,
            blocked_countries: Vec::new(),
            whitelist_countries: Vec::new(),
            global_rate_limit: None,
            global_rate_window: None,
            endpoint_rate_limits: BTreeMap::new(),
            blocked_cloud_providers: Vec::new(),
            blocked_user_agents: Vec::new(),
            suspicious_patterns: Vec::new(),
            enable_penetration_detection: None,
            enable_ip_banning: None,
            enable_rate_limiting: None,
            auto_ban_threshold: None,
            auto_ban_duration: None,
            enable_rate_limit_auto_ban: None,
            emergency_mode: false,
            emergency_whitelist: Vec::new(),
            emergency_whitelist_only: false,
            message: None,
            other: Map::new(),
        }
    }
}

impl DynamicRules {
    /// Reads and checks a document.
    ///
    /// ```
    /// use guard_wire::rules::DynamicRules;
    ///
    /// let rules = DynamicRules::from_json(br#"{"version": 3, "ip_blacklist": ["192.0.2.7"]}"#).unwrap();
    /// assert_eq!(rules.version, 3);
    /// let error = DynamicRules::from_json(br#"{"auto_ban_threshold": 0}"#).unwrap_err();
    /// assert!(error.to_string().contains("auto_ban_threshold"));
    /// ```
    ///
    /// # Errors
    ///
    /// [`RulesError`] naming the field that is wrong.
    pub fn from_json(body: &[u8]) -> Result<Self, RulesError> {
        let body = without_mark(body);
        check::size(body, MAX_BYTES)?;
        if check::is_too_deep(body) {
            return Err(RulesError::TooDeep);
        }
        let mut reader = serde_json::Deserializer::from_slice(body);
        let rules: Self = serde_path_to_error::deserialize(&mut reader).map_err(located)?;
        reader.end()?;
        rules.validate()?;
        Ok(rules)
    }

    /// Reads and checks a document, and gives its JSON for other readers too: as it came, but
    /// without a byte order mark, and with values that were written in another way, such as
    /// `"version": "7"`, as the contract has them.
    ///
    /// ```
    /// use guard_wire::rules::DynamicRules;
    ///
    /// let (rules, json) = DynamicRules::with_json(br#"{"version": "7", "new": 1.0}"#).unwrap();
    /// assert_eq!((rules.version, json.as_str()), (7, r#"{"version":7,"new":1.0}"#));
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    pub fn with_json(body: &[u8]) -> Result<(Self, String), RulesError> {
        let rules = Self::from_json(body)?;
        let sent: Map<String, Value> = serde_json::from_slice(without_mark(body))?;
        let mut plain = match serde_json::to_value(&rules)? {
            Value::Object(plain) => plain,
            _ => Map::new(),
        };
        let mut is_plain = true;
        let fields = sent.into_iter().map(|(name, value)| {
            let known = plain.remove(&name).unwrap_or(Value::Null);
            is_plain &= known == value;
            (name, known)
        });
        let fields: Map<String, Value> = fields.collect();
        let json = match std::str::from_utf8(without_mark(body)) {
            Ok(text) if is_plain => text.to_owned(),
            _ => Value::Object(fields).to_string(),
        };
        Ok((rules, json))
    }

    /// Reads and checks a document that somebody wrote to be published: beyond
    /// what [`from_json`](Self::from_json) checks, every field, country and cloud
    /// must be known, every endpoint be a path, the version be 1 to [`MAX_VERSION`], and the
    /// whole be no longer than [`MAX_PUBLISHED_BYTES`].
    ///
    /// ```
    /// use guard_wire::rules::DynamicRules;
    ///
    /// let error = DynamicRules::for_publishing(br#"{"ip_blocklist": []}"#).unwrap_err();
    /// assert!(error.to_string().contains("`ip_blocklist`: unknown"));
    /// ```
    ///
    /// Whether a regular expression is one that Python takes, and in which time,
    /// is not checked here.
    ///
    /// # Errors
    ///
    /// [`RulesError`] naming the field that is wrong.
    pub fn for_publishing(body: &[u8]) -> Result<Self, RulesError> {
        check::size(body, MAX_PUBLISHED_BYTES)?;
        let rules = Self::from_json(body)?;
        check::version(&rules)?;
        rules.check_names()?;
        Ok(rules)
    }

    /// Checks that every field, country and cloud is known, and every endpoint a path.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] for the first one that is not.
    pub fn check_names(&self) -> Result<(), RulesError> {
        check::names(self)
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] for the first field that is wrong.
    pub fn validate(&self) -> Result<(), RulesError> {
        check::values(self)
    }

    /// The names of fields that are not part of the contract.
    pub fn unknown_fields(&self) -> impl Iterator<Item = &str> {
        self.other.keys().map(String::as_str)
    }

    /// Whether the document has ended at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.ends_at().is_some_and(|end| end <= now)
    }

    /// When the document ends, if ever.
    pub fn ends_at(&self) -> Option<Timestamp> {
        timestamp::parse(self.expires_at.as_deref()?)
    }
}

/// Names the field when the JSON itself is sound.
fn located(error: serde_path_to_error::Error<serde_json::Error>) -> RulesError {
    let field = error.path().to_string();
    let inner = error.into_inner();
    if field == "." || inner.classify() != Category::Data {
        return RulesError::Malformed(inner);
    }
    let problem = inner.to_string();
    RulesError::Field { field, problem }
}
