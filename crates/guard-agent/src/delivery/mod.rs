//! How a batch is delivered: what an answer means, when to try again, and how to find
//! the records that a backend refuses. Pure: the pipeline does the sending and the waiting.

pub(crate) mod backoff;
pub(crate) mod bisection;
pub(crate) mod breaker;
pub(crate) mod classify;
pub(crate) mod pace;
pub(crate) mod throttle;
