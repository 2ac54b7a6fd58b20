//! The answers that agents get, word for word where agents depend on the words.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use guard_server::Limits;
use guard_server::people::AuditEntry;
use guard_server::projects::activity::Activity;
use guard_server::projects::{ApiKey, KeyHash, KeyId, KeyOwner, NewKey, Settings, Usage};
use guard_server::store::{
    AddOutcome, AgentReport, Batch, BoxFuture, Change, CheckIn, Draft, Expired, Expiry, Fleet,
    KeepVersions, Project, ProjectId, ProjectSettings, Projects, Receipt, RecordCounts, Room,
    RuleSubscriber, RulesOutcome, RulesStore, Sqlite, StatusReport, StoreError, StoredRules,
    Stores, SubscriberPolicy, Telemetry,
};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::process::Process;
use crate::support::{Server, Setup, batch, client, event, gzip, metric, read, refused, serve};

#[tokio::test]
async fn the_answer_to_a_batch_matches_the_contract() {
    let server = Server::start().await;
    let body = batch("1", &[event("a"), event("b")], &[metric(1.0)]);
    let answer = server.take("/api/v1/events", body).await;
    let contract = json!({
        "success": true, "events_received": 2, "events_dropped_invalid_timestamp": 0,
        "metrics_received": 1, "events_processed": 2, "metrics_processed": 1, "errors": null,
    });
    for (key, value) in contract.as_object().unwrap() {
        assert_eq!(&answer[key], value, "{key}");
    }
}

#[tokio::test]
async fn each_path_accepts_both_kinds() {
    let server = Server::start().await;
    for (path, id) in [("/api/v1/events", "1"), ("/api/v1/metrics", "2")] {
        server
            .take(path, batch(id, &[event(id)], &[metric(1.0)]))
            .await;
    }
    let summary = server.summary().await;
    assert_eq!(
        summary["events"],
        json!({ "total": 2, "by_type": { "ip_banned": 2 } })
    );
    assert_eq!(summary["metrics"]["total"], 2);
}

#[tokio::test]
async fn an_empty_batch_is_accepted() {
    let server = Server::start().await;
    let answer = server.take("/api/v1/events", r#"{"events": []}"#).await;
    assert_eq!(answer["events_received"], 0);
    server
        .take("/api/v1/metrics", r#"{"events": null, "metrics": []}"#)
        .await;
}

#[tokio::test]
async fn the_latest_status_report_of_each_installation_is_kept() {
    let server = Server::start().await;
    for (install, status) in [("one", "healthy"), ("two", "healthy"), ("one", "degraded")] {
        let body = json!({ "status": status, "uptime": 1.5, "errors": [], "more": { "x": 1 } });
        let request = server.post("/api/v1/status", body.to_string());
        let response = request.header("X-Agent-Install-Id", install).send().await;
        let (code, answer) = read(response.unwrap()).await;
        assert_eq!(code, 200);
        assert_eq!(
            answer,
            json!({ "success": true, "message": "Status received" })
        );
    }
    let agents = server.summary().await["agents"].clone();
    let found: Vec<_> = agents
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| (&agent["install_id"], &agent["status"]["status"]))
        .collect();
    assert_eq!(
        found,
        [
            (&json!("one"), &json!("degraded")),
            (&json!("two"), &json!("healthy"))
        ]
    );
    assert_eq!(agents[0]["status"]["more"], json!({ "x": 1 }));
}

#[tokio::test]
async fn a_malformed_body_is_refused_with_the_reason() {
    let server = Server::start().await;
    for (body, reason) in [
        (&b""[..], "not an object"),
        (b"[]", "not an object"),
        (b"{\"events\": [", "EOF"),
        (b"{\"events\": {}}", "expected a sequence"),
        (b"{\"project_id\": \"p\"}", "neither `events` nor `metrics`"),
        (b"{\"events\": [\"\xff\"]}", "utf-8"),
        (b"{\"events\": [], \"batch_id\": 5}", "expected a string"),
    ] {
        let (status, detail) = refused(server.post("/api/v1/events", body)).await;
        assert_eq!(status, 400, "{detail}");
        assert!(
            detail.starts_with("Malformed") && detail.contains(reason),
            "{detail}"
        );
    }
    for body in ["", "[]", "nonsense"] {
        let (status, _) = refused(server.post("/api/v1/status", body)).await;
        assert_eq!(status, 400);
    }
}

#[tokio::test]
async fn broken_compression_is_refused_with_the_reason() {
    let server = Server::start().await;
    let zipped = gzip(batch("1", &[event("1")], &[]).as_bytes());
    let cut = zipped[..zipped.len() - 6].to_vec();
    let mut flipped = zipped.clone();
    flipped[zipped.len() - 7] ^= 1;
    let trailed = [&zipped[..], b"garbage"].concat();
    for body in [cut, flipped, trailed, b"no gzip".to_vec(), Vec::new()] {
        let request = server.post("/api/v1/events", body);
        let (status, detail) = refused(request.header("Content-Encoding", "gzip")).await;
        assert_eq!(status, 400, "{detail}");
        assert!(detail.starts_with("Malformed gzip: "), "{detail}");
    }
    let request = server.post("/api/v1/events", zipped);
    let (status, _) = refused(request.header("Content-Encoding", "br")).await;
    assert_eq!(status, 415);
}

/// Pads a document with spaces, which do not change its meaning.
fn padded(text: &str, size: usize) -> String {
    text.to_owned() + &" ".repeat(size - text.len())
}

#[tokio::test]
async fn a_body_over_the_encoded_limit_is_refused_and_the_answer_is_read() {
    let limits = Limits {
        encoded: 4096,
        decoded: 1 << 20,
        ..Limits::default()
    };
    let server = Setup {
        limits,
        ..Setup::default()
    }
    .start()
    .await;
    let fits = padded(&batch("1", &[event("1")], &[]), 4096);
    server.take("/api/v1/events", fits.clone()).await;
    for size in [4097, 4096 * 7] {
        let body = padded(&fits, size);
        assert_eq!(
            refused(server.post("/api/v1/events", body)).await,
            (413, "Payload exceeds 4096 bytes".to_owned())
        );
    }
}

#[test]
fn a_client_that_writes_its_whole_body_first_receives_the_refusal() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let address = server.origin.strip_prefix("http://").unwrap();
    let body = vec![b' '; 4 << 20];
    for (request, status) in [
        ("POST /api/v1/events", 401),
        ("POST /nowhere", 404),
        ("DELETE /api/v1/events", 405),
        ("DELETE /api/v1/projects/default/rules/bans", 405),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: x\r\nX-API-Key: fg_wrong\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
}

#[test]
fn a_client_that_sends_expect_is_refused_before_its_body() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let address = server.origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: fg_wrong\r\n\
        Expect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn a_body_over_the_decoded_limit_is_refused() {
    let limits = Limits {
        encoded: 1 << 20,
        decoded: 100_000,
        ..Limits::default()
    };
    let server = Setup {
        limits,
        ..Setup::default()
    }
    .start()
    .await;
    let fits = batch("1", &[event("1")], &[]);
    for (size, expected) in [(100_000, 200), (100_001, 413), (50_000_000, 413)] {
        let body = gzip(padded(&fits, size).as_bytes());
        let request = server.post("/api/v1/events", body);
        let response = request.header("Content-Encoding", "gzip").send().await;
        let (status, answer) = read(response.unwrap()).await;
        assert_eq!(status, expected, "{size}");
        if status == 413 {
            assert_eq!(answer["detail"], "Payload exceeds 100000 bytes");
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_answered_in_json() {
    let server = Server::start().await;
    assert_eq!(refused(server.get("/nowhere")).await.0, 404);
    let wrong_method = server.request(Method::DELETE, "/api/v1/events");
    assert_eq!(refused(wrong_method).await.0, 405);
}

/// A store that fails every call.
struct Failing(StoreError);

impl Failing {
    fn answer<T: Send + 'static>(&self) -> BoxFuture<'_, T> {
        let error = self.0;
        Box::pin(async move { Err(error) })
    }
}

impl Projects for Failing {
    fn key_owner(&self, _: KeyHash) -> BoxFuture<'_, Option<KeyOwner>> {
        let project = Project {
            id: ProjectId(1),
            name: "default".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            settings: Settings::default(),
            encryption_key: None,
            signing_secret: None,
        };
        let key = KeyId("1".to_owned());
        Box::pin(async { Ok(Some(KeyOwner { project, key })) })
    }
    fn project_named<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<Project>> {
        self.answer()
    }
    fn projects(&self) -> BoxFuture<'_, Vec<Project>> {
        self.answer()
    }
    fn create_project<'a>(
        &'a self,
        _: &'a str,
        _: Timestamp,
        _: u32,
        _: Option<AuditEntry>,
    ) -> BoxFuture<'a, AddOutcome> {
        self.answer()
    }
    fn save_project<'a>(&'a self, _: &'a str, _: ProjectSettings) -> BoxFuture<'a, AddOutcome> {
        self.answer()
    }
    fn change_project(&self, _: Project, _: Project, _: Option<AuditEntry>) -> BoxFuture<'_, bool> {
        self.answer()
    }
    fn remove_project(
        &self,
        _: ProjectId,
        _: Timestamp,
        _: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.answer()
    }
    fn sweep(&self) -> BoxFuture<'_, bool> {
        self.answer()
    }
    fn keys(&self, _: ProjectId) -> BoxFuture<'_, Vec<ApiKey>> {
        self.answer()
    }
    fn add_key(
        &self,
        _: ProjectId,
        _: NewKey,
        _: u32,
        _: Option<AuditEntry>,
    ) -> BoxFuture<'_, AddOutcome> {
        self.answer()
    }
    fn remove_key(&self, _: ProjectId, _: KeyId, _: Option<AuditEntry>) -> BoxFuture<'_, bool> {
        self.answer()
    }
    fn live_keys(&self, _: Vec<KeyId>) -> BoxFuture<'_, Vec<KeyId>> {
        self.answer()
    }
    fn save_activity(&self, _: Activity) -> BoxFuture<'_, ()> {
        self.answer()
    }
    fn refusals(&self, _: ProjectId) -> BoxFuture<'_, BTreeMap<String, u64>> {
        self.answer()
    }
}

impl RulesStore for Failing {
    fn rules(&self, _: ProjectId) -> BoxFuture<'_, Option<StoredRules>> {
        self.answer()
    }
    fn rules_version(&self, _: ProjectId) -> BoxFuture<'_, Option<i64>> {
        self.answer()
    }
    fn rules_at(&self, _: ProjectId, _: i64) -> BoxFuture<'_, Option<StoredRules>> {
        self.answer()
    }
    fn rules_history(&self, _: ProjectId, _: i64, _: u16) -> BoxFuture<'_, Vec<(i64, Change)>> {
        self.answer()
    }
    fn rules_due(&self, _: Timestamp, _: Timestamp) -> BoxFuture<'_, Vec<(ProjectId, String)>> {
        self.answer()
    }
    fn set_rules(
        &self,
        _: ProjectId,
        _: Option<i64>,
        _: StoredRules,
        _: KeepVersions,
        _: Option<Draft>,
        _: Option<AuditEntry>,
    ) -> BoxFuture<'_, RulesOutcome> {
        self.answer()
    }
    fn draft(&self, _: ProjectId) -> BoxFuture<'_, Option<Draft>> {
        self.answer()
    }
    fn save_draft(&self, _: ProjectId, _: Draft, _: Option<AuditEntry>) -> BoxFuture<'_, ()> {
        self.answer()
    }
    fn remove_draft(&self, _: ProjectId, _: Draft, _: Option<AuditEntry>) -> BoxFuture<'_, bool> {
        self.answer()
    }
}

impl Fleet for Failing {
    fn save_check_ins(&self, _: Arc<[CheckIn]>, _: SubscriberPolicy) -> BoxFuture<'_, u64> {
        self.answer()
    }
    fn subscribers(&self, _: ProjectId) -> BoxFuture<'_, Vec<RuleSubscriber>> {
        self.answer()
    }
    fn save_report(&self, _: StatusReport, _: Room) -> BoxFuture<'_, bool> {
        self.answer()
    }
    fn reports(&self, _: ProjectId, _: u16, _: usize) -> BoxFuture<'_, Vec<AgentReport>> {
        self.answer()
    }
    fn report<'a>(&'a self, _: ProjectId, _: &'a str) -> BoxFuture<'a, Option<AgentReport>> {
        self.answer()
    }
    fn shift_times(&self, _: SignedDuration) -> BoxFuture<'_, ()> {
        self.answer()
    }
}

impl Telemetry for Failing {
    fn append(&self, _: Batch, _: u32) -> BoxFuture<'_, Receipt> {
        self.answer()
    }
    fn expire(&self, _: ProjectId, _: Expiry) -> BoxFuture<'_, Expired> {
        self.answer()
    }
    fn expire_oldest(&self, _: ProjectId, _: u64) -> BoxFuture<'_, Expired> {
        self.answer()
    }
    fn usage(&self, _: ProjectId) -> BoxFuture<'_, Usage> {
        self.answer()
    }
    fn counts(&self, _: ProjectId) -> BoxFuture<'_, RecordCounts> {
        self.answer()
    }
}

#[tokio::test]
async fn a_busy_or_broken_store_gives_503_and_retry_after() {
    for error in [StoreError::Busy, StoreError::Unavailable] {
        let limits = Limits {
            encoded: 4096,
            decoded: 4096,
            ..Limits::default()
        };
        let (failing, directory) = (Arc::new(Failing(error)), tempfile::tempdir().unwrap());
        let store = Sqlite::open(&directory.path().join("guard.db")).unwrap();
        let stores = Stores {
            projects: Arc::clone(&failing) as Arc<dyn Projects>,
            rules: Arc::clone(&failing) as Arc<dyn RulesStore>,
            fleet: Arc::clone(&failing) as Arc<dyn Fleet>,
            telemetry: failing,
            ..Stores::of(Arc::new(store))
        };
        let origin = serve(stores, limits).await;
        let url = format!("{origin}/api/v1/events");
        let request = client().post(url).header("X-API-Key", "any");
        let response = request.body(r#"{"events": []}"#).send().await.unwrap();
        let seconds = response.headers()["Retry-After"].to_str().unwrap();
        assert!(seconds.parse::<u32>().unwrap() > 0);
        let (status, answer) = read(response).await;
        assert_eq!(status, 503);
        assert!(matches!(&answer["detail"], Value::String(text) if text.contains("the store is")));
    }
}
