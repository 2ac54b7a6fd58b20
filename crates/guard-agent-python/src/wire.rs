//! The contract's functions, shared by Python and Rust.

use std::path::PathBuf;
use std::time::SystemTime;

use guard_agent::install_id;
use guard_wire::encrypt;
use guard_wire::redact::Redactor;
use guard_wire::{backoff, envelope, hash, retry_after, sign, truncate};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::convert::Reader;
use crate::errors::value_error;

/// The JSON of `value`, redacted.
#[pyfunction]
pub(crate) fn redact(value: &Bound<'_, PyAny>, sensitive: Vec<String>) -> PyResult<String> {
    let node = Reader::new().read(value, 0).map_err(value_error)?;
    Ok(Redactor::new(sensitive).to_json(&node))
}

/// `text`, truncated to `limit` bytes.
#[pyfunction(name = "truncate")]
pub(crate) fn truncate_text(text: &str, limit: usize) -> String {
    truncate::truncate(text, limit).into_owned()
}

/// The first half of the SHA-256 of an address.
#[pyfunction]
pub(crate) fn hash_ip(ip: &str, salt: &str) -> String {
    hash::hash_ip(ip, salt)
}

/// The proxy for requests to `endpoint`.
#[pyfunction]
pub(crate) fn proxy_for(endpoint: &str) -> Option<String> {
    guard_agent::transport::proxy_for(endpoint)
}

/// Seconds until a retry.
#[pyfunction]
pub(crate) fn backoff_delay(attempt: u32, base_delay: f64, max_delay: f64) -> f64 {
    backoff::delay(attempt, base_delay, max_delay)
}

/// The seconds that a Retry-After header asks for.
#[pyfunction]
#[pyo3(signature = (header, default))]
pub(crate) fn retry_after_seconds(header: Option<&str>, default: f64) -> f64 {
    retry_after::seconds(header, SystemTime::now(), default)
}

/// The installation's identifier, and the reason if it cannot be stored.
#[pyfunction]
#[pyo3(signature = (state_file, identifier))]
pub(crate) fn resolve_install_id(
    state_file: Option<PathBuf>,
    identifier: Option<&str>,
) -> (String, Option<String>) {
    let found = install_id::resolve(state_file.as_deref(), identifier);
    (found.id, found.not_kept.map(|error| error.to_string()))
}

/// A new batch identifier.
#[pyfunction]
pub(crate) fn batch_id() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = now.map_or(0, |now| now.as_millis());
    envelope::batch_id(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The signature of a body, or None when `secret` is empty.
#[pyfunction(name = "sign")]
pub(crate) fn sign_body(body: PyBackedBytes, secret: &str) -> Option<String> {
    sign::sign(&body, secret)
}

/// Encrypts and decrypts payloads with one key.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Encryptor(encrypt::Encryptor);

#[pymethods]
impl Encryptor {
    #[new]
    fn new(key: &str) -> PyResult<Self> {
        encrypt::Encryptor::new(key).map(Self).map_err(value_error)
    }

    fn encrypt(&self, plain: PyBackedBytes, associated: PyBackedBytes) -> PyResult<String> {
        self.0
            .encrypt_with(&plain, &associated)
            .map_err(value_error)
    }

    fn decrypt(&self, sealed: &str, associated: PyBackedBytes) -> PyResult<Vec<u8>> {
        let plain = self.0.decrypt_with(sealed, &associated);
        plain.map_err(|error| PyValueError::new_err(error.to_string()))
    }
}
