//! These tests use real sockets and a paused clock: when every task waits, time advances at once.

use std::cell::RefCell;
use std::sync::{Arc, Once};

use axum::extract::State;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
/// More bytes than the sockets buffer.
const LARGE: usize = 32 << 20;
/// Not the default, to see that it is settable.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Longer than any timeout here.
const HOURS: Duration = Duration::from_secs(36_000);

/// A server that reports each request to the test and answers it when the test says so.
struct Server {
    address: SocketAddr,
    came: mpsc::UnboundedReceiver<()>,
    answer: Arc<Semaphore>,
    serving: JoinHandle<()>,
}

type Handled = (mpsc::UnboundedSender<()>, Arc<Semaphore>);

async fn handle(State((came, answer)): State<Handled>) -> &'static str {
    came.send(()).unwrap();
    answer.acquire().await.unwrap().forget();
    "done"
}

/// The same, but the request waits for its turn.
async fn queue(State((came, answer)): State<Handled>) -> &'static str {
    came.send(()).unwrap();
    queued(answer.acquire()).await.unwrap().forget();
    "done"
}

impl Server {
    async fn start(open: usize, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        let limits = ConnectionLimits {
            open,
            idle_timeout: IDLE_TIMEOUT,
            ..ConnectionLimits::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, came) = mpsc::unbounded_channel();
        let answer = Arc::new(Semaphore::new(0));
        let app = Router::new()
            .route("/", get(handle))
            .route("/queue", get(queue))
            .route("/large", get(async || vec![b'x'; LARGE]));
        let app = app.with_state((told, Arc::clone(&answer)));
        Self {
            address,
            came,
            answer,
            serving: tokio::spawn(serve(listener, app, limits, shutdown)),
        }
    }

    async fn connect(&self, said: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream
    }

    async fn request_came(&mut self) -> bool {
        timeout(IDLE_TIMEOUT / 2, self.came.recv()).await.is_ok()
    }
}

/// The rest of the server's output, until it closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let read = timeout(HOURS, stream.read_to_string(&mut text)).await;
    read.expect("the server closes the connection").unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let mut server = Server::start(2, std::future::pending()).await;
    let first = server.connect(LAST_REQUEST).await;
    let second = server.connect(LAST_REQUEST).await;
    assert!(server.request_came().await && server.request_came().await);
    let third = server.connect(LAST_REQUEST).await;
    assert!(!server.request_came().await, "a third is served beside two");
    server.answer.add_permits(2);
    for stream in [first, second] {
        assert!(rest(stream).await.ends_with("done"));
    }
    assert!(
        server.request_came().await,
        "a place is free, nobody is let in"
    );
    server.answer.add_permits(1);
    assert!(rest(third).await.ends_with("done"));
}

#[tokio::test(start_paused = true)]
async fn a_client_with_an_unfinished_head_is_cut_off_in_time() {
    let server = Server::start(2, std::future::pending()).await;
    let head_timeout = ConnectionLimits::default().head_timeout;
    let (nothing, half) = (b"".as_slice(), REQUEST.split_at(20).0);
    for said in [nothing, half] {
        let begun = Instant::now();
        rest(server.connect(said).await).await;
        let cut_off = begun.elapsed();
        assert!(cut_off >= head_timeout, "cut off early");
        assert!(cut_off < IDLE_TIMEOUT, "cut off late");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_an_unfinished_head_gives_its_place_to_another() {
    let mut server = Server::start(1, std::future::pending()).await;
    for said in [b"".as_slice(), REQUEST.split_at(20).0] {
        let begun = Instant::now();
        let _stream = server.connect(said).await;
        let waiting = server.connect(LAST_REQUEST).await;
        assert!(server.request_came().await);
        server.answer.add_permits(1);
        assert!(rest(waiting).await.ends_with("done"));
        assert!(begun.elapsed() < ConnectionLimits::default().head_timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_gives_its_place_to_another() {
    let mut server = Server::start(1, std::future::pending()).await;
    let mut idle = server.connect(REQUEST).await;
    assert!(server.request_came().await);
    server.answer.add_permits(1);
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let waiting = server.connect(LAST_REQUEST).await;
    assert!(server.request_came().await);
    server.answer.add_permits(1);
    assert!(rest(waiting).await.ends_with("done"));
    rest(idle).await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_request_gives_its_place_to_another() {
    let mut server = Server::start(1, std::future::pending()).await;
    let stuck = server
        .connect(b"GET /queue HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert!(server.request_came().await);
    let waiting = server.connect(LAST_REQUEST).await;
    assert!(server.request_came().await);
    assert_eq!(rest(stuck).await, "");
    server.answer.add_permits(1);
    assert!(rest(waiting).await.ends_with("done"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_the_answer_is_cut_off() {
    let server = Server::start(2, std::future::pending()).await;
    let pipelined = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let mut stream = server.connect(&pipelined).await;
    tokio::time::sleep(2 * ConnectionLimits::default().write_timeout).await;
    let mut read = Vec::new();
    // The connection either ends or is reset.
    let ended = timeout(HOURS, stream.read_to_end(&mut read)).await;
    assert!(ended.is_ok(), "the connection is closed");
    assert!(read.len() < LARGE, "{}", read.len());
}

#[tokio::test(start_paused = true)]
async fn ambiguous_heads_are_refused_and_the_connection_ends() {
    let server = Server::start(2, std::future::pending()).await;
    for (head, expected) in [
        ("GET / HTTP/1.1\nHost: x\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", "400"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
            "405",
        ),
    ] {
        let answer = rest(server.connect(head.as_bytes()).await).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{head}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
}

thread_local! {
    /// The log lines of this thread.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ThreadLog;

impl io::Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects the log lines of each thread. All tests of this process share one subscriber: with one
/// per thread, a log line that another thread reaches first would stay disabled.
fn collect_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_writer(|| ThreadLog);
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_full_server_is_logged_at_intervals() {
    collect_logs();
    let mut server = Server::start(1, std::future::pending()).await;
    let _busy = server.connect(REQUEST).await;
    assert!(server.request_came().await);
    let _waiting = server.connect(REQUEST).await;
    tokio::time::sleep(Duration::from_secs(35)).await;
    let text = String::from_utf8(LOG.take()).unwrap();
    let lines = text
        .lines()
        .filter(|line| line.contains("--max-connections"));
    assert_eq!(lines.count(), 4, "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_the_next_request_for_a_limited_time() {
    let mut server = Server::start(1, std::future::pending()).await;
    let mut stream = server.connect(REQUEST).await;
    for _ in 0..2 {
        server.answer.add_permits(1);
        assert!(server.request_came().await);
        tokio::time::sleep(IDLE_TIMEOUT / 2).await;
        stream.write_all(REQUEST).await.unwrap();
    }
    server.answer.add_permits(1);
    assert!(server.request_came().await);
    let since = Instant::now();
    assert_eq!(rest(stream).await.matches("200 OK").count(), 3);
    assert!(since.elapsed() >= IDLE_TIMEOUT, "closed early");
}

#[test]
fn connections_are_kept_longer_than_balancers_keep_theirs() {
    let nginx = Duration::from_secs(75);
    assert!(ConnectionLimits::default().idle_timeout > nginx);
}

#[tokio::test(start_paused = true)]
async fn a_request_held_longer_than_the_head_timeout_is_answered() {
    let mut server = Server::start(1, std::future::pending()).await;
    let stream = server.connect(LAST_REQUEST).await;
    assert!(server.request_came().await);
    tokio::time::sleep(10 * IDLE_TIMEOUT).await;
    server.answer.add_permits(1);
    assert!(rest(stream).await.ends_with("done"));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_answers_requests_in_flight_and_closes_idle_connections() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut server = Server::start(2, async { stopped.await.unwrap() }).await;
    let idle = server.connect(REQUEST).await;
    server.answer.add_permits(1);
    assert!(server.request_came().await);
    let held = server.connect(REQUEST).await;
    assert!(server.request_came().await);
    stop.send(()).unwrap();
    assert!(rest(idle).await.ends_with("done"));
    assert!(!server.serving.is_finished());
    server.answer.add_permits(1);
    assert!(rest(held).await.ends_with("done"));
    server.serving.await.unwrap();
}
