//! Names of the HTTP headers in the contract.

/// The API key, for newer backends; older ones read `Authorization: Bearer`.
pub const API_KEY: &str = "X-API-Key";
/// The project of a request; sent only if one is configured.
pub const PROJECT_ID: &str = "X-Project-ID";
/// The installation that sends a request; stable across restarts.
pub const INSTALL_ID: &str = "X-Agent-Install-Id";
/// The process that sends a request: identifies an agent within its installation.
pub const PROCESS_ID: &str = "X-Agent-Process-Id";
/// `v1=HEX`, see [`crate::sign`].
pub const SIGNATURE: &str = "X-Payload-Signature";
