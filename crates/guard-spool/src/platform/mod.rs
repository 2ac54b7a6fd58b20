//! What the spool needs from the system: files and time. Tests replace both.

pub(crate) mod clock;
pub(crate) mod files;
pub(crate) mod fs;
