//! HTTP through reqwest and rustls.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Proxy, Url};

use super::certificates::{authorities, certificate_advice};
use super::proxy::Route;
use super::{Request, Response, Transport, TransportError};
use crate::clock::Clock;

/// Options of an [`HttpTransport`].
pub(crate) struct HttpOptions {
    pub(crate) endpoint: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) user_agent: String,
    pub(crate) timeout: Duration,
    /// Clock for the timeout.
    pub(crate) clock: Arc<dyn Clock>,
}

/// If the backend closed an idle connection just as a request was sent, the request fails
/// within this time. A later failure means that the request was already on its way. Then
/// it is not repeated without a pause.
const RACE: Duration = Duration::from_secs(1);

/// The first bytes of a gzip body. No JSON text starts with them.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A client of one backend. It follows no redirects, reads at most as much of an answer
/// as the request says, uses one connection for each concurrent request, and honours the
/// proxy variables of the environment. It trusts the system's certificate authorities and
/// those named by `SSL_CERT_FILE`.
///
/// If a request fails because the backend closes its idle connection meanwhile, it is
/// repeated at once on a new connection. If the backend received both, it stores each
/// record once.
pub(crate) struct HttpTransport {
    /// The clients, or the error that every request returns because there are none.
    clients: Result<Clients, TransportError>,
    /// Upper bound of the number of idle connections.
    idle: AtomicUsize,
    endpoint: Url,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

struct Clients {
    /// Keeps connections open between requests.
    keeping: Client,
    /// Opens a connection for each request.
    fresh: Client,
}

impl HttpTransport {
    pub(crate) fn new(options: HttpOptions) -> Self {
        let (endpoint, timeout) = (options.endpoint.clone(), options.timeout);
        let clock = Arc::clone(&options.clock);
        Self {
            clients: Clients::new(&options),
            idle: AtomicUsize::new(0),
            endpoint,
            timeout,
            clock,
        }
    }

    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let clients = self.clients.as_ref().map_err(Clone::clone)?;
        let (started, is_reused) = (self.clock.now(), self.take_idle());
        let answer = match self.send_by(&clients.keeping, &request).await {
            Ok(answer) => {
                let response = read(answer, request.max_response).await?;
                self.idle.fetch_add(1, Ordering::Relaxed);
                return Ok(response);
            }
            Err(error) if is_reused && is_broken(&error) && self.since(started) < RACE => {
                self.send_by(&clients.fresh, &request).await
            }
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| {
            // The remaining idle connections would fail as well.
            self.idle.store(0, Ordering::Relaxed);
            describe(error)
        })?;
        read(answer, request.max_response).await
    }

    /// True if the next request may use an idle connection.
    fn take_idle(&self) -> bool {
        let less = |idle: usize| idle.checked_sub(1);
        let taken = self
            .idle
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok()
    }

    fn since(&self, started: Instant) -> Duration {
        self.clock.now().saturating_duration_since(started)
    }

    async fn send_by(
        &self,
        client: &Client,
        request: &Request,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let mut url = self.endpoint.clone();
        url.set_path(&[self.endpoint.path().trim_end_matches('/'), request.path].concat());
        let mut call = match &request.body {
            Some(body) => client.post(url).body(body.clone()),
            None => client.get(url),
        };
        for (name, value) in &request.headers {
            call = call.header(*name, value);
        }
        call.send().await
    }
}

impl Clients {
    fn new(options: &HttpOptions) -> Result<Self, TransportError> {
        let tls = tls(options.endpoint.scheme() == "https")?;
        let builder = || {
            let builder = Client::builder()
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                .http1_only()
                .tcp_nodelay(true)
                .default_headers(options.headers.clone())
                .user_agent(&options.user_agent)
                .tls_backend_preconfigured(tls.clone());
            match Route::of(&options.endpoint) {
                Route::System => Ok(builder),
                Route::Direct => Ok(builder.no_proxy()),
                Route::Proxy(proxy) => Proxy::all(proxy).map(|proxy| builder.proxy(proxy)),
            }
        };
        let build = |builder: ClientBuilder| builder.build();
        let keeping = builder().and_then(build).map_err(describe)?;
        let lone = |builder: ClientBuilder| builder.pool_max_idle_per_host(0).build();
        let fresh = builder().and_then(lone).map_err(describe)?;
        Ok(Self { keeping, fresh })
    }
}

/// True if an existing connection broke before an answer came.
fn is_broken(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

/// Reads at most `most` bytes of the body, after undoing compression by a proxy.
async fn read(mut answer: reqwest::Response, most: usize) -> Result<Response, TransportError> {
    let header = |name: &str| {
        let value = answer.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let mut response = Response {
        status: answer.status().as_u16(),
        content_type: header("content-type"),
        retry_after: header("retry-after"),
        signature: header("x-payload-signature"),
        tag: header("etag"),
        preference_applied: header("preference-applied"),
        body: Vec::new(),
    };
    while let Some(chunk) = answer.chunk().await.map_err(describe)? {
        let room = most - response.body.len();
        let chunk = &chunk[..chunk.len().min(room)];
        response.body.extend_from_slice(chunk);
        if response.body.len() == most {
            break;
        }
    }
    if response.body.starts_with(&GZIP) {
        response.body = inflate(&response.body, most)?;
    }
    Ok(response)
}

/// Inflates at most `most` bytes.
fn inflate(body: &[u8], most: usize) -> Result<Vec<u8>, TransportError> {
    let (mut plain, limit) = (Vec::new(), u64::try_from(most).unwrap_or(u64::MAX));
    let mut reader = MultiGzDecoder::new(body).take(limit);
    match reader.read_to_end(&mut plain) {
        // A truncated body ends in the middle of the gzip data.
        Err(error) if body.len() < most => Err(TransportError::Broken(format!(
            "its gzip is damaged: {error}"
        ))),
        _ => Ok(plain),
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

/// The headers of every request. The configuration has already refused values that a
/// header cannot hold.
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

/// The TLS configuration, with ring. Reading the certificate authorities takes tens of
/// milliseconds, so it is skipped if the endpoint does not need them.
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

/// Describes an error without the address, which may hold credentials.
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
        let cause = cause.to_string();
        TransportError::Connect(match certificate_advice(&cause) {
            Some(advice) => format!("{cause}, as {advice}"),
            None => cause,
        })
    } else {
        TransportError::Broken(cause.to_string())
    }
}

#[cfg(test)]
mod tests;
