//! Connections: limits their number, limits how long a client may keep the server waiting, and
//! shuts all of them down in order.
//!
//! When all places are taken, a new connection replaces one that is idle or whose client is late
//! (`activity`). Requests that wait for rules have separate places (`places`). The socket itself
//! drops clients that send a head or read an answer too slowly (`stream`), and refuses ambiguous
//! line ends (`heads`). With a certificate (`tls`), all of this is done within the TLS session.

mod activity;
mod heads;
mod messages;
mod places;
mod stream;
pub mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval, timeout};

pub(crate) use self::messages::queued;
use self::places::Places;
pub(crate) use self::places::{Connection, subscriber};
use self::stream::PacedStream;
use self::tls::{HTTP_2, Tls};
use super::proxies::TrustedProxies;
use crate::monitoring::ConnectionMeters;

/// Limit for the bytes of a head, and for the bytes of an answer that are buffered for a client.
const MAX_HEAD: usize = 32 * 1024;
/// Bytes of an answer that the operating system buffers for a client. Linux doubles this value.
const SEND_BUFFER: usize = 128 * 1024;
/// The same limit for the fields of an HTTP/2 request.
const MAX_HEADER_LIST: u32 = 32 * 1024;
/// Requests that may run at the same time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;
/// How often HTTP/2 connections are checked for idle and late clients.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The pause after `accept` failed, for example because no file descriptor was free. Open
/// connections must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits on the number of connections and on how long their clients may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections, not counting those whose request waits for rules.
    pub open: usize,
    /// Open connections of one address. Loopback addresses and trusted proxies have no such limit.
    pub per_address: usize,
    /// Requests that wait for rules at the same time.
    pub held: usize,
    /// How long the head of a request may take to arrive.
    pub head_timeout: Duration,
    /// How late a client may be in reading an answer.
    pub write_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// The proxies that forward the requests of many clients.
    pub proxies: TrustedProxies,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            open: 4096,
            per_address: 1024,
            held: 8192,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(90),
            proxies: TrustedProxies::default(),
        }
    }
}

/// Marks a request that came over TLS to this server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverTls;

/// Serves `app` within `limits` until `shutdown` completes, then finishes the requests in flight.
/// Requests carry their [`ConnectInfo`].
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) {
    let meters = ConnectionMeters::default();
    serve_with(listener, None, meters, app, limits, shutdown).await;
}

/// The same as [`serve`], over TLS if there is a certificate. Reports to `meters`.
pub async fn serve_with(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    meters: ConnectionMeters,
    app: Router,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) {
    let times = Times {
        head: limits.head_timeout,
        write: limits.write_timeout,
        idle: limits.idle_timeout,
    };
    let places = Places::new(limits, meters);
    let graceful = GracefulShutdown::new();
    let accepting = async {
        loop {
            let (stream, peer) = accept(&listener, &places).await;
            let Some(place) = places.take(peer).await else {
                continue;
            };
            let serving = Serving {
                app: app.clone(),
                peer,
                place: Arc::clone(&place),
                times,
                watcher: graceful.watcher(),
            };
            let task = tokio::spawn(serving.run(stream, tls.clone()));
            place.served_by(task.abort_handle());
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
    drop(listener);
    graceful.shutdown().await;
}

/// How long a client may take.
#[derive(Clone, Copy)]
struct Times {
    head: Duration,
    write: Duration,
    idle: Duration,
}

/// One connection.
struct Serving {
    app: Router,
    peer: SocketAddr,
    place: Arc<Connection>,
    times: Times,
    watcher: Watcher,
}

impl Serving {
    async fn run(self, stream: TcpStream, tls: Option<Arc<Tls>>) {
        let Some(tls) = tls else {
            return self.http1(stream, false).await;
        };
        // Boxed, because a connection without TLS would take the same memory.
        let handshake = Box::pin(tls.acceptor().accept(stream));
        match timeout(self.times.head, handshake).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) => {
                Box::pin(self.http2(stream)).await;
            }
            Ok(Ok(stream)) => Box::pin(self.http1(stream, true)).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    fn paced<S>(&self, stream: S) -> PacedStream<S> {
        let activity = Arc::clone(&self.place.activity);
        PacedStream::new(stream, activity, self.times.head, self.times.write)
    }

    async fn http1<S>(self, stream: S, is_tls: bool)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.times.idle)
            .max_buf_size(MAX_HEAD);
        let stream = TokioIo::new(self.paced(stream));
        let (app, peer, place) = (self.app, self.peer, self.place);
        let service = service_fn(move |request| answer(&app, peer, &place, is_tls, request));
        let connection = http.serve_connection(stream, service);
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%error, "a connection failed");
        }
    }

    async fn http2<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_send_buf_size(MAX_HEAD);
        let stream = TokioIo::new(self.paced(stream).multiplexed());
        let overdue = overdue(Arc::clone(&self.place), self.times);
        let (app, peer, place) = (self.app, self.peer, self.place);
        let service = service_fn(move |request| answer(&app, peer, &place, true, request));
        let connection = http.serve_connection(stream, service);
        tokio::select! {
            outcome = self.watcher.watch(connection) => if let Err(error) = outcome {
                tracing::debug!(%error, "a connection failed");
            },
            () = overdue => tracing::debug!("an idle or late HTTP/2 connection was closed"),
        }
    }
}

fn answer(
    app: &Router,
    peer: SocketAddr,
    place: &Arc<Connection>,
    is_tls: bool,
    mut request: hyper::Request<Incoming>,
) -> impl Future<Output = Result<hyper::Response<messages::Answer>, Infallible>> + use<> {
    let extensions = request.extensions_mut();
    extensions.insert(ConnectInfo(peer));
    extensions.insert(Arc::clone(place));
    if is_tls {
        extensions.insert(OverTls);
    }
    messages::answer(app.clone(), request, &place.activity)
}

/// Completes when an HTTP/2 connection is idle for too long, or its client reads too slowly.
async fn overdue(place: Arc<Connection>, times: Times) {
    let mut ticks = interval(CHECK_EVERY);
    loop {
        ticks.tick().await;
        let activity = &place.activity;
        if activity.is_overdue(Instant::now(), times.idle, times.write) {
            return;
        }
    }
}

async fn accept(listener: &TcpListener, places: &Places) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = prepare(&stream) {
                    tracing::debug!(%error, "a socket cannot be set up");
                }
                return (stream, peer);
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                places.accept_failed(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Answers are small. Waiting to fill packets would only delay them.
    stream.set_nodelay(true)?;
    // Otherwise the system buffers megabytes for each client that does not read.
    rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?;
    Ok(())
}

/// Whether the failure concerns only one connection.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Raises the limit of open files to the allowed maximum. Each connection takes one, and many
/// systems start programs with 1,024.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod tests;
