//! From the bytes of a request to a batch that can be stored.

pub(crate) mod envelope;
pub(crate) mod record;
pub(crate) mod repair;
pub(crate) mod signals;
pub(crate) mod structure;
