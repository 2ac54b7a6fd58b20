//! The alerts of one project: `follow` counts the events that arrived, `groups` limits the groups,
//! and `outcome` says what is stored and told.

mod follow;
mod groups;
mod outcome;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use self::groups::with_rest;
use self::outcome::{Outcome, outcome};
use super::index::FilterIndex;
use super::sources::{Said, View};
use super::state::{Finding, GroupKey};
use super::watch::{Source, Watch};
use super::{Evaluation, LIMITS, Round};
use crate::store::{AlertCommit, Cursor, Project, StoreError, StoredAlert, StoredState, Stores};

/// The most counts in memory for the alerts of a project, unless it has very many of them.
const MAX_CELLS: usize = 4_000_000;
/// After a start, alerts whose window is longer may end after this time.
const MAX_HOLD: Duration = Duration::from_secs(600);

/// The alerts of one project.
#[derive(Debug, Default)]
pub(super) struct ProjectWatch {
    watches: Vec<Watch>,
    index: FilterIndex,
    /// For each filter of the index, the watches that need it.
    routes: Vec<Vec<usize>>,
    /// The position in the order of arrival up to which events were counted.
    position: Option<Cursor>,
}

impl ProjectWatch {
    /// Takes over the alerts as they are stored now. Those that did not change keep their counts.
    pub(super) fn take_over(
        &mut self,
        alerts: Vec<StoredAlert>,
        states: Vec<StoredState>,
        round: Round<'_>,
    ) {
        let same = self.watches.iter().map(|it| &it.stored).eq(&alerts);
        if same && states.is_empty() {
            return;
        }
        let mut old: HashMap<_, _> = self
            .watches
            .drain(..)
            .map(|watch| (watch.stored.id.clone(), watch))
            .collect();
        for alert in alerts {
            let known = old.remove(&alert.id);
            self.watches.extend(match known {
                Some(mut watch) if watch.stored.content == alert.content => {
                    watch.rule.muted_until = alert.muted_until;
                    watch.stored = alert;
                    Some(watch)
                }
                known => Watch::new(alert).map(|watch| Watch {
                    states: known.map(|it| it.states).unwrap_or_default(),
                    can_end_from: round.reading.uptime,
                    ..watch
                }),
            });
        }
        for state in states {
            let watch = self
                .watches
                .iter_mut()
                .find(|it| it.stored.id == state.alert);
            if let (Some(watch), Ok(content)) = (watch, serde_json::from_str(&state.content)) {
                watch
                    .states
                    .insert(GroupKey::of_text(&state.group), content);
            }
        }
        self.route();
    }

    /// Puts the filters of all watches into the index; equal ones once.
    fn route(&mut self) {
        let (mut numbers, mut filters) = (HashMap::new(), Vec::new());
        self.routes.clear();
        for (watch, it) in self.watches.iter().enumerate() {
            let Some(filter) = it.filter().filter(|_| it.rule.settings.enabled) else {
                continue;
            };
            let number = *numbers.entry(filter.to_string()).or_insert_with(|| {
                filters.push(Arc::clone(filter));
                self.routes.push(Vec::new());
                filters.len() - 1
            });
            self.routes[number].push(watch);
        }
        self.index = FilterIndex::new(filters);
    }

    /// Moves all times with the clock. Until a whole window has passed, no alert ends.
    pub(super) fn follow_clock(&mut self, by: SignedDuration, uptime: Duration) {
        for watch in &mut self.watches {
            watch.follow_clock(by);
            let window = watch.window().unsigned_abs();
            watch.can_end_from = watch.can_end_from.max(uptime + window);
        }
    }

    /// Lets no alert end until counts are complete again.
    pub(super) fn hold_ends(&mut self, uptime: Duration) {
        for watch in &mut self.watches {
            let hold = watch.window().unsigned_abs().min(MAX_HOLD);
            watch.can_end_from = watch.can_end_from.max(uptime + hold);
        }
    }

    pub(super) fn failures(&self) -> impl Iterator<Item = (String, String)> {
        let failed = |watch: &Watch| Some((watch.stored.id.clone(), watch.failure.clone()?));
        self.watches.iter().filter_map(failed)
    }

    /// The position up to which events were counted. `None` before they are.
    pub(super) const fn position(&self) -> Option<&Cursor> {
        self.position.as_ref()
    }

    /// Evaluates each alert once on what arrived after `begin`, and stores what changed.
    pub(super) async fn evaluate(
        &mut self,
        stores: &Stores,
        project: &Project,
        begin: &Cursor,
        round: Round<'_>,
        sum: &mut Evaluation,
    ) {
        let limit = self.limit();
        let read = self
            .follow_events(stores, project, begin, round, limit)
            .await;
        let position = read.as_ref().ok().cloned().flatten();
        let mut said = Said::default();
        let mut outcomes = Vec::new();
        for at in 0..self.watches.len() {
            let found = self.findings(at, stores, project, round, &mut said).await;
            let needs_events = self.watches[at].filter().is_some();
            let found = match &read {
                Err(error) if needs_events => Err(*error),
                _ => found,
            };
            let watch = &mut self.watches[at];
            match found {
                Ok(findings) => {
                    watch.failure = None;
                    sum.evaluated += 1;
                    let findings = with_rest(findings, &watch.states);
                    outcomes.extend(outcome(at, watch, findings, stores, project, round).await);
                }
                // What cannot be evaluated stays as it is.
                Err(error) => {
                    sum.failed += 1;
                    let why = error.to_string();
                    if watch.failure.replace(why).is_none() {
                        let label = &watch.rule.settings.label;
                        sum.new_failures
                            .push(format!("{} / {label}: {error}", project.name));
                    }
                }
            }
        }
        self.commit(stores, project, position, outcomes, sum).await;
    }

    /// The most counts of one alert.
    fn limit(&self) -> usize {
        let counted = self
            .watches
            .iter()
            .filter(|it| it.filter().is_some())
            .count();
        (MAX_CELLS / counted.max(1)).clamp(2000, 20_000)
    }

    async fn findings(
        &mut self,
        at: usize,
        stores: &Stores,
        project: &Project,
        round: Round<'_>,
        said: &mut Said,
    ) -> Result<Vec<Finding>, StoreError> {
        let watch = &mut self.watches[at];
        if !watch.rule.settings.enabled {
            return Ok(Vec::new());
        }
        if let Source::Tally(counter) = &mut watch.source {
            let (now, n) = (round.reading.now, round.new_wrong_passwords);
            counter.fill(None, now, n, now, usize::MAX);
        }
        if let Source::Store = watch.source {
            let view = View {
                project,
                now: round.reading.now,
                receiving: round.receiving,
                is_full: round.is_full,
            };
            let condition = &watch.rule.settings.condition;
            return said.findings(condition, stores, view).await;
        }
        let findings = watch.findings(round.reading.now);
        findings.ok_or(StoreError::Unavailable)
    }

    /// Stores what changed, and only then takes it over.
    async fn commit(
        &mut self,
        stores: &Stores,
        project: &Project,
        position: Option<Cursor>,
        outcomes: Vec<Outcome>,
        sum: &mut Evaluation,
    ) {
        let updates = outcomes.iter().map(|it| &it.update);
        let updates: Vec<_> = updates.filter(|it| !it.is_empty()).cloned().collect();
        let stored = if position.is_none() && updates.is_empty() {
            Ok(0)
        } else {
            let commit = AlertCommit {
                project: project.id,
                position,
                updates,
            };
            stores.alerts.commit_alerts(commit, LIMITS).await
        };
        match stored {
            Ok(left_out) => {
                sum.left_out += left_out as u64;
                for outcome in outcomes {
                    outcome.told.iter().for_each(|at| sum.told[*at] += 1);
                    self.watches[outcome.watch].take_over(outcome.states);
                }
            }
            Err(error) => {
                // What was measured is measured again from the stored position.
                tracing::debug!(%error, project = project.name, "cannot store where alerts stand");
                self.position = None;
                self.watches.iter_mut().for_each(Watch::forget);
                sum.failed += outcomes.len() as u64;
            }
        }
    }
}
