//! Connections: how many there are at a time, how long a client may keep one waiting, and
//! how all of them end in order.
//!
//! When all places are taken, a new connection takes that of one that is idle, or whose
//! client is late (`activity`). Requests that wait for rules have places of their own
//! (`places`). Clients that send a head or read an answer too slowly are given up by the
//! socket itself (`stream`), which also refuses unclear line ends (`heads`).

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

/// How long a connection may wait for its next request. Longer than agents pause between
/// two batches (30 s), so that they keep their connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Bytes of a head, and bytes of an answer that are buffered for a client.
const MAX_HEAD: usize = 32 * 1024;
/// Bytes of an answer that the system buffers for a client; Linux takes twice as many.
const SEND_BUFFER: usize = 128 * 1024;
/// A pause after the system could give no connection, such as for lack of file
/// descriptors; those in use must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be, and how long their clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at a time, without those whose request waits for rules.
    pub open: usize,
    /// Connections at a time of one address; loopback addresses have no such limit.
    pub per_address: usize,
    /// Requests at a time that wait for rules.
    pub held: usize,
    /// Time for the head of a request to arrive.
    pub head_timeout: Duration,
    /// How late a client may be in reading an answer.
    pub write_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            open: 4096,
            per_address: 1024,
            held: 8192,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// Serves `app` within `limits` until `shutdown` completes; then requests in flight are
/// finished. Requests carry their [`ConnectInfo`].
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) {
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
            let stream =
                PacedStream::new(stream, activity, limits.head_timeout, limits.write_timeout);
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
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                places.accept_failed(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Answers are small; waiting to fill packets would only delay them.
    stream.set_nodelay(true)?;
    // Otherwise the system would buffer megabytes for each client that does not read.
    rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?;
    Ok(())
}

/// Whether the failure is the client's alone.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Lets the process open as many files as it may: each connection is one, and
/// many systems start programs with 1,024.
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
