//! Databases for tests, on the PostgreSQL of this process. Each test has its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use super::super::{OpenError, Postgres, Server};
use crate::store::{Progress, engines};

/// The database with the schema that others are copied from.
const TEMPLATE: &str = "template_guard";

/// A start that does not wait for others.
pub(super) const NO_TIME: Duration = Duration::ZERO;

/// A database that is removed when this is dropped.
pub(in crate::store) struct Database {
    name: String,
}

impl Database {
    /// A database without tables.
    pub(in crate::store) async fn empty() -> Self {
        Self::create("TEMPLATE template0").await
    }

    /// A database with the schema of today.
    pub(in crate::store) async fn migrated() -> Self {
        static IS_MADE: OnceCell<()> = OnceCell::const_new();
        IS_MADE
            .get_or_init(|| async {
                let create = format!("CREATE DATABASE {TEMPLATE}");
                admin().await.batch_execute(&create).await.unwrap();
                let url = url_of(TEMPLATE);
                Postgres::open(&url, &Progress::default()).await.unwrap();
            })
            .await;
        Self::create(&format!("TEMPLATE {TEMPLATE}")).await
    }

    /// A database that is created with these options.
    pub(super) async fn create(options: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name} {options}");
        admin().await.batch_execute(&create).await.unwrap();
        Self { name }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
    pub(in crate::store) fn url(&self) -> String {
        url_of(&self.name)
    }

    /// Its URL for another user and with another `sslmode`.
    pub(super) fn url_with(&self, user: &str, mode: &str) -> String {
        let url = self.url().replace("guard@", &format!("{user}@"));
        url.replace("sslmode=disable", &format!("sslmode={mode}"))
    }

    /// A store on it, as another node has.
    pub(in crate::store) async fn open(&self) -> Arc<Postgres> {
        Arc::new(self.try_open(&self.url()).await.unwrap())
    }

    /// Opens it by this URL, without waiting for others.
    pub(super) async fn try_open(&self, url: &str) -> Result<Postgres, OpenError> {
        let server = Server::of(url)?;
        Postgres::open_at(server, &Progress::default(), NO_TIME).await
    }

    /// A connection that no store knows.
    pub(in crate::store) async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// Runs statements on a connection that no store knows.
    pub(super) async fn run(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    /// The first column of the first row that a query returns.
    pub(super) async fn number(&self, sql: &str) -> i64 {
        self.client()
            .await
            .query_one(sql, &[])
            .await
            .unwrap()
            .get(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let remove = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let remove = async move { admin().await.batch_execute(&remove).await };
        let removing = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(remove).unwrap();
        });
        removing.join().expect("the database is removed");
    }
}

/// A connection to the database that is always there.
pub(super) async fn admin() -> Client {
    connect(engines::postgres()).await
}

fn url_of(database: &str) -> String {
    engines::postgres().replace("/postgres?", &format!("/{database}?"))
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
