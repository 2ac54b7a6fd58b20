//! The rules of a server with a test clock.

use guard_server::rules::Provenance;
use guard_server::rules::draft;
use guard_server::rules::operation::{Ban, Operation};
use guard_server::rules::policy::Entry;
use guard_server::rules::versions::{compose_due, put, remove, roll_back};
use guard_server::store::{Change, ProjectId, Projects as _, RulesStore as _, StoredRules};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{Server, Setup};

pub(crate) struct Book {
    pub(crate) server: Server,
    pub(crate) now: Timestamp,
    project: ProjectId,
}

impl Book {
    /// Opens the rules of a server without background work.
    pub(crate) async fn open() -> Self {
        let setup = Setup {
            is_maintained: false,
            ..Setup::default()
        };
        let server = setup.start().await;
        let project = server.store.project_named("default").await;
        Self {
            project: project.unwrap().unwrap().id,
            now: "2999-01-01T00:00:00Z".parse().unwrap(),
            server,
        }
    }

    /// Adds an operation, for this many seconds or without end.
    pub(crate) async fn make(&self, operation: Operation, seconds: Option<i64>) {
        let by = Provenance {
            confirmed: true,
            ..Provenance::default()
        };
        let entry = Entry::new(operation, seconds, &by, self.now).unwrap();
        put(&*self.server.store, self.project, &entry, &by, self.now)
            .await
            .unwrap();
    }

    pub(crate) async fn ban(&self, ip: &str, seconds: Option<i64>) {
        self.make(Operation::Ban(Ban { ip: ip.to_owned() }), seconds)
            .await;
    }

    /// Lifts a ban.
    pub(crate) async fn lift(&self, ip: &str) {
        let ban = Operation::Ban(Ban { ip: ip.to_owned() });
        remove(
            &*self.server.store,
            self.project,
            ban,
            &Provenance::default(),
            self.now,
        )
        .await
        .unwrap();
    }

    pub(crate) async fn publish(&self, document: Value) {
        let (store, document) = (&*self.server.store, document.to_string());
        let save = draft::save(
            store,
            self.project,
            document.as_bytes(),
            None,
            self.now,
            None,
        );
        save.await.unwrap();
        let checked = draft::check(store, self.project, self.now).await.unwrap();
        draft::publish(
            store,
            self.project,
            checked,
            &Provenance::default(),
            self.now,
        )
        .await
        .unwrap();
    }

    pub(crate) async fn roll_back(&self, version: i64) {
        let (store, by) = (&*self.server.store, Provenance::default());
        roll_back(store, self.project, version, &by, self.now)
            .await
            .unwrap();
    }

    pub(crate) async fn stored(&self) -> StoredRules {
        self.server
            .store
            .rules(self.project)
            .await
            .unwrap()
            .unwrap()
    }

    /// The document in force.
    pub(crate) async fn document(&self) -> Value {
        serde_json::from_str(&self.stored().await.document).unwrap()
    }

    /// The banned addresses and the unbanned ones.
    pub(crate) async fn bans(&self) -> (Value, Value) {
        let rules = self.document().await;
        (rules["ip_blacklist"].clone(), rules["ip_whitelist"].clone())
    }

    /// Advances the clock. Returns the document in force then, and the length of its lease.
    pub(crate) async fn later(&mut self, seconds: i64) -> (Value, i64) {
        self.now += SignedDuration::from_secs(seconds);
        compose_due(&*self.server.store, self.now).await.unwrap();
        let lease = self.stored().await.lease_ends;
        let lease = lease.map_or(0, |ends| ends.as_second() - self.now.as_second());
        (self.document().await, lease)
    }

    /// The versions that are kept, newest first.
    pub(crate) async fn history(&self) -> Vec<(i64, Change)> {
        let history = self
            .server
            .store
            .rules_history(self.project, i64::MAX, 2000);
        history.await.unwrap()
    }
}

/// Parses an operation from JSON fields.
pub(crate) fn operation(kind: &str, fields: Value) -> Operation {
    let mut operation = fields;
    operation["kind"] = json!(kind);
    serde_json::from_value(operation).unwrap()
}
