//! Validation of each configuration field.

use std::sync::Arc;

use guard_wire::encrypt::{Encryptor, KeyError};
use reqwest::Url;

use super::Settings;
#[cfg(feature = "spool")]
use crate::defaults::{MAX_SPOOL_BATCH_BYTES, MIN_SPOOL_BATCHES, MIN_SPOOL_MAX_BYTES};
use crate::defaults::{MIN_API_KEY, MIN_BATCH_BYTES, MIN_RULES_INTERVAL, MIN_STATUS_INTERVAL};
use crate::error::ConfigError;
#[cfg(feature = "spool")]
use crate::store::disk;

pub(crate) fn settings(settings: &Settings) -> Result<(), ConfigError> {
    let one_or_more = [
        ("buffer_size", settings.buffer_size),
        ("max_concurrent_flushes", settings.max_concurrent_flushes),
        ("max_buffered", settings.max_buffered.unwrap_or(1)),
        ("max_buffer_bytes", settings.max_buffer_bytes),
    ];
    for (field, number) in one_or_more {
        ConfigError::reject_if(number == 0, field, number, "give 1 or more")?;
    }
    let above_zero = [
        ("flush_interval", settings.flush_interval),
        ("timeout", settings.timeout),
    ];
    for (field, duration) in above_zero {
        ConfigError::reject_if(duration.is_zero(), field, 0, "give more than 0 seconds")?;
    }
    let bytes = settings.max_batch_bytes;
    ConfigError::reject_if(
        bytes < MIN_BATCH_BYTES,
        "max_batch_bytes",
        bytes,
        format!("give {MIN_BATCH_BYTES} or more"),
    )?;
    let intervals = [
        (
            "dynamic_rule_interval",
            settings.dynamic_rule_interval,
            MIN_RULES_INTERVAL,
        ),
        (
            "status_interval",
            settings.status_interval,
            MIN_STATUS_INTERVAL,
        ),
    ];
    for (field, interval, least) in intervals {
        ConfigError::reject_if(
            interval < least,
            field,
            interval.as_secs_f64(),
            format!("give {} seconds or more", least.as_secs()),
        )?;
    }
    let factor = settings.backoff_factor;
    let is_positive = factor.is_finite() && factor > 0.0;
    ConfigError::reject_if(
        !is_positive,
        "backoff_factor",
        factor,
        "give a number of seconds above 0",
    )?;
    let ratio = settings.high_watermark_ratio;
    let is_share = ratio > 0.0 && ratio <= 1.0;
    ConfigError::reject_if(
        !is_share,
        "high_watermark_ratio",
        ratio,
        "give a share above 0 and up to 1",
    )?;
    #[cfg(feature = "spool")]
    check_spool(settings)?;
    for (field, text) in [
        ("project_id", &settings.project_id),
        ("install_id", &settings.install_id),
    ] {
        let text = text.as_deref().unwrap_or_default();
        let remedy = "give printable ASCII: it is sent as an HTTP header";
        ConfigError::reject_if(
            !text
                .bytes()
                .all(|byte| byte == b' ' || byte.is_ascii_graphic()),
            field,
            format!("{text:?}"),
            remedy,
        )?;
    }
    Ok(())
}

/// Checks the spool's own limits, and reports them with this crate's names.
#[cfg(feature = "spool")]
fn check_spool(settings: &Settings) -> Result<(), ConfigError> {
    if settings.spool_dir.is_none() {
        return Ok(());
    }
    let (max_bytes, batch) = (settings.spool_max_bytes, settings.max_batch_bytes);
    let options = disk::options(max_bytes, batch, settings.spool_fsync);
    ConfigError::reject_if(
        batch > MAX_SPOOL_BATCH_BYTES,
        "max_batch_bytes",
        batch,
        format!("give {MAX_SPOOL_BATCH_BYTES} or less with a spool_dir"),
    )?;
    ConfigError::reject_if(
        max_bytes < MIN_SPOOL_MAX_BYTES || options.validate().is_err(),
        "spool_max_bytes",
        max_bytes,
        format!(
            "give {MIN_SPOOL_MAX_BYTES} or more, and at least {MIN_SPOOL_BATCHES} times \
             max_batch_bytes"
        ),
    )
}

pub(crate) fn key(api_key: String) -> Result<String, ConfigError> {
    let remedy = if api_key.chars().count() < MIN_API_KEY {
        format!("too short; give the project's key, {MIN_API_KEY} characters or more")
    } else if !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
        "not printable ASCII; check that the whole key was copied, and nothing else".to_owned()
    } else {
        return Ok(api_key);
    };
    Err(ConfigError::Secret {
        field: "api_key",
        remedy,
    })
}

pub(crate) fn endpoint(endpoint: &str) -> Result<Url, ConfigError> {
    let fail = |remedy: &str| ConfigError::Field {
        field: "endpoint",
        value: without_userinfo(endpoint),
        remedy: remedy.to_owned(),
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

/// The endpoint for messages. A user and password in it are secrets, even if the endpoint
/// is invalid.
fn without_userinfo(endpoint: &str) -> String {
    match endpoint.rsplit_once('@') {
        Some((_, rest)) => format!("{:?}", ["...@", rest].concat()),
        None => format!("{endpoint:?}"),
    }
}

pub(crate) fn encryption(key: Option<&str>) -> Result<Option<Arc<Encryptor>>, ConfigError> {
    let Some(key) = key else {
        return Ok(None);
    };
    let encryptor = Encryptor::new(key).map_err(|error: KeyError| ConfigError::Secret {
        field: "project_encryption_key",
        remedy: error.to_string(),
    })?;
    Ok(Some(Arc::new(encryptor)))
}

/// Refuses an empty secret, for example from a missing variable: it must not sign anything.
pub(crate) fn signing_secret(secret: Option<String>) -> Result<Option<String>, ConfigError> {
    if secret.as_deref() == Some("") {
        return Err(ConfigError::Secret {
            field: "payload_signing_secret",
            remedy: "empty; give the secret, or leave it out to sign nothing".to_owned(),
        });
    }
    Ok(secret)
}
