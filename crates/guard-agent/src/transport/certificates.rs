//! Which certificates are trusted, and advice for those that are not.

use rustls::pki_types::CertificateDer;

/// The system's certificate authorities, and those that `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name: a private authority is added, it does not take the
/// others' place. What cannot be read, or does not exist, is left out.
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

/// Why rustls does not take a certificate, and what helps, where its own words leave that open:
/// for one that is an authority's, as openssl makes it unless told otherwise. To trust it does
/// not help.
pub(crate) fn certificate_advice(error: &str) -> Option<&'static str> {
    error.contains("CaUsedAsEndEntity").then_some(
        "that of an authority (CA:TRUE) cannot be a server's: make another by openssl req -x509 \
         with -addext basicConstraints=critical,CA:FALSE and -addext subjectAltName=DNS:NAME, \
         NAME being the server's, and set SSL_CERT_FILE to it",
    )
}
