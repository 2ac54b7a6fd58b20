//! Delivery logic: classify an answer, decide when to retry, and find the records that a
//! backend refuses. Pure: the pipeline sends and waits.

pub(crate) mod backoff;
pub(crate) mod bisection;
pub(crate) mod breaker;
pub(crate) mod classify;
pub(crate) mod pace;
pub(crate) mod throttle;
