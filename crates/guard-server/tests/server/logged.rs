//! A server whose log the test can read.

use std::fs::{self, File};
use std::path::PathBuf;

use reqwest::{Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, command};
use crate::support::{KEY, TOKEN, batch, client, event};

/// A running server and its data directory.
pub(crate) struct Logged {
    pub(crate) data: TempDir,
    pub(crate) process: Process,
}

impl Logged {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), "info")
    }

    pub(crate) fn start_in(data: TempDir, level: &str) -> Self {
        let mut command = command(data.path(), &["--api-key", KEY, "--admin-token", TOKEN]);
        command.env("RUST_LOG", level);
        let log = File::create(data.path().join("log")).unwrap();
        command.stderr(log);
        let process = Process::run(command, 2);
        Self { data, process }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// The number of log lines that contain `text`.
    pub(crate) fn logged(&self, text: &str) -> usize {
        let log = self.log();
        log.lines().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub(crate) async fn post(&self, events: &[Value]) -> Response {
        let url = format!("{}/api/v1/events", self.process.origin);
        let request = client().post(url).header("X-API-Key", KEY);
        request.body(batch("b", events, &[])).send().await.unwrap()
    }

    /// The status of `path`, which needs no key.
    pub(crate) async fn status(&self, path: &str) -> StatusCode {
        let url = format!("{}{path}", self.process.origin);
        client().get(url).send().await.unwrap().status()
    }

    /// Asks until the status is `expected`: the server reuses a result for a second.
    pub(crate) async fn becomes(&self, expected: StatusCode) {
        while self.status("/ready").await != expected {}
    }

    /// Checks that every path that stores records refuses them, and that the server still runs.
    pub(crate) async fn takes_nothing(&self) {
        for _ in 0..30 {
            let response = self.post(&[event("lost")]).await;
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key("Retry-After"));
        }
        self.becomes(StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(self.status("/health").await, 200);
    }

    /// Stops the server. Returns its data directory.
    pub(crate) fn stop(mut self) -> TempDir {
        self.process.signal("-TERM");
        assert_eq!(self.process.wait(), Some(0));
        self.data
    }
}
