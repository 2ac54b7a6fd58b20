//! Limits on the memory and the threads that requests use.

pub(crate) mod memory;
pub(crate) mod turns;
pub(crate) mod workers;
