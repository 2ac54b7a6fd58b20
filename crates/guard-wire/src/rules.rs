//! Dynamic rules: the document that changes the guard's policy.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::timestamp;

/// Why a document cannot be used.
#[derive(Debug, Error)]
pub enum RulesError {
    /// It is not the JSON of a rules document.
    #[error("not a rules document: {0}")]
    Malformed(#[from] serde_json::Error),
    /// One field holds what it must not.
    #[error("rules field `{field}`: {problem}")]
    Field {
        /// The name of the field.
        field: &'static str,
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
    pub version: i64,
    /// When this version was made, RFC 3339. Left out when it is unknown: agents take the time of
    /// their own then, and refuse a null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// When it ends, RFC 3339.
    pub expires_at: Option<String>,
    /// How long an agent may answer from memory, in seconds.
    pub ttl: i64,
    /// Addresses and CIDR blocks to ban, each for [`ip_ban_duration`](Self::ip_ban_duration).
    pub ip_blacklist: Vec<String>,
    /// Addresses to unban.
    pub ip_whitelist: Vec<String>,
    /// Seconds.
    pub ip_ban_duration: i64,
    /// ISO 3166-1 alpha-2.
    pub blocked_countries: Vec<String>,
    /// ISO 3166-1 alpha-2.
    pub whitelist_countries: Vec<String>,
    /// Requests per window and client.
    pub global_rate_limit: Option<i64>,
    /// Seconds.
    pub global_rate_window: Option<i64>,
    /// Requests and seconds, by path.
    pub endpoint_rate_limits: BTreeMap<String, (i64, i64)>,
    /// AWS, GCP, Azure, DigitalOcean, Linode or Vultr.
    pub blocked_cloud_providers: Vec<String>,
    /// Regular expressions.
    pub blocked_user_agents: Vec<String>,
    /// Regular expressions.
    pub suspicious_patterns: Vec<String>,
    /// Overrides the guard's own switch.
    pub enable_penetration_detection: Option<bool>,
    /// Overrides the guard's own switch.
    pub enable_ip_banning: Option<bool>,
    /// Overrides the guard's own switch.
    pub enable_rate_limiting: Option<bool>,
    /// At least 1: zero makes guards refuse the document.
    pub auto_ban_threshold: Option<i64>,
    /// Seconds, at least 1.
    pub auto_ban_duration: Option<i64>,
    /// Overrides the guard's own switch.
    pub enable_rate_limit_auto_ban: Option<bool>,
    /// Only [`emergency_whitelist`](Self::emergency_whitelist) is let in.
    pub emergency_mode: bool,
    /// Addresses let in while in emergency mode.
    pub emergency_whitelist: Vec<String>,
    /// Kept for completeness; guard-core 4.4 does not enforce it.
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
        let rules: Self = serde_json::from_slice(body)?;
        rules.validate()?;
        Ok(rules)
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] for the first field that is wrong.
    pub fn validate(&self) -> Result<(), RulesError> {
        at_least_one("ttl", Some(self.ttl))?;
        at_least_one("ip_ban_duration", Some(self.ip_ban_duration))?;
        at_least_one("global_rate_limit", self.global_rate_limit)?;
        at_least_one("global_rate_window", self.global_rate_window)?;
        at_least_one("auto_ban_threshold", self.auto_ban_threshold)?;
        at_least_one("auto_ban_duration", self.auto_ban_duration)?;
        for (requests, window) in self.endpoint_rate_limits.values() {
            at_least_one("endpoint_rate_limits", Some(*requests))?;
            at_least_one("endpoint_rate_limits", Some(*window))?;
        }
        for (field, text) in [
            ("timestamp", &self.timestamp),
            ("expires_at", &self.expires_at),
        ] {
            if text
                .as_deref()
                .is_some_and(|at| timestamp::parse(at).is_none())
            {
                return Err(RulesError::Field {
                    field,
                    problem: "not a timestamp; give RFC 3339, such as 2026-11-22T14:28:58Z".into(),
                });
            }
        }
        Ok(())
    }

    /// Whether the document has ended at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at
            .as_deref()
            .and_then(timestamp::parse)
            .is_some_and(|end| end <= now)
    }
}

fn at_least_one(field: &'static str, value: Option<i64>) -> Result<(), RulesError> {
    match value {
        Some(number) if number < 1 => Err(RulesError::Field {
            field,
            problem: format!("{number} is too small; give 1 or more"),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_a_timestamp_is_sent_without_one() {
        let rules = DynamicRules::from_json(br#"{"version": 2}"#).unwrap();
        let sent = serde_json::to_value(&rules).unwrap();
        assert!(!sent.as_object().unwrap().contains_key("timestamp"));
    }
}
