//! Connections: limits their number, limits how long a client may keep the server waiting, and
//! shuts all of them down in order.
//!
//! When all places are taken, a new connection replaces one that is idle or whose client is late
//! (`activity`). Requests that wait for rules have separate places (`places`). The socket itself
//! drops clients that send a head or read an answer too slowly (`stream`), and refuses ambiguous
//! line ends (`heads`).

mod activity;
mod heads;
mod messages;
mod places;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};

pub(crate) use self::messages::queued;
use self::places::Places;
pub(crate) use self::places::{Connection, subscriber};
use self::stream::PacedStream;
use super::proxies::TrustedProxies;

/// How long a connection may wait for its next request. This is longer than the pause of agents
/// between two batches (30 s), so agents keep their connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Limit for the bytes of a head, and for the bytes of an answer that are buffered for a client.
const MAX_HEAD: usize = 32 * 1024;
/// Bytes of an answer that the operating system buffers for a client. Linux doubles this value.
const SEND_BUFFER: usize = 128 * 1024;
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
            proxies: TrustedProxies::default(),
        }
    }
}

/// Serves `app` within `limits` until `shutdown` completes, then finishes the requests in flight.
/// Requests carry their [`ConnectInfo`].
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) {
    let (head_timeout, write_timeout) = (limits.head_timeout, limits.write_timeout);
    let places = Places::new(limits);
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(MAX_HEAD);
    let accepting = async {
        loop {
            let (stream, peer) = accept(&listener, &places).await;
            let Some(place) = places.take(peer).await else {
                continue;
            };
            let activity = Arc::clone(&place.activity);
            let stream = PacedStream::new(stream, activity, head_timeout, write_timeout);
            let (app, requests) = (app.clone(), Arc::clone(&place));
            let service = service_fn(move |mut request| {
                let extensions = hyper::Request::extensions_mut(&mut request);
                extensions.insert(ConnectInfo(peer));
                extensions.insert(Arc::clone(&requests));
                messages::answer(app.clone(), request, &requests.activity)
            });
            let connection = http.serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            let task = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection failed");
                }
            });
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
