//! TLS: the certificate and its key, read again when the files change, and the handshake. ALPN
//! chooses HTTP/2 or HTTP/1.1, so that the server never has to guess the version.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::monitoring::CertificateMeter;

/// The name of HTTP/2 in ALPN.
pub(super) const HTTP_2: &[u8] = b"h2";
/// The name of HTTP/1.1 in ALPN.
const HTTP_1: &[u8] = b"http/1.1";

/// Why the certificate or its key cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{option}: cannot read {}: {source}", path.display())]
    Read {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: pem::Error,
    },
    /// The file has no certificate.
    #[error("--tls-cert: no certificate in {}: give a PEM file with the whole chain", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate cannot be parsed.
    #[error("--tls-cert: the certificate in {} cannot be read: {what}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        what: String,
    },
    /// The key does not belong to the certificate, or the library refuses one of them.
    #[error("--tls-cert, --tls-key: {0}")]
    Pair(#[from] rustls::Error),
}

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// The certificate in use.
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    /// What identifies the content of the files that are in use, or were refused.
    seen: Mutex<[Stamp; 2]>,
    meter: CertificateMeter,
}

type Stamp = Option<(u64, i64, i64, u64)>;

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the option whose file cannot be used.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let seen = Mutex::new(stamps(&files));
        let current = ArcSwap::from_pointee(config(&files)?);
        let tls = Self {
            files,
            current,
            seen,
            meter: CertificateMeter::default(),
        };
        tls.measure();
        Ok(tls)
    }

    /// What is measured about the certificate.
    pub fn meter(&self) -> &CertificateMeter {
        &self.meter
    }

    fn measure(&self) {
        // Another program may be able to read a certificate that this one cannot.
        if let Ok(expiry) = self.files.expiry() {
            self.meter.set(expiry);
        }
    }

    /// Reads the files again. New connections use them; if they are not valid, the certificate in
    /// use stays.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the option whose file cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        // Before reading: a change in between is found the next time.
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = stamps(&self.files);
        self.current.store(Arc::new(config(&self.files)?));
        self.measure();
        Ok(())
    }

    /// Whether the files changed since they were read.
    pub fn has_changed(&self) -> bool {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != stamps(&self.files)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

impl TlsFiles {
    /// When the certificate expires.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if it cannot be read.
    pub fn expiry(&self) -> Result<Timestamp, TlsError> {
        let chain = certificates(&self.cert)?;
        let invalid = |what: String| TlsError::Certificate {
            path: self.cert.clone(),
            what,
        };
        let first = chain.first().map(|it| it.as_ref()).unwrap_or_default();
        let certificate =
            Certificate::from_der(first).map_err(|error| invalid(error.to_string()))?;
        let until = certificate.tbs_certificate().validity().not_after;
        let seconds = i64::try_from(until.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).map_err(|error| invalid(error.to_string()))
    }
}

fn config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&files.cert)?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable("--tls-key", &files.key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(unreadable("--tls-cert", path))?;
    if chain.is_empty() {
        let path = path.to_owned();
        return Err(TlsError::NoCertificate { path });
    }
    Ok(chain)
}

fn unreadable(option: &'static str, path: &Path) -> impl Fn(pem::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Read {
        option,
        path: path.clone(),
        source,
    }
}

fn stamps(files: &TlsFiles) -> [Stamp; 2] {
    let stamp = |found: Metadata| (found.ino(), found.mtime(), found.mtime_nsec(), found.len());
    [&files.cert, &files.key].map(|path| path.metadata().ok().map(stamp))
}
