//! The format of the files, as the crate's documentation specifies it.

pub(crate) mod bits;
pub(crate) mod frame;
pub(crate) mod sidecar;
