//! Requests to webhooks: one POST on one connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::connect::{Connector, Deadline};
use super::failure::{Failure, Step};
use super::reach::Reach;
use super::resolve::Resolver;
use super::tls::ClientTls;
use super::url::TargetUrl;

/// How many bytes of an answer are read.
pub const MAX_REPLY: usize = 4096;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait that a receiver may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// A request.
#[derive(Debug, Clone)]
pub struct Post {
    /// Where to.
    pub url: TargetUrl,
    /// Headers besides `Host`, `User-Agent` and `Content-Length`. Mark secrets as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: String,
}

impl Post {
    /// A request with a body of JSON.
    pub fn json(url: TargetUrl, body: &serde_json::Value) -> Self {
        let json = HeaderValue::from_static("application/json");
        Self {
            url,
            headers: vec![(CONTENT_TYPE, json)],
            body: body.to_string(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What the receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code. A redirect is an answer: it is not followed.
    pub status: u16,
    /// The first [`MAX_REPLY`] bytes of the body, as they came.
    pub body: String,
    /// How long the receiver asks to wait: `Retry-After` in seconds, at most an hour.
    pub retry_after: Option<Duration>,
}

/// Sends requests. It follows no redirects, and ignores the proxy variables of the environment: a
/// proxy would connect to addresses that the server could not judge.
#[derive(Clone)]
pub struct Http {
    connector: Connector,
    tls: ClientTls,
}

impl Http {
    /// A client that reaches the addresses of `reach`.
    pub fn new(resolver: Arc<dyn Resolver>, reach: Reach) -> Self {
        Self {
            connector: Connector {
                resolver,
                judge: reach.judge(),
            },
            tls: ClientTls::default(),
        }
    }

    /// Sends a request, and reads the answer.
    ///
    /// # Errors
    ///
    /// [`Failure`] says which step failed.
    pub async fn post(&self, post: Post) -> Result<Reply, Failure> {
        let deadline = Deadline::after(TIMEOUT);
        let (host, port) = (post.url.host(), post.url.port());
        let stream = self.connector.connect(&host, port, deadline).await?;
        let answered = if post.url.is_https() {
            let tls = self.tls.clone();
            let config = tokio::task::spawn_blocking(move || tls.config()).await;
            let config = config.map_err(|error| Failure::Tls(error.to_string()))??;
            let name =
                ServerName::try_from(host).map_err(|error| Failure::Tls(error.to_string()))?;
            let handshake = TlsConnector::from(config).connect(name, stream);
            let stream = deadline.within(Step::Handshake, handshake).await?;
            let stream = stream.map_err(|error| Failure::Tls(error.to_string()))?;
            deadline
                .within(Step::Answer, exchange(stream, post))
                .await?
        } else {
            deadline
                .within(Step::Answer, exchange(stream, post))
                .await?
        };
        let (status, retry_after, body) = answered.map_err(|error| Failure::Broken {
            step: Step::Answer,
            what: error.to_string(),
        })?;
        Ok(Reply {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
            retry_after,
        })
    }
}

type Answer = (u16, Option<Duration>, Vec<u8>);

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    post: Post,
) -> Result<Answer, hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchanged = async {
        let response = sender.send_request(request(post)).await?;
        let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
        Ok((status, retry_after, read(response).await?))
    };
    let mut connection = pin!(connection);
    let mut exchanged = pin!(exchanged);
    // The connection only ends before the exchange if the receiver closes it. Then the rest of the
    // answer may still wait to be read.
    tokio::select! {
        answer = &mut exchanged => answer,
        _ = &mut connection => exchanged.await,
    }
}

fn request(post: Post) -> Request<String> {
    let mut request = Request::new(post.body);
    *request.method_mut() = hyper::Method::POST;
    // The URL was parsed: its path and its host are valid here.
    if let Ok(path) = post.url.path_and_query().parse() {
        *request.uri_mut() = path;
    }
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(post.url.authority()) {
        headers.insert(HOST, host);
    }
    let agent = concat!("guard-server/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers.extend(post.headers);
    request
}

/// Reads at most [`MAX_REPLY`] bytes.
async fn read(response: Response<Incoming>) -> Result<Vec<u8>, hyper::Error> {
    let (mut body, mut found) = (response.into_body(), Vec::new());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            let room = MAX_REPLY - found.len();
            found.extend_from_slice(&data[..data.len().min(room)]);
        }
        if found.len() == MAX_REPLY {
            break;
        }
    }
    Ok(found)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let wait = Duration::from_secs(text.trim().parse().ok()?);
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
