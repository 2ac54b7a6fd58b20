//! Evaluates the alerts of all projects on what was committed.
//!
//! Each evaluation reads the events that arrived since the last one, once for all alerts of a
//! project. [`index`] finds the filters that an event can match, [`counter`] counts it by its own
//! time. What the counts mean is in [`watch`] and [`criteria`], where a group stands in [`state`]. The
//! new states, their notifications and the position in the order of arrival are stored in one
//! transaction ([`project`]): if the server is killed, the next one evaluates again what was not
//! stored.
//!
//! After a start the counts are read from the store ([`fill`]); events that arrived since the
//! stored position are not counted again, but the windows that they belong to are measured.

mod compose;
mod counter;
mod criteria;
mod fill;
mod index;
mod project;
mod seen;
mod sources;
pub(super) mod state;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use self::project::ProjectWatch;
use super::manage::add_defaults;
use crate::clock::Reading;
use crate::store::{AlertLimits, Cursor, Project, ProjectId, StoreError, StoredState, Stores};

/// How often alerts are evaluated.
pub(crate) const EVERY: Duration = Duration::from_secs(10);
/// If the last evaluation was longer ago than this, the server did not run, and received nothing.
const GAP: Duration = Duration::from_secs(60);
/// How much the outbox and the histories may hold.
pub(crate) const LIMITS: AlertLimits = AlertLimits {
    outbox: 10_000,
    history: 1000,
};

/// Names an alert: its project and its id.
pub(crate) type AlertId = (ProjectId, String);

/// Why alerts cannot be evaluated, for those who read them.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<AlertId, String>>);

impl Failures {
    pub(crate) fn set(&self, failures: HashMap<AlertId, String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failures;
    }

    /// Why an alert cannot be evaluated, if it cannot.
    pub(crate) fn of(&self, project: ProjectId, alert: &str) -> Option<String> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&(project, alert.to_owned())).cloned()
    }
}

/// What conditions look at, besides the stores.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outside {
    /// Wrong passwords since the server started.
    pub(crate) wrong_passwords: u64,
    /// Whether records are refused because the disk is full.
    pub(crate) is_full: bool,
}

/// What an evaluation did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Evaluation {
    /// Alerts that were evaluated.
    pub(crate) evaluated: u64,
    /// Alerts that could not be evaluated, and why, if that is new.
    pub(crate) failed: u64,
    pub(crate) new_failures: Vec<String>,
    /// Notifications by state: started, ongoing, ended.
    pub(crate) told: [u64; 3],
    /// Notifications that were left out because the outbox is full.
    pub(crate) left_out: u64,
}

/// Evaluates alerts. It keeps counts in memory; everything that must not be lost is in the store.
#[derive(Debug)]
pub(crate) struct Evaluator {
    projects: HashMap<ProjectId, ProjectWatch>,
    /// The base URL of the dashboard. Empty if it is unknown.
    base: String,
    last: Option<Reading>,
    /// Since when the server could receive without a break, by the uptime.
    receiving_since: Option<Duration>,
    wrong_passwords: Option<u64>,
}

impl Evaluator {
    pub(crate) fn new(base: String) -> Self {
        Self {
            projects: HashMap::new(),
            base,
            last: None,
            receiving_since: None,
            wrong_passwords: None,
        }
    }

    /// Evaluates all alerts once, at the time that `clock` says.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if nothing could be evaluated. Then all alerts stay as they are.
    pub(crate) async fn evaluate(
        &mut self,
        stores: &Stores,
        clock: impl Fn() -> Reading + Send,
        outside: Outside,
    ) -> Result<Evaluation, StoreError> {
        let outcome = match self.located(stores).await {
            Ok(located) => {
                // Only now: an event before a position must have come before this time, because
                // counts that are read from the store end there.
                let reading = clock();
                self.follow(reading);
                self.evaluate_all(stores, located, reading, outside).await
            }
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // Whatever broke may have kept the server from receiving.
            self.receiving_since = None;
        }
        outcome
    }

    /// All projects, with the position after which their events are counted: where the last
    /// evaluation ended, or now.
    async fn located(&self, stores: &Stores) -> Result<Vec<(Project, Cursor)>, StoreError> {
        let mut located = Vec::new();
        for project in stores.projects.projects().await? {
            let watch = self.projects.get(&project.id);
            let position = match watch.and_then(ProjectWatch::position) {
                Some(position) => position.clone(),
                None => match stores.alerts.evaluated(project.id).await? {
                    Some(position) => position,
                    None => stores.arrivals.now(project.id).await?,
                },
            };
            located.push((project, position));
        }
        Ok(located)
    }

    /// Notices breaks, and a clock that was set.
    fn follow(&mut self, reading: Reading) {
        let Some(last) = self.last.replace(reading) else {
            return;
        };
        if reading.uptime.saturating_sub(last.uptime) > GAP {
            self.receiving_since = None;
        }
        if let Some(by) = reading.set_since(last) {
            for project in self.projects.values_mut() {
                project.follow_clock(by, reading.uptime);
            }
        }
    }

    async fn evaluate_all(
        &mut self,
        stores: &Stores,
        projects: Vec<(Project, Cursor)>,
        reading: Reading,
        outside: Outside,
    ) -> Result<Evaluation, StoreError> {
        for (project, _) in &projects {
            if !self.projects.contains_key(&project.id) {
                add_defaults(stores, project, reading.now).await?;
            }
        }
        let mut alerts = by_project(stores.alerts.all_alerts().await?, |it| it.project);
        let has_new = projects
            .iter()
            .any(|(it, _)| !self.projects.contains_key(&it.id));
        let mut states = if has_new {
            by_project(stores.alerts.alert_states().await?, |it: &StoredState| {
                it.project
            })
        } else {
            HashMap::new()
        };
        let receiving_since = *self.receiving_since.get_or_insert_with(|| {
            // The counts of this time are not complete.
            for project in self.projects.values_mut() {
                project.hold_ends(reading.uptime);
            }
            reading.uptime
        });
        let before = self.wrong_passwords.replace(outside.wrong_passwords);
        let new = before.map_or(0, |before| outside.wrong_passwords.saturating_sub(before));
        let round = Round {
            reading,
            receiving: reading.uptime.saturating_sub(receiving_since),
            is_full: outside.is_full,
            new_wrong_passwords: new,
            base: &self.base,
        };
        let mut sum = Evaluation::default();
        self.projects
            .retain(|id, _| projects.iter().any(|(it, _)| it.id == *id));
        for (project, position) in &projects {
            let is_new = !self.projects.contains_key(&project.id);
            let watch = self.projects.entry(project.id).or_default();
            let alerts = alerts.remove(&project.id).unwrap_or_default();
            let states = states.remove(&project.id).unwrap_or_default();
            watch.take_over(alerts, states, round);
            if is_new {
                watch.hold_ends(reading.uptime);
            }
            watch
                .evaluate(stores, project, position, round, &mut sum)
                .await;
        }
        Ok(sum)
    }

    /// Why alerts could not be evaluated the last time.
    pub(crate) fn failures(&self) -> HashMap<AlertId, String> {
        let projects = self.projects.iter();
        projects
            .flat_map(|(id, project)| project.failures().map(|(alert, why)| ((*id, alert), why)))
            .collect()
    }
}

/// One evaluation.
#[derive(Debug, Clone, Copy)]
struct Round<'a> {
    reading: Reading,
    /// For how long the server could receive without a break.
    receiving: Duration,
    is_full: bool,
    new_wrong_passwords: u64,
    base: &'a str,
}

fn by_project<T>(items: Vec<T>, project: impl Fn(&T) -> ProjectId) -> HashMap<ProjectId, Vec<T>> {
    let mut map = HashMap::<_, Vec<T>>::new();
    for item in items {
        map.entry(project(&item)).or_default().push(item);
    }
    map
}
