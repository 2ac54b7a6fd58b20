//! HTTP, by reqwest and rustls.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::pki_types::CertificateDer;

use super::transport::{Request, Response, Transport, TransportError};
use crate::clock::Clock;

/// What [`HttpTransport`] needs to know.
pub(crate) struct HttpOptions {
    pub(crate) endpoint: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) user_agent: String,
    pub(crate) timeout: Duration,
    /// What the timeout goes by.
    pub(crate) clock: Arc<dyn Clock>,
}

/// A client of one backend. Follows no redirect, reads no more of an answer than
/// the request says, has a connection for each request under way, honours the proxy variables of the
/// environment, trusts the system's certificate authorities and those named by
/// `SSL_CERT_FILE`.
pub(crate) struct HttpTransport {
    /// Or why there can be none; every request then fails with that.
    client: Result<Client, TransportError>,
    endpoint: Url,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl HttpTransport {
    pub(crate) fn new(options: HttpOptions) -> Self {
        let (endpoint, timeout) = (options.endpoint.clone(), options.timeout);
        let clock = Arc::clone(&options.clock);
        let client = Self::client(options);
        Self {
            client,
            endpoint,
            timeout,
            clock,
        }
    }

    fn client(options: HttpOptions) -> Result<Client, TransportError> {
        let is_encrypted = options.endpoint.scheme() == "https";
        Client::builder()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .tcp_nodelay(true)
            .default_headers(options.headers)
            .user_agent(options.user_agent)
            .tls_backend_preconfigured(tls(is_encrypted)?)
            .build()
            .map_err(describe)
    }

    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let mut url = self.endpoint.clone();
        url.set_path(&[self.endpoint.path().trim_end_matches('/'), request.path].concat());
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let mut call = match request.body {
            Some(body) => client.post(url).body(body),
            None => client.get(url),
        };
        for (name, value) in &request.headers {
            call = call.header(*name, value);
        }
        let mut answer = call.send().await.map_err(describe)?;
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let mut response = Response {
            status: answer.status().as_u16(),
            retry_after: header("retry-after"),
            signature: header("x-payload-signature"),
            tag: header("etag"),
            preference_applied: header("preference-applied"),
            body: Vec::new(),
        };
        while let Some(chunk) = answer.chunk().await.map_err(describe)? {
            let room = request.max_response - response.body.len();
            response
                .body
                .extend_from_slice(&chunk[..chunk.len().min(room)]);
            if response.body.len() == request.max_response {
                break;
            }
        }
        Ok(response)
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let limit = self.timeout.saturating_add(request.hold);
        let end = self.clock.now().checked_add(limit);
        Box::pin(async move {
            let Some(end) = end else {
                return self.exchange(request).await;
            };
            tokio::select! {
                answer = self.exchange(request) => answer,
                () = self.clock.sleep_until(end) => Err(TransportError::Timeout),
            }
        })
    }
}

/// The headers that go with every request. Values that no header can hold were
/// refused by the configuration.
pub(crate) fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_str(value)) {
            value.set_sensitive(true);
            map.insert(name, value);
        }
    }
    map
}

/// TLS by ring. Reading the certificate authorities takes tens of milliseconds
/// and is left out when the endpoint does not need them.
fn tls(is_used: bool) -> Result<rustls::ClientConfig, TransportError> {
    let mut roots = rustls::RootCertStore::empty();
    if is_used {
        roots.add_parsable_certificates(authorities());
    }
    if is_used && roots.is_empty() {
        return Err(TransportError::Connect(
            "no certificate authorities found; install ca-certificates or set SSL_CERT_FILE".into(),
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Connect(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

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

/// Says what went wrong without the address, which may hold credentials.
fn describe(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    if error.is_timeout() {
        return TransportError::Timeout;
    }
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_connect() || error.is_builder() {
        TransportError::Connect(cause.to_string())
    } else {
        TransportError::Broken(cause.to_string())
    }
}

#[cfg(test)]
mod tests;
