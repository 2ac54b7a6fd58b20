//! Dynamic rules: the document that changes the policy of guards.
//!
//! Agents read it with [`DynamicRules::from_json`]. It refuses the whole document if a field is
//! invalid, and keeps unknown fields, because a backend may be newer than its agents. Backends
//! read documents that people wrote with [`DynamicRules::for_publishing`]. It also refuses
//! unknown fields and names, because they are mistakes.

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

/// The largest document that agents accept, in bytes of JSON.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The largest document that can be published: room for tens of thousands of addresses.
pub const MAX_PUBLISHED_BYTES: usize = 1024 * 1024;
/// How deep arrays and objects may be nested.
pub const MAX_DEPTH: usize = 16;
/// The longest regular expression, in characters.
pub const MAX_PATTERN: usize = 1000;

/// The highest version that a person may give a document: 2^52. A backend can count on from there
/// up to 2^53, the largest integer that every JSON reader reads exactly.
pub const MAX_VERSION: i64 = 1 << 52;

/// Why a document cannot be used.
#[derive(Debug, Error)]
pub enum RulesError {
    /// It is too long.
    #[error("rules of {len} bytes; give {limit} at most")]
    TooLarge {
        /// Number of bytes read.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Arrays and objects are nested too deep.
    #[error("rules nested deeper than {MAX_DEPTH} levels; give fewer")]
    TooDeep,
    /// It is not the JSON of a rules document.
    #[error("not a rules document: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A field has an invalid value.
    #[error("rules field `{field}`: {problem}")]
    Field {
        /// Path of the field, such as `endpoint_rate_limits./login[0]`.
        field: String,
        /// What is wrong, and what to give instead.
        problem: String,
    },
}

/// One version of the rules of a project. Every field has a default: `{}` is a document without
/// effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct DynamicRules {
    /// Identifies the document.
    pub rule_id: String,
    /// Increases with every change that has an effect. Guards ignore a version that is not
    /// higher than theirs.
    #[serde(deserialize_with = "lenient::integer")]
    pub version: i64,
    /// When this version was made, RFC 3339. Omitted if unknown: agents then use their own time.
    /// They refuse null.
    #[serde(
        deserialize_with = "lenient::time",
        skip_serializing_if = "Option::is_none"
    )]
    pub timestamp: Option<String>,
    /// When it expires, RFC 3339.
    #[serde(deserialize_with = "lenient::some_time")]
    pub expires_at: Option<String>,
    /// How long an agent may cache the document, in seconds.
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
    /// Blocks all clients except [`emergency_whitelist`](Self::emergency_whitelist).
    #[serde(deserialize_with = "lenient::switch")]
    pub emergency_mode: bool,
    /// Addresses that stay allowed in emergency mode.
    #[serde(deserialize_with = "lenient::networks")]
    pub emergency_whitelist: Vec<String>,
    /// Kept for completeness; guard-core 4.4 does not enforce it.
    #[serde(deserialize_with = "lenient::switch")]
    pub emergency_whitelist_only: bool,
    /// A message for people.
    pub message: Option<String>,
    /// Unknown fields.
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

    /// Reads and checks a document, and also returns its JSON for other readers: without a byte
    /// order mark, and with values in the form of the contract, such as 7 for `"version": "7"`.
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

    /// Reads and checks a document that a person wrote. In addition to the checks of
    /// [`from_json`](Self::from_json), all fields, countries and clouds must be known, all
    /// endpoints must be paths, the version must be 1 to [`MAX_VERSION`], and the document must
    /// have at most [`MAX_PUBLISHED_BYTES`].
    ///
    /// ```
    /// use guard_wire::rules::DynamicRules;
    ///
    /// let error = DynamicRules::for_publishing(br#"{"ip_blocklist": []}"#).unwrap_err();
    /// assert!(error.to_string().contains("`ip_blocklist`: unknown"));
    /// ```
    ///
    /// This does not check that Python accepts a regular expression and how long matching takes.
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

    /// Checks that all fields, countries and clouds are known, and that all endpoints are paths.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] for the first violation.
    pub fn check_names(&self) -> Result<(), RulesError> {
        check::names(self)
    }

    /// Checks the rules that the types do not express.
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

    /// Whether the document has expired at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.ends_at().is_some_and(|end| end <= now)
    }

    /// When the document expires, if ever.
    pub fn ends_at(&self) -> Option<Timestamp> {
        timestamp::parse(self.expires_at.as_deref()?)
    }
}

/// Adds the path of the field, if the JSON is well-formed.
fn located(error: serde_path_to_error::Error<serde_json::Error>) -> RulesError {
    let field = error.path().to_string();
    let inner = error.into_inner();
    if field == "." || inner.classify() != Category::Data {
        return RulesError::Malformed(inner);
    }
    let problem = inner.to_string();
    RulesError::Field { field, problem }
}
