//! A test server, and helpers for requests to it.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Once};

use flate2::Compression;
use flate2::write::GzEncoder;
use guard_server::alerts::Sender;
use guard_server::http::connections::{self, ConnectionLimits};
use guard_server::people::{CredentialHash, Role, Scope, SessionLimits, Token};
use guard_server::projects::KeyHash;
use guard_server::store::{People, ProjectSettings, Projects as _, Sqlite, Stores};
use guard_server::{
    AppState, Clock, DEFAULT_PROJECT, Limits, SystemClock, TrustedProxies, maintenance, router,
};
use jiff::Timestamp;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub(crate) const KEY: &str = "fg_test_key";
/// The admin token of test servers.
/// The range of all records that tests send.
pub(crate) const ALWAYS: &str = "from=1970-01-01T00:00:00Z&to=2200-01-01T00:00:00Z";
pub(crate) const TOKEN: &str = "gt_test_token_0123456789";
/// Who changes something with that token.
pub(crate) const AUTHOR: &str = "token:test_token_0123456789";
/// The routes of the project.
pub(crate) const P: &str = "/api/v1/projects/default";
pub(crate) const AT: &str = "2026-11-22T14:28:58Z";

/// A client without TLS certificates.
pub(crate) fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let provider = rustls::crypto::ring::default_provider();
        provider.install_default().unwrap();
    });
    Client::builder().no_proxy().build().unwrap()
}

/// A server in this process. It stops with the test's runtime.
pub(crate) struct Server {
    pub(crate) origin: String,
    pub(crate) store: Arc<Sqlite>,
    pub(crate) state: Arc<AppState>,
    client: Client,
    directory: TempDir,
}

/// The settings of a test server.
pub(crate) struct Setup {
    pub(crate) encryption_key: Option<&'static str>,
    pub(crate) signing_secret: Option<&'static str>,
    pub(crate) limits: Limits,
    pub(crate) connections: ConnectionLimits,
    pub(crate) clock: Arc<dyn Clock>,
    /// Addresses and blocks of trusted proxies.
    pub(crate) proxies: &'static [&'static str],
    pub(crate) public_url: Option<&'static str>,
    pub(crate) sessions: SessionLimits,
    /// Delivers notifications, if it is not the default.
    pub(crate) sender: Option<Arc<dyn Sender>>,
    /// Whether the background loop runs.
    pub(crate) is_maintained: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            encryption_key: None,
            signing_secret: None,
            limits: Limits {
                encoded: 64 * 1024,
                decoded: 256 * 1024,
                ..Limits::default()
            },
            connections: ConnectionLimits {
                open: 100,
                ..ConnectionLimits::default()
            },
            clock: Arc::new(SystemClock),
            proxies: &[],
            public_url: None,
            sessions: SessionLimits::default(),
            sender: None,
            is_maintained: true,
        }
    }
}

impl Setup {
    pub(crate) async fn start(self) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guard.db");
        let store = Arc::new(Sqlite::open(&path).unwrap());
        let settings = ProjectSettings {
            key: Some(KeyHash::of(KEY)),
            encryption_key: self.encryption_key.map(Into::into),
            signing_secret: self.signing_secret.map(Into::into),
        };
        store.save_project(DEFAULT_PROJECT, settings).await.unwrap();
        add_token(&*store, TOKEN, Role::Admin, Scope::All).await;
        let state = AppState::new(Stores::of(Arc::clone(&store)), self.limits);
        let state = state
            .with_clock(self.clock)
            .with_proxies(TrustedProxies::parse(self.proxies).unwrap())
            .with_public_url(self.public_url.map(|url| url.parse().unwrap()))
            .with_sessions(self.sessions);
        let state = match self.sender {
            Some(sender) => state.with_sender(sender),
            None => state,
        };
        let state = Arc::new(state);
        let origin = serve_state(Arc::clone(&state), self.connections).await;
        if self.is_maintained {
            maintain(&state);
        }
        Server {
            origin,
            state,
            store,
            client: client(),
            directory,
        }
    }
}

/// Serves the given stores on a free port. Returns the origin.
pub(crate) async fn serve(stores: Stores, limits: Limits) -> String {
    let state = Arc::new(AppState::new(stores, limits));
    maintain(&state);
    serve_state(state, Setup::default().connections).await
}

/// Starts the background loop.
pub(crate) fn maintain(state: &Arc<AppState>) {
    let state = Arc::clone(state);
    tokio::spawn(async move { maintenance::run(&state).await });
}

/// Serves a state on a free port. Returns the origin.
pub(crate) async fn serve_state(state: Arc<AppState>, limits: ConnectionLimits) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let app = router(state);
    let never = std::future::pending();
    tokio::spawn(async move { connections::serve(listener, app, limits, never).await });
    origin
}

impl Server {
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    /// A file beside the database, or the database.
    pub(crate) fn store_path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A request without a key or token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.origin))
    }

    /// A request with the key of an agent on agents' paths, and with the admin token on all others.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.request(method, path);
        if is_for_agents(path) {
            request.header("X-API-Key", KEY)
        } else {
            request.bearer_auth(TOKEN)
        }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.ask(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.ask(Method::POST, path)
            .header("Content-Type", "application/json")
            .body(body)
    }

    /// Posts a batch that must be accepted. Returns the answer.
    pub(crate) async fn take(&self, path: &str, body: impl Into<reqwest::Body>) -> Value {
        let response = self.post(path, body).send().await.unwrap();
        let (status, answer) = read(response).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["success"], true, "{answer}");
        assert_eq!(answer["errors"], Value::Null, "{answer}");
        answer
    }

    pub(crate) async fn summary(&self) -> Value {
        let request = self.get(&format!("{P}/summary"));
        read(request.send().await.unwrap()).await.1
    }

    /// The newest records of a kind.
    pub(crate) async fn stored(&self, kind: &str) -> Vec<Value> {
        let path = format!("{P}/{kind}?limit=1000&{ALWAYS}");
        let (_, answer) = read(self.get(&path).send().await.unwrap()).await;
        match kind {
            "events" => events_of(&answer),
            _ => items_of(&answer, "metric"),
        }
    }

    /// The answer to a query about the project, with its status.
    pub(crate) async fn query(&self, path: &str) -> (u16, Value) {
        read(self.get(&format!("{P}/{path}")).send().await.unwrap()).await
    }
}

/// The events of a page, as they were sent.
pub(crate) fn events_of(page: &Value) -> Vec<Value> {
    items_of(page, "event")
}

fn items_of(page: &Value, kind: &str) -> Vec<Value> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item[kind].clone()).collect()
}

/// Whether agents use this path, with their key.
pub(crate) fn is_for_agents(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    let paths = ["events", "metrics", "events/encrypted", "status", "rules"];
    path.split_once("/api/v1/")
        .is_some_and(|(_, rest)| paths.contains(&rest))
}

/// Stores a token.
pub(crate) async fn add_token(people: &dyn People, token: &str, role: Role, projects: Scope) {
    let made = Token {
        id: token.to_owned(),
        label: token.trim_start_matches("gt_").to_owned(),
        role,
        projects,
        created_at: Timestamp::UNIX_EPOCH,
        created_by: "cli".to_owned(),
        expires_at: None,
        last_used_at: None,
    };
    people
        .save_token(CredentialHash::of(token), made, None)
        .await
        .unwrap();
}

/// The status and the JSON body of a response.
pub(crate) async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

/// Sends a request that must be refused. Returns the status and the detail.
pub(crate) async fn refused(request: RequestBuilder) -> (u16, String) {
    let (status, answer) = read(request.send().await.unwrap()).await;
    (status, answer["detail"].as_str().unwrap().to_owned())
}

pub(crate) fn event(key: &str) -> Value {
    json!({ "idempotency_key": key, "timestamp": AT, "event_type": "ip_banned", "ip_address": "192.0.2.7" })
}

pub(crate) fn metric(value: f64) -> Value {
    json!({ "timestamp": AT, "metric_type": "request_count", "value": value, "tags": {} })
}

/// The body of a batch.
pub(crate) fn batch(batch_id: &str, events: &[Value], metrics: &[Value]) -> String {
    json!({ "project_id": "default", "batch_id": batch_id, "events": events, "metrics": metrics })
        .to_string()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Text that does not compress to nothing.
pub(crate) fn noise(seed: u64, len: usize) -> String {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + u8::try_from(state >> 59).unwrap() % 26)
    };
    (0..len).map(|_| next()).collect()
}
