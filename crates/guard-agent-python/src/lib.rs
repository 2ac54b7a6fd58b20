//! The boundary between the agent and Python: the private module `guard_agent._native`.
//!
//! It only converts: arguments to the core's types, and the core's errors to
//! exceptions. Blocking calls release the GIL.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod agent;
mod awaitable;
mod buffer;
mod config;
mod convert;
mod direct_client;
mod entries;
mod errors;
mod fork;
mod key;
mod keyvalue;
mod loop_channel;
mod mailbox;
mod models;
mod node;
mod objects;
mod once;
mod redis;
mod report;
mod sender;
mod settings;
mod spool;
mod stats;
mod transport;
mod types;
mod wait;
mod wire;

/// The native part of the package `guard_agent`.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::agent::Agent;
    #[pymodule_export]
    use crate::awaitable::Ready;
    #[pymodule_export]
    use crate::buffer::Buffer;
    #[pymodule_export]
    use crate::direct_client::DirectClient;
    #[pymodule_export]
    use crate::fork::generation;
    #[pymodule_export]
    use crate::key::new_key;
    #[pymodule_export]
    use crate::keyvalue::{Call, Calls};
    #[pymodule_export]
    use crate::mailbox::Mailbox;
    #[pymodule_export]
    use crate::redis::{redis_inspect, redis_requeue};
    #[pymodule_export]
    use crate::report::silence_reports;
    #[pymodule_export]
    use crate::sender::Sender;
    #[pymodule_export]
    use crate::spool::{
        spool_check, spool_directories, spool_quarantined, spool_records, spool_requeue,
    };
    #[pymodule_export]
    use crate::transport::{Request, Requests};
    #[pymodule_export]
    use crate::wire::{
        Encryptor, backoff_delay, batch_id, hash_ip, proxy_for, redact, resolve_install_id,
        retry_after_seconds, sign_body, truncate_text,
    };
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::settings::add_to(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
