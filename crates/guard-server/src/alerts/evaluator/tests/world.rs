//! A project whose time passes only when a test says so.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::alerts::evaluator::{Evaluation, Evaluator, Outside};
use crate::alerts::manage;
use crate::alerts::shop::shop;
use crate::clock::Reading;
use crate::fleet::subscribers::policy;
use crate::ingest::intake::Intake;
use crate::people::Actor;
use crate::store::{AgentId, AgentSignal, CheckIn, Project, StatusReport, StoreError, Stores};

/// The time between two evaluations.
const EVERY: u32 = 10;

pub(super) struct World {
    pub(super) stores: Stores,
    /// What evaluations read. A test may replace a store in it.
    pub(super) seen: Stores,
    pub(super) project: Project,
    pub(super) evaluator: Evaluator,
    pub(super) reading: Reading,
    pub(super) outside: Outside,
    events: u32,
    directory: TempDir,
}

impl World {
    /// A project without the default alerts.
    pub(super) async fn new() -> Self {
        let (directory, stores, project) = shop().await;
        let none = stores.alerts.add_default_alerts(project.id, Vec::new());
        none.await.unwrap();
        Self {
            seen: stores.clone(),
            stores,
            project,
            evaluator: Evaluator::new("https://guard.example".to_owned()),
            reading: Reading {
                now: "2026-11-30T12:00:00Z".parse().unwrap(),
                uptime: Duration::from_secs(1000),
            },
            outside: Outside::default(),
            events: 0,
            directory,
        }
    }

    /// Adds an alert. Returns its id.
    pub(super) async fn alert(&self, condition: Value) -> String {
        self.alert_with(json!({ "label": "It", "condition": condition }))
            .await
    }

    pub(super) async fn alert_with(&self, settings: Value) -> String {
        let now = self.reading.now;
        let added = manage::add_alert(&self.stores, &self.project, settings, &Actor::CLI, now);
        added.await.unwrap().rule.id
    }

    /// `n` events of now with these fields arrive.
    pub(super) async fn events(&mut self, n: u32, fields: Value) {
        self.events_at(self.reading.now, n, fields).await;
    }

    /// `n` events of that time arrive now.
    pub(super) async fn events_at(&mut self, at: Timestamp, n: u32, fields: Value) {
        let event = |number: u32| {
            let mut event = json!({
                "idempotency_key": format!("e{number}"), "timestamp": at, "event_type": "x",
            });
            let event = event.as_object_mut().unwrap();
            event.extend(fields.as_object().unwrap().clone());
            Value::Object(event.clone())
        };
        let events: Vec<_> = (self.events..self.events + n).map(event).collect();
        self.events += n;
        let body = json!({ "events": events, "metrics": [] }).to_string();
        let intake = Intake::read(self.project.id, body.as_bytes(), None, 100_000).unwrap();
        assert!(intake.left_out.is_empty());
        let mut batch = intake.batch;
        batch.received_at = self.reading.now;
        self.stores.telemetry.append(batch, 100).await.unwrap();
    }

    /// An agent reports its status now.
    pub(super) async fn report(&self, install_id: &str, uptime_s: u32) {
        let body = json!({ "install_id": install_id, "hostname": "web", "uptime": uptime_s });
        let report = StatusReport {
            project: self.project.id,
            install_id: install_id.to_owned(),
            received_at: self.reading.now,
            body: body.to_string(),
        };
        let room = crate::store::Room {
            installs: 100,
            silent_for: SignedDuration::from_hours(1),
        };
        self.stores.fleet.save_report(report, room).await.unwrap();
    }

    /// A process on its own host sends a signal about rules now.
    pub(super) async fn signal(&self, process: &str, signal: AgentSignal) {
        let check_in = CheckIn {
            project: self.project.id,
            agent: AgentId {
                install_id: format!("install-{process}"),
                process: process.to_owned(),
                agent: "guard-agent/3".to_owned(),
            },
            at: self.reading.now,
            signal,
        };
        let saved = self
            .stores
            .fleet
            .save_check_ins(vec![check_in].into(), policy(100));
        saved.await.unwrap();
    }

    /// Lets time pass without an evaluation.
    pub(super) fn pass(&mut self, seconds: u32) {
        self.reading.uptime += Duration::from_secs(seconds.into());
        self.reading.now += SignedDuration::from_secs(seconds.into());
    }

    pub(super) async fn evaluate(&mut self) -> Result<Evaluation, StoreError> {
        let reading = self.reading;
        self.evaluator
            .evaluate(&self.seen, || reading, self.outside)
            .await
    }

    /// Lets time pass, with an evaluation every 10 seconds.
    pub(super) async fn run(&mut self, seconds: u32) {
        for _ in 0..seconds / EVERY {
            self.pass(EVERY);
            self.evaluate().await.unwrap();
        }
    }

    /// The server starts again, with nothing but what is stored.
    pub(super) fn restart(&mut self) {
        self.evaluator = Evaluator::new("https://guard.example".to_owned());
    }

    /// Moves the database away: nothing can be stored any more, but open connections can read.
    pub(super) fn misplace_store(&self) {
        let path = self.directory.path();
        std::fs::rename(path.join("guard.db"), path.join("away")).unwrap();
    }

    pub(super) fn put_store_back(&self) {
        let path = self.directory.path();
        std::fs::rename(path.join("away"), path.join("guard.db")).unwrap();
    }

    /// What happened to an alert, the oldest first.
    pub(super) async fn history(&self, alert: &str) -> Vec<Value> {
        let page = self
            .stores
            .alerts
            .alert_history(self.project.id, alert, None, 1000);
        let items = page.await.unwrap().items.into_iter().rev();
        items
            .map(|entry| serde_json::from_str(&entry.content).unwrap())
            .collect()
    }

    /// The notifications of an alert, oldest first.
    pub(super) async fn told(&self, alert: &str) -> Vec<String> {
        let history = self.history(alert).await.into_iter();
        let told = history.filter(|entry| entry["told"] == true);
        told.map(|entry| entry["event"].as_str().unwrap().to_owned())
            .collect()
    }
}
