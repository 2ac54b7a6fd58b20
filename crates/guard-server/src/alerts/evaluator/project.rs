//! The alerts of one project.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::compose::{self, Subject};
use super::fill::fill;
use super::index::FilterIndex;
use super::sources::{Said, View};
use super::state::{Finding, GroupKey, GroupState, Moment, Step, advance};
use super::watch::{Arrival, Source, Watch, with_rest};
use super::{Evaluation, LIMITS, Round};
use crate::fingerprint::fingerprint;
use crate::query::{Utc, filter};
use crate::store::{
    AlertCommit, AlertUpdate, ArrivalQuery, Cursor, NewHistory, NewNotification, Project,
    StoreError, StoredAlert, StoredState, Stores,
};

/// Events that are read at once.
const SLICE: u16 = 1000;
/// Bytes of events that are read at once.
const SLICE_BYTES: usize = 4 << 20;
/// After this many slices, counts are read from the store instead.
const MAX_SLICES: usize = 500;
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

/// What became of a watch.
struct Outcome {
    watch: usize,
    states: Vec<(GroupKey, Option<GroupState>)>,
    told: Vec<usize>,
    update: AlertUpdate,
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

    /// Evaluates each alert once, and stores what changed.
    pub(super) async fn evaluate(
        &mut self,
        stores: &Stores,
        project: &Project,
        round: Round<'_>,
        sum: &mut Evaluation,
    ) {
        let limit = self.limit();
        let read = self.follow_events(stores, project, round, limit).await;
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

    /// Reads what arrived since the last evaluation. Returns the new position.
    async fn follow_events(
        &mut self,
        stores: &Stores,
        project: &Project,
        round: Round<'_>,
        limit: usize,
    ) -> Result<Option<Cursor>, StoreError> {
        let mut position = match self.position.clone() {
            Some(position) => position,
            None => match stores.alerts.evaluated(project.id).await? {
                Some(position) => position,
                None => stores.arrivals.now(project.id).await?,
            },
        };
        for watch in &mut self.watches {
            if let Err(error) = fill(watch, stores, project.id, round.reading.now, limit).await {
                // It is tried again in the next round.
                tracing::debug!(%error, alert = watch.stored.id, "cannot read the counts of an alert");
            }
        }
        let begun = position.clone();
        for _ in 0..MAX_SLICES {
            if self.routes.is_empty() {
                position = stores.arrivals.now(project.id).await?;
                break;
            }
            let query = ArrivalQuery {
                project: project.id,
                after: position,
                until: None,
                limit: SLICE,
                bytes: SLICE_BYTES,
            };
            let slice = match stores.arrivals.arrivals(query).await {
                Err(StoreError::ExpiredCursor | StoreError::InvalidCursor) => {
                    return self.start_over(stores, project).await;
                }
                slice => slice?,
            };
            for arrived in &slice.events {
                self.arrived(&arrived.event, round, limit);
            }
            position = slice.next;
            if slice.is_complete {
                let has_moved = position != begun || self.position.is_none();
                self.position = Some(position.clone());
                return Ok(has_moved.then_some(position));
            }
        }
        if self.routes.is_empty() {
            self.position = Some(position);
            return Ok(None);
        }
        self.start_over(stores, project).await
    }

    /// Reads counts from the store in the next round, because events cannot be followed from here.
    async fn start_over(
        &mut self,
        stores: &Stores,
        project: &Project,
    ) -> Result<Option<Cursor>, StoreError> {
        let position = stores.arrivals.now(project.id).await?;
        for watch in &mut self.watches {
            if let Source::Events(counts) = &mut watch.source {
                counts.filled_at = None;
            }
        }
        self.position = Some(position.clone());
        Ok(Some(position))
    }

    fn arrived(&mut self, event: &crate::store::StoredEvent, round: Round<'_>, limit: usize) {
        let Ok(body) = serde_json::from_str::<Map<String, Value>>(event.body.get()) else {
            return;
        };
        let record = filter::Subject {
            body: &body,
            timestamp: Some(event.timestamp),
            install_id: event.install_id.as_deref(),
        };
        let arrival = Arrival {
            record,
            timestamp: event.timestamp,
            received_at: event.received_at,
            now: round.reading.now,
            limit,
        };
        for number in self.index.matching(record) {
            for watch in &self.routes[number] {
                self.watches[*watch].arrived(arrival);
            }
        }
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

/// What becomes of a watch that was evaluated. `None` if nothing changed.
async fn outcome(
    at: usize,
    watch: &Watch,
    findings: Vec<Finding>,
    stores: &Stores,
    project: &Project,
    round: Round<'_>,
) -> Option<Outcome> {
    let reading = round.reading;
    let settings = &watch.rule.settings;
    let interval = i64::try_from(settings.update_interval_s).unwrap_or(i64::MAX);
    let moment = Moment {
        now: reading.now,
        uptime: reading.uptime,
        can_end: reading.uptime >= watch.can_end_from,
        is_silenced: watch.rule.is_silenced(reading.now),
        interval: SignedDuration::from_secs(interval),
    };
    let mut outcome = Outcome {
        watch: at,
        states: Vec::new(),
        told: Vec::new(),
        update: AlertUpdate {
            alert: watch.stored.id.clone(),
            ..AlertUpdate::default()
        },
    };
    if let Source::Values(values) = &watch.source
        && let Some(seen) = &values.seen
    {
        outcome.update.seen.clone_from(&seen.added);
        outcome.update.forgotten.clone_from(&seen.forgotten);
    }
    let findings: BTreeMap<_, _> = findings
        .into_iter()
        .map(|it| (it.group.clone(), it))
        .collect();
    let groups: HashSet<_> = watch.states.keys().chain(findings.keys()).collect();
    for group in groups {
        let old = watch.states.get(group);
        let (state, step) = advance(old.cloned(), findings.get(group), moment);
        if let Some(step) = step {
            let told = state.as_ref().or(old);
            // A state that ends at once is in neither.
            let Some(about) = told else { continue };
            let about = ended(about, step, moment);
            let subject = Subject {
                project,
                watch,
                group,
                state: &about,
                step,
                now: reading.now,
                base: round.base,
            };
            tell(subject, stores, &mut outcome).await;
        }
        if state.as_ref() != old {
            let content = state.as_ref().and_then(|it| serde_json::to_string(it).ok());
            let is_stored = step.is_some() || state.is_none();
            if is_stored {
                outcome.update.states.push((group.to_text(), content));
            }
            outcome.states.push((group.clone(), state));
        }
    }
    let is_empty = outcome.states.is_empty() && outcome.update.is_empty();
    (!is_empty).then_some(outcome)
}

/// The state that a step is about; one that has just ended is no longer stored.
fn ended(state: &GroupState, step: Step, moment: Moment) -> GroupState {
    use crate::alerts::notification::NotificationState::Ended;
    let ended_at = (step.state == Ended).then(|| state.ended_at.unwrap_or(moment.now));
    GroupState {
        ended_at,
        ..state.clone()
    }
}

/// Adds what happened to the history and, for each channel, to the outbox.
async fn tell(subject: Subject<'_>, stores: &Stores, outcome: &mut Outcome) {
    let notification = compose::compose(subject, stores).await;
    let (rule, at) = (&subject.watch.rule, subject.now);
    let step = subject.step;
    let mut entry = serde_json::json!({
        "event": step.state,
        "told": step.is_told,
        "summary": notification.summary,
        "group": notification.group,
        "since": Utc(notification.since),
        "count": notification.count,
        "top_addresses": notification.top_addresses,
        "top_endpoints": notification.top_endpoints,
        "links": notification.links,
        "channels": [],
    });
    if step.is_told {
        outcome.told.push(step.state as usize);
        entry["channels"] = rule.settings.channels.clone().into();
        for channel in &rule.settings.channels {
            let parts = [
                &subject.project.name,
                &rule.id,
                &subject.group.to_text(),
                step.state.name(),
                &at.to_string(),
                channel,
            ];
            let id = fingerprint(&parts);
            let notification = crate::alerts::Notification {
                id: id.clone(),
                ..notification.clone()
            };
            let Ok(content) = serde_json::to_string(&notification) else {
                continue;
            };
            outcome.update.outbox.push(NewNotification {
                id,
                channel: channel.clone(),
                created_at: at,
                content,
            });
        }
    }
    outcome.update.history.push(NewHistory {
        at,
        content: entry.to_string(),
    });
}
