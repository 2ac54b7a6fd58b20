//! TLS as a client, with ring and the system's certificate authorities.

use std::sync::{Arc, OnceLock};

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};

use super::failure::Failure;

/// The configuration of all TLS connections. It is made at the first use, because reading the
/// authorities takes tens of milliseconds. Those are the system's, or the ones that `SSL_CERT_FILE`
/// and `SSL_CERT_DIR` name.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientTls(Arc<OnceLock<Arc<ClientConfig>>>);

impl ClientTls {
    /// The configuration. The first call reads files.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.0.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(Failure::Tls(
                "this machine has no certificate authorities: install ca-certificates, or set \
                 SSL_CERT_FILE"
                    .to_owned(),
            ));
        }
        let config = config(roots)?;
        Ok(Arc::clone(self.0.get_or_init(|| config)))
    }
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, Failure> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
