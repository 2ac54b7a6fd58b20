//! Queries that take long: they have a time limit, and end when their client goes.

use std::sync::Arc;
use std::time::Duration;

use guard_server::http::connections::ConnectionLimits;
use guard_server::people::{Role, Scope};
use guard_server::query::buckets::Buckets;
use guard_server::query::filter::Field;
use guard_server::query::metric::{KeyValues, MetricTopItem};
use guard_server::query::series::Series;
use guard_server::query::top::Top;
use guard_server::store::{
    BoxFuture, Cursor, EventQuery, EventSlice, MetricQuery, ProjectId, ProjectSettings,
    Projects as _, Search, Selection, Sqlite, StoredEvent, Stores,
};
use guard_server::{AppState, DEFAULT_PROJECT, Limits, projects::KeyHash};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::{
    ALWAYS, AT, KEY, P, TOKEN, add_token, batch, client, read, serve, serve_state,
};

/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn store() -> (Sqlite, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    let settings = ProjectSettings {
        key: Some(KeyHash::of(KEY)),
        ..ProjectSettings::default()
    };
    store.save_project(DEFAULT_PROJECT, settings).await.unwrap();
    add_token(&store, TOKEN, Role::Admin, Scope::All).await;
    (store, directory)
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_answered_503_with_what_to_do() {
    let (store, _directory) = store().await;
    let stores = Stores::of(Arc::new(store.with_query_time(Duration::ZERO)));
    let origin = serve(stores, Limits::default()).await;
    let event = |n: usize| json!({ "timestamp": AT, "event_type": "x", "metadata": { "n": n } });
    let events: Vec<_> = (0..2000).map(event).collect();
    let post = client().post(format!("{origin}/api/v1/events"));
    let sent = post.header("X-API-Key", KEY).body(batch("1", &events, &[]));
    assert_eq!(sent.send().await.unwrap().status(), 200);
    for call in [
        "events?",
        "events/top?by=metadata.n&",
        "events/export?format=csv&",
    ] {
        let url = format!("{origin}{P}/{call}{ALWAYS}&filter=metadata.n:-1");
        let response = client().get(url).bearer_auth(TOKEN).send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"), "{call}");
        let (status, error) = read(response).await;
        assert_eq!(
            (status, &error["code"]),
            (503, &json!("query_timeout")),
            "{call}"
        );
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains("shorten the range"), "{detail}");
    }
}

/// Queries that never end by themselves. How many are running can be watched.
#[derive(Default)]
struct Endless {
    running: watch::Sender<usize>,
}

/// A query that runs until this is dropped.
struct Running(watch::Sender<usize>);

impl Running {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Endless {
    fn answer<T: Send + 'static>(&self) -> BoxFuture<'_, T> {
        let running = Running::new(&self.running);
        Box::pin(async move {
            let _running = running;
            std::future::pending().await
        })
    }

    async fn wait_until(&self, is_so: impl Fn(usize) -> bool) -> bool {
        let mut running = self.running.subscribe();
        let waiting = running.wait_for(|count| is_so(*count));
        tokio::time::timeout(PATIENCE, waiting).await.is_ok()
    }
}

impl Search for Endless {
    fn events(&self, _: EventQuery) -> BoxFuture<'_, EventSlice> {
        self.answer()
    }
    fn metrics(&self, _: EventQuery) -> BoxFuture<'_, EventSlice> {
        self.answer()
    }
    fn event(&self, _: ProjectId, _: Cursor) -> BoxFuture<'_, Option<StoredEvent>> {
        self.answer()
    }
    fn series(&self, _: Selection, _: Option<Field>, _: Buckets) -> BoxFuture<'_, Series> {
        self.answer()
    }
    fn top(&self, _: Selection, _: Vec<Field>, _: usize) -> BoxFuture<'_, Top> {
        self.answer()
    }
    fn metric_series(&self, _: MetricQuery, _: Buckets) -> BoxFuture<'_, Vec<KeyValues>> {
        self.answer()
    }
    fn metric_top(&self, _: MetricQuery, _: usize) -> BoxFuture<'_, Vec<MetricTopItem>> {
        self.answer()
    }
}

/// That a dropped query stops in the database too is a test of the store.
#[tokio::test]
async fn a_query_is_dropped_when_its_client_goes() {
    let (store, _directory) = store().await;
    let endless = Arc::new(Endless::default());
    let stores = Stores {
        search: Arc::clone(&endless) as Arc<dyn Search>,
        ..Stores::of(Arc::new(store))
    };
    // Without the background loop, whose alerts ask queries too.
    let state = Arc::new(AppState::new(stores, Limits::default()));
    let origin = serve_state(state, ConnectionLimits::default()).await;
    let address = origin.strip_prefix("http://").unwrap();
    for call in [
        "events",
        "events/top?by=reason",
        "events/series",
        "events/export?format=ndjson",
        "metrics",
        "metrics/top?metric=response_time&stat=p95",
        "metrics/series?metric=response_time&stat=p95",
        "overview",
        "passive",
        "addresses/192.0.2.7",
    ] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET {P}/{call} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        assert!(
            endless.wait_until(|running| running > 0).await,
            "{call} was not asked"
        );
        drop(connection);
        assert!(
            endless.wait_until(|running| running == 0).await,
            "{call} went on"
        );
    }
}
