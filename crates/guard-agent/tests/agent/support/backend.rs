//! A backend on a real socket with scripted answers.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::PATIENCE;

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    /// Names are in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The inflated body.
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The reasons of its events.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.of_events("reason")
    }

    /// The idempotency keys of its events.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.of_events("idempotency_key")
    }

    fn of_events(&self, field: &str) -> Vec<String> {
        let body = self.json();
        let events = body["events"].as_array().expect("events").iter();
        events
            .map(|event| event[field].as_str().expect("a text").to_owned())
            .collect()
    }
}

/// An answer to send.
pub(crate) enum Answer {
    /// A status, headers and a body.
    Plain(u16, Vec<(&'static str, String)>, String),
    /// 200 and a body in gzip.
    Gzip(String),
    /// 200 and a body without end.
    Endless,
    /// Half an answer, then the connection closes.
    Cut,
    /// The connection closes, as if just before the request came.
    Close,
    /// No answer.
    Silence,
    /// The answer received from this channel.
    Later(Receiver<Answer>),
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Answer::Plain(status, Vec::new(), String::new())
    }

    pub(crate) fn body(body: &str) -> Self {
        Answer::Plain(200, Vec::new(), body.to_owned())
    }

    pub(crate) fn with(status: u16, header: &'static str, value: impl ToString) -> Self {
        Answer::Plain(status, vec![(header, value.to_string())], String::new())
    }

    pub(crate) fn ok() -> Self {
        Answer::body(r#"{"success":true,"errors":null}"#)
    }
}

type Script = Box<dyn FnMut(usize, &Received) -> Answer + Send>;

struct Shared {
    script: Mutex<(Script, Vec<Received>)>,
    changed: Condvar,
    /// Number of requests of any kind.
    arrived: AtomicUsize,
    /// Number of requests that never get an answer.
    silent: AtomicUsize,
    /// Status reports.
    reports: Mutex<Vec<Received>>,
}

/// Ends with the process: its threads hold only their sockets.
pub(crate) struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Backend {
    /// Answers the n-th request, counted from 0, with `script`. Status reports are accepted and
    /// counted separately.
    pub(crate) fn start(script: impl FnMut(usize, &Received) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Mutex::new((Box::new(script), Vec::new())),
            changed: Condvar::new(),
            arrived: AtomicUsize::new(0),
            silent: AtomicUsize::new(0),
            reports: Mutex::default(),
        });
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = Arc::clone(&served);
                thread::spawn(move || serve(&served, stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Number of requests so far, including status reports.
    pub(crate) fn arrived(&self) -> usize {
        self.shared.arrived.load(Ordering::Relaxed)
    }

    /// Number of requests that wait for an answer in vain now.
    pub(crate) fn silent(&self) -> usize {
        self.shared.silent.load(Ordering::Relaxed)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.script.lock().expect("whole").1.clone()
    }

    /// All status reports so far.
    pub(crate) fn reports(&self) -> Vec<Received> {
        self.shared.reports.lock().expect("whole").clone()
    }

    /// Waits for the first `count` requests.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Received> {
        let state = self.shared.script.lock().expect("whole");
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.1.len() < count)
            .expect("whole");
        assert!(!waited.timed_out(), "{} of {count} requests", state.1.len());
        state.1.clone()
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    while let Some(request) = read(&mut reader) {
        shared.arrived.fetch_add(1, Ordering::Relaxed);
        let answer = if request.path == "/api/v1/status" {
            shared.reports.lock().expect("whole").push(request);
            Answer::ok()
        } else {
            let mut state = shared.script.lock().expect("whole");
            let index = state.1.len();
            let answer = (state.0)(index, &request);
            state.1.push(request);
            shared.changed.notify_all();
            answer
        };
        if write(shared, &stream, answer).is_none() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |text| text.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if headers
        .get("content-encoding")
        .is_some_and(|coding| coding == "gzip")
    {
        let mut plain = Vec::new();
        GzDecoder::new(&body[..])
            .read_to_end(&mut plain)
            .expect("gzip");
        body = plain;
    }
    Some(Received {
        path,
        headers,
        body,
    })
}

/// Writes an answer. Returns `None` when the connection must close.
fn write(shared: &Shared, mut stream: &TcpStream, answer: Answer) -> Option<()> {
    match answer {
        Answer::Plain(status, headers, body) => {
            let mut text = format!(
                "HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n",
                body.len()
            );
            for (name, value) in headers {
                text += &format!("{name}: {value}\r\n");
            }
            stream.write_all((text + "\r\n" + &body).as_bytes()).ok()
        }
        Answer::Gzip(body) => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(body.as_bytes()).expect("memory");
            let body = gzip.finish().expect("memory");
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), &body].concat()).ok()
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
            None
        }
        Answer::Cut => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"succ")
                .ok()?;
            None
        }
        Answer::Close => None,
        Answer::Silence => {
            // Until the client gives up.
            shared.silent.fetch_add(1, Ordering::Relaxed);
            let end = stream.read_to_end(&mut Vec::new());
            shared.silent.fetch_sub(1, Ordering::Relaxed);
            end.ok().and(None)
        }
        Answer::Later(answer) => write(shared, stream, answer.recv().ok()?),
    }
}
