//! On real sockets and a paused clock: when nothing is left to do but to wait,
//! time passes at once.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
/// Longer than anything waits here.
const HOURS: Duration = Duration::from_secs(36_000);

/// A server whose requests say that they came, and are answered once the test lets them.
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

impl Server {
    async fn start(limit: usize, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, came) = mpsc::unbounded_channel();
        let answer = Arc::new(Semaphore::new(0));
        let app = Router::new().route("/", get(handle));
        let app = app.with_state((told, Arc::clone(&answer)));
        Self {
            address,
            came,
            answer,
            serving: tokio::spawn(serve(listener, app, limit, shutdown)),
        }
    }

    async fn connect(&self, said: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream
    }

    async fn request_came(&mut self) -> bool {
        timeout(HEAD_TIMEOUT / 2, self.came.recv()).await.is_ok()
    }
}

/// What the server still says until it closes the connection.
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
async fn who_does_not_finish_a_head_gives_the_place_up() {
    let mut server = Server::start(1, std::future::pending()).await;
    let (nothing, half) = (b"".as_slice(), REQUEST.split_at(20).0);
    for said in [nothing, half] {
        let begun = Instant::now();
        let stream = server.connect(said).await;
        let waiting = server.connect(LAST_REQUEST).await;
        rest(stream).await;
        assert!(begun.elapsed() >= HEAD_TIMEOUT, "cut off early");
        assert!(server.request_came().await);
        server.answer.add_permits(1);
        assert!(rest(waiting).await.ends_with("done"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_the_next_request_but_not_for_ever() {
    let mut server = Server::start(1, std::future::pending()).await;
    let mut stream = server.connect(REQUEST).await;
    for _ in 0..2 {
        server.answer.add_permits(1);
        assert!(server.request_came().await);
        tokio::time::sleep(HEAD_TIMEOUT / 2).await;
        stream.write_all(REQUEST).await.unwrap();
    }
    server.answer.add_permits(1);
    assert_eq!(rest(stream).await.matches("200 OK").count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_held_longer_than_a_head_may_take_is_answered() {
    let mut server = Server::start(1, std::future::pending()).await;
    let stream = server.connect(LAST_REQUEST).await;
    assert!(server.request_came().await);
    tokio::time::sleep(10 * HEAD_TIMEOUT).await;
    server.answer.add_permits(1);
    assert!(rest(stream).await.ends_with("done"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_is_in_flight_closes_what_is_idle_and_ends() {
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
