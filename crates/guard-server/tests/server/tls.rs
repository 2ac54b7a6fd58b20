//! TLS and HTTP/2. Most tests use real sockets and a paused clock: when every task waits, time
//! advances at once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use guard_server::http::connections::tls::{Tls, TlsFiles};
use guard_server::http::connections::{self, ConnectionLimits};
use guard_server::monitoring::ConnectionMeters;
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::process::{Process, command};

/// More bytes than the sockets and HTTP/2 buffer.
const LARGE: usize = 32 << 20;
/// Longer than any timeout.
const HOURS: Duration = Duration::from_secs(36_000);
const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n";

/// Makes a certificate for localhost, named `name`, in `folder`.
pub(crate) fn certificate(folder: &Path, name: &str) -> TlsFiles {
    let files = TlsFiles {
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-subj", &format!("/CN={name}")])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&files.key)
        .arg("-out")
        .arg(&files.cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    files
}

/// A client configuration that trusts the certificate.
fn trusting(files: &TlsFiles, alpn: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.cert).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

struct Server {
    address: SocketAddr,
    files: TlsFiles,
    limits: ConnectionLimits,
    _folder: TempDir,
}

impl Server {
    async fn start(open: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = certificate(folder.path(), "localhost");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = ConnectionLimits {
            open,
            ..ConnectionLimits::default()
        };
        let app = Router::new()
            .route("/", get(async || "done"))
            .route("/large", get(async || vec![b'x'; LARGE]));
        let tls = Some(Arc::new(Tls::load(files.clone()).unwrap()));
        let never = std::future::pending();
        let serving = connections::serve_with(
            listener,
            tls,
            ConnectionMeters::default(),
            app,
            limits.clone(),
            never,
        );
        tokio::spawn(serving);
        Self {
            address,
            files,
            limits,
            _folder: folder,
        }
    }

    async fn connect(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let connector = TlsConnector::from(trusting(&self.files, alpn));
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, stream).await.unwrap()
    }

    async fn http2(&self) -> SendRequest<Body> {
        let stream = TokioIo::new(self.connect(b"h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Sends `bytes` over a connection, and waits until the server closes it. Returns how long that
    /// took, and what it sent.
    async fn closed_after(&self, mut stream: TlsStream<TcpStream>, bytes: &[u8]) -> Duration {
        let begun = Instant::now();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        // The connection either ends or is reset.
        let ended = timeout(HOURS, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection stays open");
        begun.elapsed()
    }

    fn assert_head_timeout(&self, took: Duration) {
        let limit = self.limits.head_timeout;
        assert!(took >= limit && took < 2 * limit, "{took:?}");
    }
}

fn request(path: &str) -> Request<Body> {
    let uri = format!("https://localhost{path}");
    Request::get(uri).body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn both_versions_of_http_are_spoken_over_tls() {
    let server = Server::start(10).await;
    let mut stream = server.connect(b"http/1.1").await;
    stream.write_all(HEAD).await.unwrap();
    stream
        .write_all(b"Connection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("done"),
        "{text}"
    );

    let mut http2 = server.http2().await;
    for (path, len) in [("/", 4), ("/large", LARGE)] {
        let response = http2.send_request(request(path)).await.unwrap();
        assert_eq!(response.version(), hyper::Version::HTTP_2);
        let body = to_bytes(Body::new(response.into_body()), usize::MAX).await;
        assert_eq!(body.unwrap().len(), len);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_or_dripping_handshake_is_cut_off_in_time() {
    let server = Server::start(10).await;
    // A handshake record that says it has 512 bytes.
    for said in [&b""[..], &[22, 3, 1, 2, 0, 1][..]] {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let ended = timeout(HOURS, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "the connection stays open");
        server.assert_head_timeout(begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn plain_http_is_not_answered_on_the_port_of_tls() {
    let server = Server::start(10).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(HEAD).await.unwrap();
    let mut text = Vec::new();
    let _ = timeout(HOURS, stream.read_to_end(&mut text)).await.unwrap();
    assert!(!text.starts_with(b"HTTP"), "{text:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_head_is_cut_off_in_time_over_tls() {
    let server = Server::start(10).await;
    for said in [&b""[..], HEAD] {
        let stream = server.connect(b"http/1.1").await;
        server.assert_head_timeout(server.closed_after(stream, said).await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_http2_head_is_cut_off_in_time() {
    let server = Server::start(10).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // Empty SETTINGS, then HEADERS of stream 1 without END_HEADERS: ":method: GET".
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let headers = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
    for said in [vec![], vec![&settings[..]], vec![&settings, &headers]] {
        let stream = server.connect(b"h2").await;
        let said = [&preface[..], &said.concat()].concat();
        server.assert_head_timeout(server.closed_after(stream, &said).await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_does_not_read_is_cut_off() {
    let server = Server::start(10).await;
    let mut http2 = server.http2().await;
    let response = http2.send_request(request("/large")).await.unwrap();
    sleep(2 * server.limits.write_timeout).await;
    let body = to_bytes(Body::new(response.into_body()), usize::MAX).await;
    assert!(body.is_err(), "the whole answer came");
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_is_closed_and_one_in_use_is_not() {
    let server = Server::start(10).await;
    let mut http2 = server.http2().await;
    for _ in 0..3 {
        let response = http2.send_request(request("/")).await.unwrap();
        to_bytes(Body::new(response.into_body()), 100)
            .await
            .unwrap();
        sleep(Duration::from_secs(60)).await;
        assert!(!http2.is_closed());
    }
    sleep(Duration::from_secs(60)).await;
    assert!(http2.is_closed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_gives_its_place_to_another() {
    let server = Server::start(1).await;
    for _ in 0..3 {
        let mut http2 = server.http2().await;
        let response = http2.send_request(request("/")).await.unwrap();
        assert_eq!(response.status(), 200);
        std::mem::forget(http2);
    }
}

#[tokio::test(start_paused = true)]
async fn bare_line_feeds_are_refused_over_tls() {
    let server = Server::start(10).await;
    let mut stream = server.connect(b"http/1.1").await;
    stream
        .write_all(b"GET / HTTP/1.1\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
}

/// A running binary with TLS. Its certificate can be replaced.
struct Binary {
    process: Process,
    data: TempDir,
}

impl Binary {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let files = certificate(data.path(), "first");
        let mut command = command(data.path(), &[]);
        command.arg("--tls-cert").arg(&files.cert);
        command.arg("--tls-key").arg(&files.key);
        let process = Process::run(command, 3);
        Self { process, data }
    }

    fn files(&self) -> TlsFiles {
        let path = |name| self.data.path().join(name);
        TlsFiles {
            cert: path("cert.pem"),
            key: path("key.pem"),
        }
    }

    /// Gets `/health` with a client that trusts the certificate in the folder.
    fn health(&self) -> Option<String> {
        let address = self.process.origin.strip_prefix("https://").unwrap();
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        let config = trusting(&self.files(), b"http/1.1");
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = rustls::ClientConnection::new(config, name).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(head).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Waits until clients of the certificate in the folder are answered.
    fn becomes_trusted(&self) {
        while self.health().is_none() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn the_binary_speaks_https_and_tells_browsers_to_stay_with_it() {
    let server = Binary::start();
    let text = server.health().unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(
        text.contains("strict-transport-security: max-age=31536000"),
        "{text}"
    );
}

#[test]
fn a_new_certificate_is_used_after_sighup_and_without_it() {
    let server = Binary::start();
    certificate(server.data.path(), "second");
    server.process.signal("-HUP");
    server.becomes_trusted();
    certificate(server.data.path(), "third");
    server.becomes_trusted();
}

#[test]
fn a_broken_certificate_file_leaves_the_one_in_use() {
    let server = Binary::start();
    let files = server.files();
    let good = std::fs::read(&files.cert).unwrap();
    std::fs::write(&files.cert, "no certificate").unwrap();
    server.process.signal("-HUP");
    std::fs::write(&files.cert, good).unwrap();
    assert!(server.health().is_some());
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let data = tempfile::tempdir().unwrap();
    let files = certificate(data.path(), "one");
    let other = tempfile::tempdir().unwrap();
    let other = certificate(other.path(), "other");
    let missing = data.path().join("missing.pem");
    for (cert, key, named) in [
        (Some(&files.cert), None, "--tls-cert and --tls-key"),
        (None, Some(&files.key), "--tls-cert and --tls-key"),
        (Some(&missing), Some(&files.key), "--tls-cert: cannot read"),
        (Some(&files.cert), Some(&missing), "--tls-key: cannot read"),
        (
            Some(&files.key),
            Some(&files.key),
            "--tls-cert: no certificate",
        ),
        (Some(&files.cert), Some(&other.key), "--tls-key"),
    ] {
        let mut command = command(data.path(), &["--listen", "127.0.0.1:0"]);
        if let Some(cert) = cert {
            command.arg("--tls-cert").arg(cert);
        }
        if let Some(key) = key {
            command.arg("--tls-key").arg(key);
        }
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        let line = error
            .lines()
            .find(|line| line.starts_with("guard-server: "));
        assert!(line.unwrap().contains(named), "{error}");
    }
}

#[test]
fn listening_beyond_this_machine_without_tls_is_logged() {
    let data = tempfile::tempdir().unwrap();
    let mut child = command(data.path(), &["--listen", "0.0.0.0:0"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let mut lines = log.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("listening without TLS beyond this machine")));
    child.kill().unwrap();
    child.wait().unwrap();
}
