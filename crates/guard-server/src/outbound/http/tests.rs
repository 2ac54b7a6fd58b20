//! Against receivers that listen on this machine.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Answers each question with the next list of addresses.
struct Names(Mutex<VecDeque<Vec<IpAddr>>>);

impl Names {
    fn new(answers: &[&[IpAddr]]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| answer.to_vec());
        Arc::new(Self(Mutex::new(answers.collect())))
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let answer = self.0.lock().unwrap().pop_front();
        let failed = || io::Error::other("no such name");
        Box::pin(async move { answer.ok_or_else(failed) })
    }
}

fn http(names: Arc<Names>, reach: Reach) -> Http {
    Http::new(names, reach)
}

fn post(url: &str) -> Post {
    let url = TargetUrl::parse(url).unwrap();
    Post::json(url, &serde_json::json!({ "a": "é" }))
}

/// Takes one request, and gives the answer.
async fn receiver(address: IpAddr, answer: &str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let (at, answer) = (listener.local_addr().unwrap(), answer.to_owned());
    let taking = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let read = stream.read_buf(&mut request).await.unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&request));
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    };
    (at, tokio::spawn(taking))
}

#[tokio::test]
async fn a_request_names_the_host_and_its_answer_is_read() {
    let (at, request) = receiver(LOCAL, OK).await;
    let port = at.port();
    let names = Names::new(&[&[LOCAL]]);
    let secret = HeaderValue::from_static("Bearer hush");
    let sent = post(&format!("http://Hooks.example:{port}/a/b?c=d#e"))
        .header(hyper::header::AUTHORIZATION, secret);
    let reply = http(names, Reach::All).post(sent).await.unwrap();
    assert_eq!((reply.status, &*reply.body), (200, "ok"));
    let request = request.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
    assert_eq!(lines.remove(0), "post /a/b?c=d http/1.1");
    lines.sort();
    assert_eq!(
        lines,
        [
            "authorization: bearer hush".to_owned(),
            "content-length: 10".to_owned(),
            "content-type: application/json".to_owned(),
            format!("host: hooks.example:{port}"),
            concat!("user-agent: guard-server/", env!("CARGO_PKG_VERSION")).to_owned(),
        ]
    );
    assert_eq!(body, r#"{"a":"é"}"#);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (at, _request) = receiver(LOCAL, answer).await;
    let names = Names::new(&[]);
    let reply = http(names, Reach::All)
        .post(post(&format!("http://{at}/")))
        .await
        .unwrap();
    assert_eq!((reply.status, &*reply.body), (302, ""));
}

#[tokio::test]
async fn only_the_start_of_an_answer_is_read() {
    let body = "x".repeat(10 * MAX_REPLY);
    for answer in [
        format!("HTTP/1.1 500 Oh\r\ncontent-length: 99999999\r\nretry-after: 7\r\n\r\n{body}"),
        format!("HTTP/1.1 500 Oh\r\nretry-after: 7\r\n\r\n{body}"),
    ] {
        let (at, _request) = receiver(LOCAL, &answer).await;
        let names = Names::new(&[]);
        let reply = http(names, Reach::All)
            .post(post(&format!("http://{at}/")))
            .await
            .unwrap();
        assert_eq!((reply.status, reply.body.len()), (500, MAX_REPLY));
        assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn private_addresses_are_not_reached_however_they_are_written() {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (url, names) in [
        (format!("http://127.0.0.1:{port}/"), &[][..]),
        (format!("http://2130706433:{port}/"), &[]),
        (format!("http://0x7f.1:{port}/"), &[]),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), &[]),
        (format!("https://hooks.example:{port}/"), &[&[LOCAL][..]]),
        (
            format!("http://hooks.example:{port}/"),
            &[&["::1".parse().unwrap(), LOCAL]],
        ),
    ] {
        let sent = http(Names::new(names), Reach::Public)
            .post(post(&url))
            .await;
        let failure = sent.unwrap_err();
        assert!(
            matches!(
                failure,
                Failure::Refused {
                    what: "this machine",
                    ..
                }
            ),
            "{url}: {failure}"
        );
    }
    // Nobody connected.
    tokio::select! {
        biased;
        _ = listener.accept() => panic!("a private address was reached"),
        () = std::future::ready(()) => {}
    }
}

/// Stands for public and private addresses, which both have to be on this machine here.
fn only_local(address: IpAddr) -> Option<&'static str> {
    (address != LOCAL).then_some("a private network")
}

fn judged(names: Arc<Names>) -> Http {
    let mut http = http(names, Reach::Public);
    http.connector.judge = only_local;
    http
}

#[tokio::test]
async fn each_attempt_judges_the_address_that_it_connects_to() {
    let (at, request) = receiver(LOCAL, OK).await;
    let listener = TcpListener::bind((OTHER, at.port())).await.unwrap();
    // The name changes between the attempts, as in an attack by rebinding.
    let names = Names::new(&[&[LOCAL], &[OTHER]]);
    let http = judged(names);
    let url = format!("http://hooks.example:{}/", at.port());
    assert_eq!(http.post(post(&url)).await.unwrap().status, 200);
    request.await.unwrap();
    let failure = http.post(post(&url)).await.unwrap_err();
    let expected = Failure::Refused {
        address: OTHER,
        what: "a private network",
    };
    assert_eq!(failure, expected);
    tokio::select! {
        biased;
        _ = listener.accept() => panic!("a private address was reached"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn of_several_addresses_the_allowed_ones_are_tried_in_turn() {
    let (at, request) = receiver(LOCAL, OK).await;
    let names = Names::new(&[&[OTHER, LOCAL]]);
    let url = format!("http://hooks.example:{}/", at.port());
    assert_eq!(judged(names).post(post(&url)).await.unwrap().status, 200);
    request.await.unwrap();
}

#[tokio::test]
async fn a_failure_names_the_step_and_no_secret() {
    let closed = TcpListener::bind((LOCAL, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (broken, _request) = receiver(LOCAL, "SSH-2.0-nonsense\r\n\r\n").await;
    let (silent, _request2) = receiver(LOCAL, "").await;
    let (plain, _request3) = plain_text().await;
    for (url, expected) in [
        (
            "http://hooks.example/hush".to_owned(),
            "the name hooks.example was not found: no such name",
        ),
        (format!("http://{closed}/hush"), "Connection refused"),
        (
            format!("http://{broken}/hush"),
            "the connection broke, while waiting for the answer",
        ),
        (
            format!("http://{silent}/hush"),
            "the connection broke, while waiting for the answer",
        ),
        (format!("https://{plain}/hush"), "no TLS connection: "),
    ] {
        let sent = http(Names::new(&[]), Reach::All).post(post(&url)).await;
        let failure = sent.unwrap_err().to_string();
        assert!(failure.contains(expected), "{url}: {failure}");
        assert!(!failure.contains("hush"), "{failure}");
    }
}

/// Answers anything with text that is no TLS.
async fn plain_text() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let taking = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    };
    (at, tokio::spawn(taking))
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_ends_in_a_timeout() {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (asked, was_asked) = oneshot::channel();
    let _silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        asked.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    let http = http(Names::new(&[]), Reach::All);
    let sending = tokio::spawn(async move { http.post(post(&format!("http://{at}/"))).await });
    was_asked.await.unwrap();
    tokio::time::pause();
    tokio::time::advance(TIMEOUT).await;
    let expected = Failure::Timeout {
        seconds: 10,
        step: Step::Answer,
    };
    assert_eq!(sending.await.unwrap().unwrap_err(), expected);
}
