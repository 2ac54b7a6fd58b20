//! The settings of a project, and changes to them.

use guard_wire::encrypt::{Encryptor, KeyError};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::{Project, ProjectSettings};
use crate::network::Network;
use crate::secret::Secret;

/// Default of `retention_days`.
const RETENTION_DAYS: u32 = 90;
/// Default of `raw_metrics_hours`.
const RAW_METRICS_HOURS: u32 = 24;
/// The longest retention: ten years.
const MAX_DAYS: u32 = 3660;
/// The smallest `retention_bytes`. Less would not hold one large batch.
const MIN_BYTES: u64 = 16 << 20;
/// The largest `retention_bytes`: a pebibyte.
const MAX_BYTES: u64 = 1 << 50;
/// The largest `quota_per_minute`.
const MAX_QUOTA: u32 = 1_000_000_000;
/// The most entries of `ip_allowlist`.
const MAX_NETWORKS: usize = 1000;
/// The longest signing secret, in bytes.
const MAX_SECRET: usize = 1024;

/// The settings of a project. None of them is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(default)]
pub struct Settings {
    /// Days that records are kept.
    #[schema(required = true)]
    pub retention_days: u32,
    /// Bytes of records that are kept; the oldest are removed first. Null for no such limit.
    #[schema(required = true)]
    pub retention_bytes: Option<u64>,
    /// Hours that single metrics are kept. Their sums are kept like events.
    #[schema(required = true)]
    pub raw_metrics_hours: u32,
    /// Whether batches must be encrypted.
    #[schema(required = true)]
    pub require_encryption: bool,
    /// Whether requests must be signed. If not, a signature is still checked if there is one.
    #[schema(required = true)]
    pub require_signature: bool,
    /// The addresses that may use the project's keys. All if it is empty.
    #[schema(required = true)]
    pub ip_allowlist: Vec<Network>,
    /// Records that the project may send in a minute. Null for no such limit.
    #[schema(required = true)]
    pub quota_per_minute: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention_days: RETENTION_DAYS,
            retention_bytes: None,
            raw_metrics_hours: RAW_METRICS_HOURS,
            require_encryption: false,
            require_signature: false,
            ip_allowlist: Vec::new(),
            quota_per_minute: None,
        }
    }
}

/// A change to the settings and secrets of a project. A missing field keeps its value; null sets it
/// to none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// New `retention_days`.
    #[schema(minimum = 1, maximum = 3660)]
    pub retention_days: Option<u32>,
    /// New `retention_bytes`; null for no such limit.
    #[schema(value_type = Option<u64>, minimum = 16777216, maximum = 1125899906842624u64)]
    #[serde(default, deserialize_with = "nullable")]
    pub retention_bytes: Option<Option<u64>>,
    /// New `raw_metrics_hours`.
    #[schema(minimum = 1, maximum = 87840)]
    pub raw_metrics_hours: Option<u32>,
    /// New `require_encryption`.
    pub require_encryption: Option<bool>,
    /// New `require_signature`.
    pub require_signature: Option<bool>,
    /// New `ip_allowlist`: addresses and CIDR blocks.
    #[schema(max_items = 1000)]
    pub ip_allowlist: Option<Vec<String>>,
    /// New `quota_per_minute`; null for no such limit.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000000000)]
    #[serde(default, deserialize_with = "nullable")]
    pub quota_per_minute: Option<Option<u32>>,
    /// New encryption key: 32 bytes as URL-safe base64. Null or an empty text removes it.
    #[schema(value_type = Option<String>, write_only)]
    #[serde(default, deserialize_with = "nullable")]
    pub encryption_key: Option<Option<Secret>>,
    /// New signing secret. Null or an empty text removes it.
    #[schema(value_type = Option<String>, write_only, max_length = 1024)]
    #[serde(default, deserialize_with = "nullable")]
    pub signing_secret: Option<Option<Secret>>,
}

/// Tells a null from a missing field.
fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Why a change is refused.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct SettingsError {
    /// The setting.
    pub field: String,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl SettingsError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl Project {
    /// The project after `change`. A new signing secret makes signatures mandatory, unless the
    /// change says otherwise; removing a secret ends the requirement to use it.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] for the first invalid setting.
    pub fn changed(&self, change: SettingsChange) -> Result<Self, SettingsError> {
        let mut project = self.clone();
        if let Some(key) = change.encryption_key {
            project.set_encryption_key(key.filter(is_given));
            check_encryption_key(project.encryption_key.as_ref())?;
        }
        if let Some(secret) = change.signing_secret {
            project.set_signing_secret(secret.filter(is_given));
            check_signing_secret(project.signing_secret.as_ref())?;
        }
        let settings = &mut project.settings;
        if let Some(days) = change.retention_days {
            settings.retention_days = within("retention_days", days, 1, MAX_DAYS)?;
        }
        if let Some(bytes) = change.retention_bytes {
            let check = |bytes| within("retention_bytes", bytes, MIN_BYTES, MAX_BYTES);
            settings.retention_bytes = bytes.map(check).transpose()?;
        }
        if let Some(hours) = change.raw_metrics_hours {
            settings.raw_metrics_hours = within("raw_metrics_hours", hours, 1, 24 * MAX_DAYS)?;
        }
        if let Some(networks) = change.ip_allowlist {
            settings.ip_allowlist = allowlist(&networks)?;
        }
        if let Some(quota) = change.quota_per_minute {
            let check = |quota| within("quota_per_minute", quota, 1, MAX_QUOTA);
            settings.quota_per_minute = quota.map(check).transpose()?;
        }
        settings.require_encryption = change
            .require_encryption
            .unwrap_or(settings.require_encryption);
        settings.require_signature = change
            .require_signature
            .unwrap_or(settings.require_signature);
        project.check_requirements()?;
        Ok(project)
    }

    /// The project with the options of a start, which were checked.
    #[must_use]
    pub fn started_with(mut self, options: ProjectSettings) -> Self {
        if let Some(key) = options.encryption_key {
            self.set_encryption_key(Some(key).filter(is_given));
        }
        if let Some(secret) = options.signing_secret {
            self.set_signing_secret(Some(secret).filter(is_given));
        }
        self
    }

    fn set_encryption_key(&mut self, key: Option<Secret>) {
        self.settings.require_encryption &= key.is_some();
        self.encryption_key = key;
    }

    fn set_signing_secret(&mut self, secret: Option<Secret>) {
        self.settings.require_signature = secret.is_some();
        self.signing_secret = secret;
    }

    fn check_requirements(&self) -> Result<(), SettingsError> {
        if self.settings.require_encryption && self.encryption_key.is_none() {
            let problem = "the project has no encryption key; set encryption_key as well";
            return Err(SettingsError::new("require_encryption", problem));
        }
        if self.settings.require_signature && self.signing_secret.is_none() {
            let problem = "the project has no signing secret; set signing_secret as well";
            return Err(SettingsError::new("require_signature", problem));
        }
        Ok(())
    }
}

fn is_given(secret: &Secret) -> bool {
    !secret.expose().is_empty()
}

fn check_encryption_key(key: Option<&Secret>) -> Result<(), SettingsError> {
    let checked = key.map(|key| Encryptor::new(key.expose()));
    let failed = |error: KeyError| SettingsError::new("encryption_key", error.to_string());
    checked.transpose().map(drop).map_err(failed)
}

fn check_signing_secret(secret: Option<&Secret>) -> Result<(), SettingsError> {
    if secret.is_some_and(|secret| secret.expose().len() > MAX_SECRET) {
        let problem = format!("it is too long; give at most {MAX_SECRET} bytes");
        return Err(SettingsError::new("signing_secret", problem));
    }
    Ok(())
}

fn within<T: PartialOrd + std::fmt::Display>(
    field: &str,
    value: T,
    least: T,
    most: T,
) -> Result<T, SettingsError> {
    if value < least || value > most {
        let problem = format!("{value} is out of range; give {least} to {most}");
        return Err(SettingsError::new(field, problem));
    }
    Ok(value)
}

fn allowlist(texts: &[String]) -> Result<Vec<Network>, SettingsError> {
    if texts.len() > MAX_NETWORKS {
        let problem = format!(
            "{} entries are too many; give at most {MAX_NETWORKS}",
            texts.len()
        );
        return Err(SettingsError::new("ip_allowlist", problem));
    }
    let networks = texts.iter().enumerate().map(|(index, text)| {
        Network::parse(text).ok_or_else(|| {
            let problem = "no address and no CIDR block; give one such as 10.0.0.0/8";
            SettingsError::new(format!("ip_allowlist[{index}]"), problem)
        })
    });
    networks.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use utoipa::PartialSchema as _;

    use super::*;
    use crate::projects::ProjectId;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn project() -> Project {
        Project {
            id: ProjectId(1),
            name: "shop".to_owned(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            settings: Settings::default(),
            encryption_key: None,
            signing_secret: None,
        }
    }

    fn change(project: &Project, change: Value) -> Result<Project, SettingsError> {
        project.changed(serde_json::from_value(change).unwrap())
    }

    #[test]
    fn a_change_sets_what_it_names_and_keeps_the_rest() {
        let changed = change(
            &project(),
            json!({ "retention_bytes": 1 << 30, "quota_per_minute": 600, "ip_allowlist": ["192.0.2.7/24"] }),
        )
        .unwrap();
        let settings = serde_json::to_value(&changed.settings).unwrap();
        assert_eq!(
            settings,
            json!({
                "retention_days": 90, "retention_bytes": 1 << 30, "raw_metrics_hours": 24,
                "require_encryption": false, "require_signature": false,
                "ip_allowlist": ["192.0.2.0/24"], "quota_per_minute": 600,
            })
        );
        let changed = change(&changed, json!({ "quota_per_minute": null })).unwrap();
        assert_eq!(changed.settings.quota_per_minute, None);
        assert_eq!(changed.settings.retention_bytes, Some(1 << 30));
    }

    #[test]
    fn the_described_limits_are_those_that_are_checked() {
        let schema = serde_json::to_value(SettingsChange::schema()).unwrap();
        for (field, limit, expected) in [
            ("retention_days", "maximum", MAX_DAYS.into()),
            ("retention_bytes", "minimum", MIN_BYTES),
            ("retention_bytes", "maximum", MAX_BYTES),
            ("raw_metrics_hours", "maximum", (24 * MAX_DAYS).into()),
            ("ip_allowlist", "maxItems", MAX_NETWORKS as u64),
            ("quota_per_minute", "maximum", MAX_QUOTA.into()),
            ("signing_secret", "maxLength", MAX_SECRET as u64),
        ] {
            assert_eq!(schema["properties"][field][limit], expected, "{field}");
        }
    }

    #[test]
    fn an_invalid_setting_is_named_with_the_remedy() {
        for (value, field) in [
            (json!({ "retention_days": 0 }), "retention_days"),
            (json!({ "retention_days": 4000 }), "retention_days"),
            (json!({ "retention_bytes": 1024 }), "retention_bytes"),
            (json!({ "raw_metrics_hours": 0 }), "raw_metrics_hours"),
            (json!({ "quota_per_minute": 0 }), "quota_per_minute"),
            (json!({ "ip_allowlist": ["::1", "x"] }), "ip_allowlist[1]"),
            (json!({ "ip_allowlist": vec!["::1"; 1001] }), "ip_allowlist"),
            (json!({ "encryption_key": "hush" }), "encryption_key"),
            (
                json!({ "signing_secret": "hush".repeat(300) }),
                "signing_secret",
            ),
            (json!({ "require_encryption": true }), "require_encryption"),
            (json!({ "require_signature": true }), "require_signature"),
        ] {
            let error = change(&project(), value).unwrap_err();
            assert_eq!(error.field, field);
            assert!(!error.problem.contains("hush"), "{error}");
        }
        assert!(serde_json::from_value::<SettingsChange>(json!({ "retention": 1 })).is_err());
    }

    #[test]
    fn a_signing_secret_makes_signatures_mandatory_unless_the_change_says_otherwise() {
        let signed = change(&project(), json!({ "signing_secret": "s" })).unwrap();
        assert!(signed.settings.require_signature);
        let either = json!({ "signing_secret": "s", "require_signature": false });
        assert!(
            !change(&project(), either)
                .unwrap()
                .settings
                .require_signature
        );
        for none in [json!(null), json!("")] {
            let unsigned = change(&signed, json!({ "signing_secret": none })).unwrap();
            assert_eq!(unsigned, project());
        }
    }

    #[test]
    fn encryption_is_required_only_on_request_and_not_without_a_key() {
        let sealed = change(&project(), json!({ "encryption_key": KEY })).unwrap();
        assert!(!sealed.settings.require_encryption);
        let required = change(&sealed, json!({ "require_encryption": true })).unwrap();
        assert!(required.settings.require_encryption);
        let removed = change(&required, json!({ "encryption_key": null })).unwrap();
        assert_eq!(removed, project());
    }
}
