//! `guard-server query`, `top`, `series` and `export` against a running server: the real binary on
//! both sides.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::process::Process;
use crate::support::{TOKEN, batch, client, event, noise};
use crate::tls::certificate;

/// The hour in which the events of these tests happen.
const HOUR: [&str; 4] = [
    "--from",
    "2026-11-22T14:00:00Z",
    "--to",
    "2026-11-22T15:00:00Z",
];

/// A command as an operator gives it, on any machine.
fn command(server: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guard-server"));
    command
        .env_clear()
        .env("GUARD_SERVER_URL", server)
        .env("GUARD_SERVER_TOKEN", TOKEN)
        .args(arguments);
    command
}

fn output(server: &str, arguments: &[&str]) -> Output {
    command(server, arguments).output().unwrap()
}

/// What a command that succeeds writes to standard output.
#[track_caller]
fn run(server: &str, arguments: &[&str]) -> String {
    let output = output(server, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The exit code of a command that fails, and what it writes to standard error.
#[track_caller]
fn failed(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty(), "{error}");
    assert!(!error.contains(TOKEN), "{error}");
    (output.status.code().unwrap(), error)
}

/// 60 events, one a minute, from two addresses; and a metric for each.
async fn filled(data: &Path) -> Process {
    let server = Process::with_key(data);
    let event = |n: usize| {
        json!({
            "idempotency_key": format!("event-{n}"),
            "timestamp": format!("2026-11-22T14:{n:02}:00Z"),
            "event_type": if n.is_multiple_of(3) { "penetration_attempt" } else { "rate_limited" },
            "ip_address": format!("203.0.113.{}", n % 2),
            "endpoint": "/login",
            "reason": if n == 59 { "red \u{1b}[31m\u{202e}" } else { "too many" },
        })
    };
    let metric = |n: usize| {
        json!({
            "idempotency_key": format!("metric-{n}"),
            "timestamp": format!("2026-11-22T14:{n:02}:00Z"),
            "metric_type": "response_time",
            "value": if n.is_multiple_of(2) { 0.5 } else { 0.25 },
            "endpoint": if n.is_multiple_of(2) { "/login" } else { "/api" },
        })
    };
    let events: Vec<_> = (0..60).map(event).collect();
    let metrics: Vec<_> = (0..60).map(metric).collect();
    assert!(server.post(batch("b", &events, &metrics)).await);
    server
}

#[tokio::test]
async fn query_lists_events_newest_first() {
    let data = tempfile::tempdir().unwrap();
    let server = filled(data.path()).await;
    let all = [&["query"], &HOUR[..]].concat();
    let listed = run(&server.origin, &all);
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 51, "{listed}");
    assert!(lines[0].starts_with("TIME\tTYPE\tADDRESS"), "{listed}");
    // Nothing that a record says controls the terminal.
    assert_eq!(
        lines[1],
        "2026-11-22T14:59:00Z\trate_limited\t203.0.113.1\t\t\t\t/login\t\tred \\u{1b}[31m\\u{202e}"
    );
    let error = String::from_utf8(output(&server.origin, &all).stderr).unwrap();
    assert!(
        error.contains("newest 50") && error.contains("--limit"),
        "{error}"
    );

    let some = [
        "--filter",
        "ip_address:203.0.113.0",
        "--limit",
        "1000",
        "--tz",
        "Europe/Berlin",
    ];
    let listed = run(&server.origin, &[&all, &some[..]].concat());
    assert_eq!(listed.lines().count(), 31, "{listed}");
    assert!(listed.contains("\n2026-11-22T15:58:00+01:00\t"), "{listed}");
    let none = run(
        &server.origin,
        &[&all, &["--filter", "-endpoint:/login"][..]].concat(),
    );
    assert_eq!(none, "");
}

#[tokio::test]
async fn json_is_the_answer_of_the_api() {
    let data = tempfile::tempdir().unwrap();
    let server = filled(data.path()).await;
    let call = async |path: &str| {
        let range = "from=2026-11-22T14:00:00Z&to=2026-11-22T15:00:00Z";
        let path = format!("/api/v1/projects/default/{path}{range}");
        server.get(&path, TOKEN).await.1
    };
    let listed = run(
        &server.origin,
        &[&["query", "--json", "--limit", "60"], &HOUR[..]].concat(),
    );
    let items: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(Value::from(items), call("events?limit=60&").await["items"]);
    assert!(
        !listed.contains('\u{1b}') && !listed.contains('\u{202e}'),
        "{listed}"
    );
    for (arguments, path) in [
        (
            &["top", "--by", "event_type"][..],
            "events/top?by=event_type&",
        ),
        (
            &["series", "--by", "event_type", "--interval", "600"],
            "events/series?by=event_type&interval=600&",
        ),
        (
            &[
                "top",
                "--metric",
                "response_time",
                "--stat",
                "max",
                "--by",
                "endpoint",
            ],
            "metrics/top?metric=response_time&stat=max&by=endpoint&",
        ),
    ] {
        let shown = run(&server.origin, &[arguments, &HOUR, &["--json"]].concat());
        assert_eq!(shown.lines().count(), 1, "{shown}");
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown, call(path).await, "{arguments:?}");
    }
}

#[tokio::test]
async fn top_and_series_show_counts_and_metrics() {
    let data = tempfile::tempdir().unwrap();
    let server = filled(data.path()).await;
    let top = run(
        &server.origin,
        &[&["top", "--by", "event_type"], &HOUR[..]].concat(),
    );
    assert_eq!(
        top,
        "EVENT_TYPE\tCOUNT\tSHARE\tFIRST\tLAST\n\
         rate_limited\t40\t66.7 %\t2026-11-22T14:01:00Z\t2026-11-22T14:59:00Z\n\
         penetration_attempt\t20\t33.3 %\t2026-11-22T14:00:00Z\t2026-11-22T14:57:00Z\n"
    );
    let metric = [
        "--metric",
        "response_time",
        "--stat",
        "max",
        "--by",
        "endpoint",
    ];
    let top = run(&server.origin, &[&["top"], &metric[..], &HOUR].concat());
    assert_eq!(
        top,
        "ENDPOINT\tMAX\tRECORDS\n/login\t0.5\t30\n/api\t0.25\t30\n"
    );

    let series = ["series", "--by", "event_type", "--interval", "600"];
    let chart = run(&server.origin, &[&series, &HOUR[..]].concat());
    let lines: Vec<_> = chart.lines().collect();
    assert_eq!(lines[0], "events by event_type; a bar is 10 minutes");
    assert!(
        lines[1]
            .trim_end()
            .ends_with("10 ┤█████ █████ █████ █████ █████ █████"),
        "{chart}"
    );
    assert!(
        chart.contains("14:00") && !chart.contains('\u{1b}'),
        "{chart}"
    );
    let row = |name: &str| lines.iter().find(|line| line.contains(name)).unwrap();
    assert!(row("rate_limited").ends_with(" 40"), "{chart}");
    assert!(row("penetration_attempt").ends_with(" 20"), "{chart}");
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{chart}"
    );

    let chart = run(&server.origin, &[&["series"], &metric[..], &HOUR].concat());
    assert!(
        chart.contains("■ /login") && chart.contains("0.5\n"),
        "{chart}"
    );
}

#[tokio::test]
async fn an_export_to_a_file_is_whole_or_has_another_name() {
    let data = tempfile::tempdir().unwrap();
    let server = filled(data.path()).await;
    let file = data.path().join("events.csv");
    let shown = file.to_str().unwrap();
    let export = [
        &["export", "--format", "csv", "--bom", "--output", shown],
        &HOUR[..],
    ]
    .concat();
    assert_eq!(run(&server.origin, &export), "");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("\u{feff}id,received_at"), "{text}");
    assert_eq!(text.lines().count(), 61);
    let to_output = run(&server.origin, &[&["export"], &HOUR[..]].concat());
    assert_eq!(to_output.lines().count(), 60);
    assert!(!data.path().join("events.csv.partial").exists());
}

/// A server with more to export than sockets and pipes can hold.
async fn full(data: &Path) -> Process {
    let server = Process::with_key(data);
    for part in 0..16 {
        let event = |n: u64| {
            json!({
                "idempotency_key": format!("{part}-{n}"),
                "timestamp": "2026-11-22T14:00:00Z",
                "event_type": "ip_banned",
                "reason": noise(part * 100 + n, 20_000),
            })
        };
        let events: Vec<_> = (0..100).map(event).collect();
        assert!(server.post(batch(&part.to_string(), &events, &[])).await);
    }
    server
}

#[tokio::test]
async fn an_export_that_is_cut_off_fails_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let server = full(data.path()).await;
    let mut child = command(&server.origin, &[&["export"], &HOUR[..]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1024];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    server.kill();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("cut off") && error.contains("not complete"),
        "{error}"
    );
}

#[tokio::test]
async fn a_reader_that_stops_is_no_error() {
    let data = tempfile::tempdir().unwrap();
    let server = full(data.path()).await;
    for arguments in [&["export"][..], &["query", "--json", "--limit", "1600"]] {
        let mut child = command(&server.origin, &[arguments, &HOUR].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 1024];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*error),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn a_server_with_a_private_ca_is_trusted_by_its_certificate_only() {
    let data = tempfile::tempdir().unwrap();
    let files = certificate(data.path(), "localhost");
    let [cert, key] = [&files.cert, &files.key].map(|path| path.to_str().unwrap());
    let options = ["--tls-cert", cert, "--tls-key", key, "--admin-token", TOKEN];
    let server = Process::start(data.path(), &options, 3);
    let (_, port) = server.origin.rsplit_once(':').unwrap();
    let url = format!("https://localhost:{port}");
    assert_eq!(run(&url, &["query", "--ca-file", cert]), "");
    let (code, error) = failed(command(&url, &["query"]));
    assert_eq!(code, 1, "{error}");
    assert!(
        error.contains("not trusted") && error.contains("--ca-file"),
        "{error}"
    );
    let (code, error) = failed(command(&format!("http://localhost:{port}"), &["query"]));
    assert_eq!(code, 1, "{error}");
}

#[tokio::test]
async fn a_wrong_filter_is_shown_with_a_caret_below_the_error() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let (code, error) = failed(command(
        &server.origin,
        &["query", "--filter", "country:DE event_tipe:x"],
    ));
    assert_eq!(code, 2, "{error}");
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines[0], "  country:DE event_tipe:x");
    assert_eq!(lines[1], "             ^");
    assert!(lines[2].starts_with("guard-server: --filter: "), "{error}");
    assert!(lines[2].contains("event_type"), "{error}");
}

#[tokio::test]
async fn wrong_arguments_are_named_as_options() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    for (arguments, expected) in [
        (
            &["query", "--from", "yesterday"][..],
            "--from is \"yesterday\"",
        ),
        (&["query", "--from", "-1h", "--to", "-2h"], "--from is "),
        (&["query", "--limit", "0"], "--limit"),
        (&["query", "--tz", "Mars/Olympus"], "--tz"),
        (&["top"], "--by is missing"),
        (&["top", "--by", "colour"], "--by is \"colour\""),
        (&["top", "--metric", "response_time"], "--stat"),
        (
            &["top", "--metric", "x", "--stat", "max"],
            "--metric is \"x\"",
        ),
        (&["series", "--interval", "1"], "--interval"),
        (
            &["series", "--from", "-30d", "--interval", "3600"],
            "room for",
        ),
        (&["export", "--format", "xml"], "--format"),
        (&["query", "--server", "127.0.0.1:8400"], "--server"),
        (&["query", "--ca-file", "/nowhere"], "--ca-file"),
    ] {
        let (code, error) = failed(command(&server.origin, arguments));
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    }
}

#[tokio::test]
async fn who_may_not_or_cannot_is_told_why() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let mut without = command(&server.origin, &["query"]);
    without.env_remove("GUARD_SERVER_TOKEN");
    let (code, error) = failed(without);
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("GUARD_SERVER_TOKEN") && error.contains("tokens add"),
        "{error}"
    );

    let mut wrong = command(&server.origin, &["query"]);
    wrong.env("GUARD_SERVER_TOKEN", "gt_not_this_one_0123");
    let (code, error) = failed(wrong);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("does not know the token"), "{error}");
    assert!(!error.contains("gt_not_this_one"), "{error}");

    let (code, error) = failed(command(
        &server.origin,
        &["query", "--project", "shop/../x"],
    ));
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("no project shop"), "{error}");

    let file = data.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let arguments = ["query", "--json", "--token-file", file.to_str().unwrap()];
    let mut from_file = command(&server.origin, &arguments);
    from_file.env_remove("GUARD_SERVER_TOKEN");
    assert!(from_file.status().unwrap().success());

    let origin = server.origin.clone();
    server.kill();
    let (code, error) = failed(command(&origin, &["query"]));
    assert_eq!(code, 1, "{error}");
    assert!(
        error.contains("cannot connect") && error.contains("--server"),
        "{error}"
    );
}

/// Forwards connections to a server, until it is told to cut them.
struct Proxy {
    origin: String,
    cut: tokio::sync::watch::Sender<()>,
}

impl Proxy {
    async fn to(server: &Process) -> Self {
        let target = server.origin.strip_prefix("http://").unwrap().to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (cut, cuts) = tokio::sync::watch::channel(());
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let (target, mut cuts) = (target.clone(), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { origin, cut }
    }
}

/// Waits until this many live readers are connected.
async fn until_followed(server: &Process, readers: usize) {
    let line = format!("guard_server_tails {readers}");
    loop {
        let request = client().get(format!("{}/metrics", server.origin));
        let answer = request.bearer_auth(TOKEN).send().await.unwrap();
        if answer.text().await.unwrap().lines().any(|it| it == line) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_goes_on_after_its_connection_was_cut() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let proxy = Proxy::to(&server).await;
    let mut tail = command(
        &proxy.origin,
        &["tail", "--filter", "ip_address:192.0.2.0/24"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    until_followed(&server, 1).await;
    let mut other = event("other");
    other["ip_address"] = json!("198.51.100.1");
    assert!(server.post(batch("1", &[event("a"), other], &[])).await);
    let line = "2026-11-22T14:28:58Z\tip_banned\t192.0.2.7\t\t\t\t\t\t";
    assert_eq!(next(), line);
    proxy.cut.send(()).unwrap();
    until_followed(&server, 0).await;
    let mut second = event("b");
    second["reason"] = json!("too\nmany");
    assert!(server.post(batch("2", &[second], &[])).await);
    assert_eq!(next(), format!("{line}too\\nmany"));
    tail.kill().unwrap();
    let error = tail.wait_with_output().unwrap().stderr;
    let error = String::from_utf8(error).unwrap();
    assert!(error.contains("the connection was cut"), "{error}");

    let (code, error) = failed(command(
        &server.origin,
        &["tail", "--filter", "endpiont:/a"],
    ));
    assert_eq!(code, 2);
    assert!(
        error.contains("--filter") && error.contains("endpoint"),
        "{error}"
    );
}
