//! What agents and backends send each other around the records.

pub mod answer;
pub mod backoff;
pub mod envelope;
pub mod header;
pub mod retry_after;
pub mod rules;
pub mod status;
