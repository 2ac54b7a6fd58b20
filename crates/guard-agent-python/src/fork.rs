//! What the wall itself has to do in a forked child; the core sees to itself.

use pyo3::prelude::*;

use crate::{key, report};

/// Called in the child, by `os.register_at_fork`.
#[pyfunction]
pub(crate) fn after_fork() {
    key::forked();
    report::forked();
}
