//! Inspects a Redis, for the command line.

use guard_agent::store::{RedisOptions, RedisStore};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::errors::value_error;

/// Host, port and database; the version; the eviction policy; the number of the
/// project's records, their bytes, and the number of dead-letter records; risks to
/// records.
type Found = (String, String, String, u64, u64, u64, Option<String>);

/// Inspects the Redis behind a URL.
#[pyfunction]
pub(crate) fn redis_inspect(py: Python<'_>, url: &str, project: Option<String>) -> PyResult<Found> {
    let options = options(url, project)?;
    let place = options.place().to_owned();
    let (health, warning) = py
        .detach(|| RedisStore::inspect(options))
        .map_err(|error| PyOSError::new_err(error.to_string()))?;
    Ok((
        place,
        health.version,
        health.eviction,
        health.records,
        health.bytes,
        health.quarantined,
        warning,
    ))
}

/// Returns dead-letter records to delivery; returns their number.
#[pyfunction]
pub(crate) fn redis_requeue(
    py: Python<'_>,
    url: &str,
    project: Option<String>,
    max_bytes: u64,
) -> PyResult<u64> {
    let options = options(url, project)?.max_bytes(max_bytes);
    py.detach(|| RedisStore::requeue_quarantined(options))
        .map_err(|error| PyOSError::new_err(error.to_string()))
}

fn options(url: &str, project: Option<String>) -> PyResult<RedisOptions> {
    let options = RedisOptions::new(url).map_err(value_error)?;
    Ok(match project {
        Some(project) => options.project(project),
        None => options,
    })
}
