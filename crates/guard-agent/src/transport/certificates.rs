//! Trusted certificate authorities, and advice about untrusted certificates.

use rustls::pki_types::CertificateDer;

/// The system's certificate authorities, plus those named by `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`. A private authority is added; it does not replace the others.
/// Files that do not exist or cannot be read are skipped.
pub(crate) fn authorities() -> Vec<CertificateDer<'static>> {
    let mut found = rustls_native_certs::load_native_certs().certs;
    let is_named = |name| std::env::var_os(name).is_some();
    if is_named("SSL_CERT_FILE") || is_named("SSL_CERT_DIR") {
        for folder in openssl_probe::candidate_cert_dirs() {
            found.extend(rustls_native_certs::load_certs_from_paths(None, Some(folder)).certs);
        }
    }
    found
}

/// Explains why rustls rejects a certificate, and the remedy, for an error whose message
/// does not: the server uses an authority's certificate, as openssl creates it by default.
/// Trusting that certificate does not help.
pub(crate) fn certificate_advice(error: &str) -> Option<&'static str> {
    error.contains("CaUsedAsEndEntity").then_some(
        "that of an authority (CA:TRUE) cannot be a server's: make another by openssl req -x509 \
         with -addext basicConstraints=critical,CA:FALSE and -addext subjectAltName=DNS:NAME, \
         NAME being the server's, and set SSL_CERT_FILE to it",
    )
}
