//! The live stream: events as they arrive, as server-sent events.

use std::collections::BTreeSet;
use std::sync::Arc;

use guard_server::people::{Role, Scope};
use guard_server::store::{Expiry, People as _, Projects as _, Telemetry as _};
use guard_server::{Clock, Limits};
use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::clocks::TestClock;
use crate::process::Process;
use crate::support::{KEY, P, Server, Setup, TOKEN, add_token, batch, client, event, noise, read};

/// A part of the stream.
#[derive(Debug, PartialEq)]
enum Frame {
    Comment,
    Record { id: String, item: Value },
    Gap(u64),
}

impl Frame {
    fn of(text: &str) -> Self {
        let mut lines = text.lines();
        let mut field = |name: &str| {
            let line = lines.next().unwrap();
            let value = line.strip_prefix(name);
            value
                .unwrap_or_else(|| panic!("{name} in {text}"))
                .to_owned()
        };
        if text.starts_with(':') {
            return Self::Comment;
        }
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let frame = match field("event: ").as_str() {
            "record" => Self::Record {
                id: field("id: "),
                item: json(&field("data: ")),
            },
            "gap" => Self::Gap(json(&field("data: "))["missed"].as_u64().unwrap()),
            other => panic!("{other}"),
        };
        assert_eq!(lines.next(), None, "{text}");
        frame
    }
}

/// A client of the stream.
struct Live {
    response: Response,
    text: String,
}

impl Live {
    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut live = Self {
            response,
            text: String::new(),
        };
        assert_eq!(live.frame().await, Some(Frame::Comment), "at once");
        live
    }

    async fn open(server: &Server, query: &str) -> Self {
        Self::of(server.get(&format!("{P}/events/tail{query}"))).await
    }

    async fn after(server: &Server, position: &str) -> Self {
        let request = server.get(&format!("{P}/events/tail"));
        Self::of(request.header("Last-Event-ID", position)).await
    }

    /// The next frame. `None` at the end of the stream.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let frame = Frame::of(frame);
                self.text = rest.to_owned();
                return Some(frame);
            }
            let bytes = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The position and the item of the next event.
    async fn record(&mut self) -> (String, Value) {
        loop {
            match self.frame().await.unwrap() {
                Frame::Comment => {}
                Frame::Record { id, item } => return (id, item),
                Frame::Gap(missed) => panic!("{missed} are missing"),
            }
        }
    }

    async fn key(&mut self) -> String {
        key(&self.record().await.1)
    }

    /// Reads until the stream ends.
    async fn end(mut self) {
        while self.frame().await.is_some() {}
    }
}

fn key(item: &Value) -> String {
    let key = item["event"]["idempotency_key"].as_str();
    key.unwrap().to_owned()
}

async fn send(server: &Server, events: &[Value]) {
    server.take("/api/v1/events", batch("b", events, &[])).await;
}

async fn refused(request: RequestBuilder) -> (u16, String) {
    let (status, answer) = read(request.send().await.unwrap()).await;
    (status, answer["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn events_come_as_they_are_listed_and_only_those_that_match() {
    let server = Server::start().await;
    send(&server, &[event("before")]).await;
    let mut all = Live::open(&server, "").await;
    let filter = "?filter=idempotency_key:x*%20OR%20country:DE";
    let filter = filter.replace("idempotency_key:x*", "reason:x*");
    let mut some = Live::open(&server, &filter).await;
    let mut matching = event("b");
    matching["country"] = json!("DE");
    matching["reason"] = json!("two\nlines");
    send(&server, &[event("a"), matching, event("c")]).await;
    for expected in ["a", "b", "c"] {
        assert_eq!(all.key().await, expected);
    }
    let (_, item) = some.record().await;
    assert_eq!(key(&item), "b");
    let (_, list) = server
        .query(&format!(
            "events?filter=country:DE&{}",
            crate::support::ALWAYS
        ))
        .await;
    assert_eq!(item, list["items"][0]);
    send(&server, &[event("d")]).await;
    assert_eq!(all.key().await, "d");
}

#[tokio::test]
async fn json_with_line_breaks_stays_one_frame() {
    let server = Server::start().await;
    let mut live = Live::open(&server, "").await;
    let pretty = serde_json::to_string_pretty(&event("a")).unwrap();
    let body = format!(
        r#"{{ "events": [{}], "metrics": [] }}"#,
        pretty.replace('\n', "\r\n")
    );
    server.take("/api/v1/events", body).await;
    assert_eq!(live.record().await.1["event"], event("a"));
}

#[tokio::test]
async fn the_stream_is_never_compressed_or_kept_back() {
    let server = Server::start().await;
    let request = server.get(&format!("{P}/events/tail"));
    let live = Live::of(request.header("Accept-Encoding", "gzip, br, zstd")).await;
    let headers = live.response.headers();
    assert_eq!(headers["Content-Type"], "text/event-stream");
    assert_eq!(headers["X-Accel-Buffering"], "no");
    assert_eq!(headers["Cache-Control"], "no-store");
    assert!(!headers.contains_key("Content-Encoding"));
}

#[tokio::test]
async fn an_event_that_is_sent_again_comes_once() {
    let server = Server::start().await;
    let mut live = Live::open(&server, "").await;
    send(&server, &[event("a"), event("b")]).await;
    send(&server, &[event("b"), event("c"), event("a")]).await;
    send(&server, &[event("c"), event("d")]).await;
    for expected in ["a", "b", "c", "d"] {
        assert_eq!(live.key().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_connects_again_loses_and_repeats_nothing_while_others_write() {
    const WRITERS: usize = 3;
    const BATCHES: usize = 40;
    let server = Arc::new(Server::start().await);
    let mut live = Live::open(&server, "").await;
    for writer in 0..WRITERS {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            for n in 0..BATCHES {
                let events = [1, 2, 3].map(|at| event(&format!("{writer}/{n}/{at}")));
                send(&server, &events).await;
            }
        });
    }
    let mut found = Vec::new();
    while found.len() < WRITERS * BATCHES * 3 {
        let (position, item) = live.record().await;
        found.push(key(&item));
        if found.len() % 10 == 0 {
            live = Live::after(&server, &position).await;
        }
    }
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!(distinct.len(), found.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_where_it_was_after_the_server_was_killed() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let open = |server: &Process| {
        let request = client().get(format!("{}{P}/events/tail", server.origin));
        request.bearer_auth(TOKEN)
    };
    let mut live = Live::of(open(&server)).await;
    assert!(
        server
            .post(batch("1", &[event("a"), event("b")], &[]))
            .await
    );
    let (position, item) = live.record().await;
    assert_eq!(key(&item), "a");
    server.kill();
    let server = Process::with_key(data.path());
    assert!(server.post(batch("2", &[event("c")], &[])).await);
    let mut live = Live::of(open(&server).header("Last-Event-ID", position)).await;
    for expected in ["b", "c"] {
        assert_eq!(live.key().await, expected);
    }
    server.signal("-TERM");
    live.end().await;
}

#[tokio::test]
async fn the_position_may_be_a_parameter_and_the_header_goes_first() {
    let server = Server::start().await;
    let mut live = Live::open(&server, "").await;
    send(&server, &[event("a"), event("b"), event("c")]).await;
    let (of_a, _) = live.record().await;
    let (of_b, _) = live.record().await;
    let path = format!("{P}/events/tail?after={of_a}");
    assert_eq!(Live::of(server.get(&path)).await.key().await, "b");
    let both = server.get(&path).header("Last-Event-ID", of_b);
    assert_eq!(Live::of(both).await.key().await, "c");
}

#[tokio::test]
async fn a_position_that_cannot_be_continued_is_refused() {
    let server = Server::start().await;
    let other = "/api/v1/projects/other";
    let made = server.post("/api/v1/projects", r#"{ "name": "other" }"#);
    assert_eq!(made.send().await.unwrap().status(), 200);
    let mut live = Live::open(&server, "").await;
    send(&server, &[event("a"), event("b")]).await;
    let (position, _) = live.record().await;
    let at = |path: &str, position: &str| {
        let request = server.get(&format!("{path}/events/tail"));
        request.header("Last-Event-ID", position)
    };
    for (path, position) in [(other, &*position), (P, "AAAA"), (P, "no cursor"), (P, "7")] {
        let invalid = (400, "invalid_position".to_owned());
        assert_eq!(
            refused(at(path, position)).await,
            invalid,
            "{path} {position}"
        );
    }
    let unknown = server.get(&format!("{P}/events/tail?cursor=x"));
    assert_eq!(refused(unknown).await.1, "unknown_parameter");
    let filter = server.get(&format!("{P}/events/tail?filter=a:b"));
    assert_eq!(refused(filter).await.1, "invalid_filter");

    let project = server
        .store
        .project_named("default")
        .await
        .unwrap()
        .unwrap();
    let everything = Expiry {
        events_before: Timestamp::now(),
        metrics_before: Timestamp::UNIX_EPOCH,
        rollups_before: Timestamp::UNIX_EPOCH,
    };
    server.store.expire(project.id, everything).await.unwrap();
    let expired = (400, "expired_position".to_owned());
    assert_eq!(refused(at(P, &position)).await, expired);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_loses_the_oldest_and_learns_how_many() {
    const BATCHES: usize = 60;
    const EVENTS: usize = 50;
    let limits = Limits {
        encoded: 4 << 20,
        decoded: 4 << 20,
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let server = setup.start().await;
    let address = server.origin.strip_prefix("http://").unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let head =
        format!("GET {P}/events/tail HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b": heartbeat\n\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    let padding = noise(1, 20_000);
    let mut quick = Live::open(&server, "").await;
    for n in 0..BATCHES {
        let padded = |at: usize| {
            let mut event = event(&format!("{n}/{at}"));
            event["padding"] = json!(padding);
            event
        };
        let events: Vec<_> = (0..EVENTS).map(padded).collect();
        send(&server, &events).await;
        for at in 0..EVENTS {
            assert_eq!(
                quick.key().await,
                format!("{n}/{at}"),
                "others lose nothing"
            );
        }
    }
    let (mut text, last) = (Vec::new(), BATCHES * EVENTS);
    let (mut next, mut missed) = (0, 0);
    while next < last {
        let mut piece = [0; 64 * 1024];
        let len = stream.read(&mut piece).await.unwrap();
        text.extend_from_slice(&piece[..len]);
        while let Some(end) = text.windows(2).position(|it| it == b"\n\n") {
            let frame: Vec<_> = text.drain(..end + 2).collect();
            match Frame::of(std::str::from_utf8(&frame[..end]).unwrap()) {
                Frame::Comment => {}
                Frame::Gap(n) => {
                    missed += n;
                    next += usize::try_from(n).unwrap();
                }
                Frame::Record { item, .. } => {
                    assert_eq!(key(&item), format!("{}/{}", next / EVENTS, next % EVENTS));
                    next += 1;
                }
            }
        }
    }
    // The queue holds 1 MiB; the rest was in the buffers of both sockets.
    let waited = (last as u64 - missed) * 20_000;
    assert!(
        missed > 0 && waited < 4 << 20,
        "{missed} missed, {waited} bytes waited"
    );
}

#[tokio::test]
async fn the_stream_ends_when_the_right_to_read_does() {
    let server = Server::start().await;
    let people = &*server.store;
    for token in ["gt_revoked_token_0123", "gt_limited_token_0123"] {
        add_token(people, token, Role::Viewer, Scope::All).await;
    }
    let by = |token: &str| {
        let request = server.request(Method::GET, &format!("{P}/events/tail"));
        request.bearer_auth(token)
    };
    let revoked = Live::of(by("gt_revoked_token_0123")).await;
    people
        .remove_token("gt_revoked_token_0123", None)
        .await
        .unwrap();
    revoked.end().await;
    assert_eq!(refused(by("gt_revoked_token_0123")).await.0, 401);

    let limited = Live::of(by("gt_limited_token_0123")).await;
    let elsewhere: Scope = serde_json::from_value(json!(["elsewhere"])).unwrap();
    add_token(people, "gt_limited_token_0123", Role::Viewer, elsewhere).await;
    limited.end().await;
    assert_eq!(refused(by("gt_limited_token_0123")).await.0, 404);

    let made = server.post("/api/v1/projects", r#"{ "name": "shop" }"#);
    assert_eq!(made.send().await.unwrap().status(), 200);
    let shop = "/api/v1/projects/shop";
    let removed = Live::of(server.get(&format!("{shop}/events/tail"))).await;
    let request = server.ask(Method::DELETE, shop);
    let request = request.body(r#"{ "confirm": true }"#);
    assert_eq!(request.send().await.unwrap().status(), 204);
    removed.end().await;
}

#[tokio::test]
async fn the_stream_of_a_session_ends_with_it_and_does_not_keep_it_alive() {
    let clock = TestClock::at("2026-11-22T12:00:00Z");
    let setup = Setup {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..Setup::default()
    };
    let server = setup.start().await;
    let person = json!({
        "name": "anna", "role": "viewer", "projects": ["*"], "password": "correct horse battery"
    });
    let added = server.post("/api/v1/people", person.to_string()).send();
    assert_eq!(added.await.unwrap().status(), 200);
    let sign_in = async || {
        let body = json!({ "name": "anna", "password": "correct horse battery" }).to_string();
        let request = server.request(Method::POST, "/api/v1/session").body(body);
        let response = request.send().await.unwrap();
        let set = response.headers()["Set-Cookie"]
            .to_str()
            .unwrap()
            .to_owned();
        set.split(';').next().unwrap().to_owned()
    };
    let by = |method, path: &str, cookie: &str| {
        let request = server.request(method, path).header("Cookie", cookie);
        request.header("Sec-Fetch-Site", "same-origin")
    };
    let cookie = sign_in().await;
    let live = Live::of(by(Method::GET, &format!("{P}/events/tail"), &cookie)).await;
    let sign_out = by(Method::DELETE, "/api/v1/session", &cookie).send();
    assert_eq!(sign_out.await.unwrap().status(), 204);
    live.end().await;

    let cookie = sign_in().await;
    let live = Live::of(by(Method::GET, &format!("{P}/events/tail"), &cookie)).await;
    clock.pass(13 * 3600);
    live.end().await;
}

#[tokio::test]
async fn open_streams_gaps_and_missed_events_are_measured() {
    let server = Server::start().await;
    let _live = Live::open(&server, "").await;
    let metrics = server.get("/metrics").send().await.unwrap();
    let text = metrics.text().await.unwrap();
    for line in [
        "guard_server_tails 1",
        "guard_server_tail_gaps_total 0",
        "guard_server_tail_missed_events_total 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn live_readers_are_limited_for_each_credential_and_in_total() {
    let limits = Limits {
        tails: 3,
        tails_per_credential: 2,
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let server = setup.start().await;
    add_token(
        &*server.store,
        "gt_other_token_0123",
        Role::Viewer,
        Scope::All,
    )
    .await;
    let path = format!("{P}/events/tail");
    let other = || {
        server
            .request(Method::GET, &path)
            .bearer_auth("gt_other_token_0123")
    };
    let first = Live::open(&server, "").await;
    let _second = Live::open(&server, "").await;
    let response = server.get(&path).send().await.unwrap();
    assert_eq!(response.headers()["Retry-After"], "10");
    let (status, answer) = read(response).await;
    assert_eq!((status, &answer["code"]), (429, &json!("too_many_tails")));
    assert!(
        answer["detail"]
            .as_str()
            .unwrap()
            .contains("--max-tails-per-credential")
    );
    let _third = Live::of(other()).await;
    assert_eq!(refused(other()).await, (429, "too_many_tails".to_owned()));
    drop(first);
    // The server notices soon that the client is gone.
    while server.get(&path).send().await.unwrap().status() != 200 {}
    let agent = server.request(Method::GET, &path).header("X-API-Key", KEY);
    assert_eq!(refused(agent).await, (403, "agent_key".to_owned()));
}
