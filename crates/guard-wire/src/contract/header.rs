//! Names of the HTTP headers that agents and backends exchange.

/// The API key, as later backends read it; earlier ones read `Authorization: Bearer`.
pub const API_KEY: &str = "X-API-Key";
/// The project a request belongs to; sent only when one is configured.
pub const PROJECT_ID: &str = "X-Project-ID";
/// The installation a request comes from, stable over restarts.
pub const INSTALL_ID: &str = "X-Agent-Install-Id";
/// The process that a request comes from: of the agents of an installation, which.
pub const PROCESS_ID: &str = "X-Agent-Process-Id";
/// `v1=HEX`, see [`crate::crypto::sign`].
pub const SIGNATURE: &str = "X-Payload-Signature";
