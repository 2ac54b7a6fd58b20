//! Detects forks, whether Python or native code made them.

use pyo3::prelude::*;

/// Identifies this process among its forked relatives, as the core does.
#[pyfunction]
pub(crate) fn generation() -> u32 {
    guard_agent::fork_generation()
}
