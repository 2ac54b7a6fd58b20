//! What becomes of one alert in one evaluation: the new states of its groups, its history, and the
//! notifications for its channels.

use std::collections::{BTreeMap, HashSet};

use jiff::SignedDuration;

use super::super::Round;
use super::super::compose::{self, Subject};
use super::super::state::{Finding, GroupKey, GroupState, Moment, Step, advance};
use super::super::watch::{Source, Watch};
use crate::alerts::Notification;
use crate::alerts::notification::NotificationState::Ended;
use crate::fingerprint::fingerprint;
use crate::query::Utc;
use crate::store::{AlertUpdate, NewHistory, NewNotification, Project, Stores};

/// What became of a watch.
pub(super) struct Outcome {
    /// Its place among the watches of the project.
    pub(super) watch: usize,
    /// The new state of each group that changed.
    pub(super) states: Vec<(GroupKey, Option<GroupState>)>,
    /// The states that receivers are told, as numbers.
    pub(super) told: Vec<usize>,
    /// The change to store.
    pub(super) update: AlertUpdate,
}

/// What becomes of a watch that was evaluated. `None` if nothing changed.
pub(super) async fn outcome(
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
            let notification = Notification {
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
