//! Noticing a fork, whoever made it.

use pyo3::prelude::*;

/// Tells a process from the one it was forked from, as the core does.
#[pyfunction]
pub(crate) fn generation() -> u32 {
    guard_agent::fork_generation()
}
