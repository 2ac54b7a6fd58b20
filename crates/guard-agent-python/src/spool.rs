//! Inspects a spool, for the command line.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use guard_spool::inspect::{self, Owner};
use guard_spool::{Disk, Options, Spool};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// One process's directory: its name, whether its process is alive, its creation
/// time, segments, bytes, events, metrics, and unreadable bytes.
type Directory = (String, bool, f64, usize, u64, u64, u64, u64);

/// A dead-letter entry: its kind if it is a record, the time, its bytes and the reason.
type Quarantined = (Option<&'static str>, f64, u64, String);

/// The directories of a spool, oldest first.
#[pyfunction]
pub(crate) fn spool_directories(py: Python<'_>, root: PathBuf) -> PyResult<Vec<Directory>> {
    let found = py.detach(|| inspect::directories(&Disk, &root));
    let describe = |report: inspect::DirectoryReport| {
        let sum =
            |number: fn(&inspect::SegmentReport) -> u64| report.segments.iter().map(number).sum();
        (
            report.name.clone(),
            report.owner == Owner::Running,
            seconds(report.created),
            report.segments.len(),
            sum(|segment| segment.bytes),
            sum(|segment| segment.records.events),
            sum(|segment| segment.records.metrics),
            sum(|segment| segment.unreadable),
        )
    };
    Ok(found.map_err(os_error)?.into_iter().map(describe).collect())
}

/// The first records of a spool, at most `most`: the kind and the JSON of each.
#[pyfunction]
pub(crate) fn spool_records(
    py: Python<'_>,
    root: PathBuf,
    most: usize,
) -> PyResult<Vec<(&'static str, String)>> {
    let mut records = Vec::new();
    let read = py.detach(|| {
        inspect::records(&Disk, &root, None, |kind, bytes| {
            if records.len() == most {
                return ControlFlow::Break(());
            }
            records.push((kind.as_str(), String::from_utf8_lossy(bytes).into_owned()));
            ControlFlow::Continue(())
        })
    });
    read.map_err(os_error)?;
    Ok(records)
}

/// The dead-letter entries of a spool, oldest first.
#[pyfunction]
pub(crate) fn spool_quarantined(py: Python<'_>, root: PathBuf) -> PyResult<Vec<Quarantined>> {
    let found = py.detach(|| inspect::quarantined(&Disk, &root));
    let describe = |each: inspect::Quarantined| {
        let kind = each.kind.map(|kind| kind.as_str());
        (kind, seconds(each.at), each.bytes, each.reason)
    };
    Ok(found.map_err(os_error)?.into_iter().map(describe).collect())
}

/// Returns dead-letter records to delivery; returns their number.
#[pyfunction]
pub(crate) fn spool_requeue(py: Python<'_>, root: PathBuf, max_bytes: u64) -> PyResult<u64> {
    py.detach(|| {
        let mut spool = open(&root, max_bytes)?;
        let requeued = spool.requeue_quarantined().map_err(os_error)?;
        spool.close().map_err(os_error)?;
        Ok(requeued)
    })
}

/// Opens and closes a spool, as a process without records does.
#[pyfunction]
pub(crate) fn spool_check(py: Python<'_>, root: PathBuf, max_bytes: u64) -> PyResult<()> {
    py.detach(|| open(&root, max_bytes)?.close().map_err(os_error))
}

fn open(root: &Path, max_bytes: u64) -> PyResult<Spool> {
    let options = Options {
        max_bytes,
        ..Options::default()
    };
    Spool::open(root, options).map_err(os_error)
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

fn os_error(error: impl ToString) -> PyErr {
    PyOSError::new_err(error.to_string())
}
