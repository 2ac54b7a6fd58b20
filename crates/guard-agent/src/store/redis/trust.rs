//! TLS for Redis, with the same settings as for the backend.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use redis::TlsCertificates;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;

use crate::transport::certificates::authorities;

/// The certificate authorities that the agent also trusts for its backend.
pub(super) fn certificates() -> TlsCertificates {
    TlsCertificates {
        client_tls: None,
        root_cert: Some(authorities_as_pem().into_bytes()),
    }
}

/// Skips authorities that rustls cannot use: a single one makes the client refuse all.
fn authorities_as_pem() -> String {
    let mut pem = String::new();
    for certificate in authorities() {
        if RootCertStore::empty().add(certificate.clone()).is_ok() {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            BASE64_STANDARD.encode_string(&certificate, &mut pem);
            pem.push_str("\n-----END CERTIFICATE-----\n");
        }
    }
    pem
}

/// Installs the default cryptography provider if the process has not chosen one. Without
/// a provider the Redis client panics.
pub(super) fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // Fails only if another thread has installed one meanwhile.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn a_pem_file_holds_the_authorities() {
        let pem = authorities_as_pem();
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let mut expected = authorities();
        expected.retain(|authority| RootCertStore::empty().add(authority.clone()).is_ok());
        assert_eq!(read.unwrap(), expected);
    }
}
