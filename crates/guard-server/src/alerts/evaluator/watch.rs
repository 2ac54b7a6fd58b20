//! One alert while it is evaluated: what it counts, and what that means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::counter::{Counter, Measure, Window};
use super::criteria::{in_window, is_over, needed};
use super::seen::{NAMED, SeenValues};
use super::state::{Finding, GroupKey, GroupState};
use crate::alerts::condition::FirstSeen;
use crate::alerts::{AlertRule, AlertSettings, Condition};
use crate::query::filter::{Field, Filter, Subject};
use crate::query::group::{Key, key_of};
use crate::store::StoredAlert;

/// One alert while it is evaluated.
#[derive(Debug)]
pub(super) struct Watch {
    /// The alert as it is stored.
    pub(super) stored: StoredAlert,
    pub(super) rule: AlertRule,
    pub(super) source: Source,
    /// The groups that are not calm.
    pub(super) states: BTreeMap<GroupKey, GroupState>,
    /// From then on alerts may end, by the uptime: counts cover a whole window.
    pub(super) can_end_from: Duration,
    /// Why it could not be evaluated.
    pub(super) failure: Option<String>,
}

/// What an alert is evaluated on.
#[derive(Debug)]
pub(super) enum Source {
    /// Counts of the events that match.
    Events(EventCounts),
    /// The values of a field in the events that match.
    Values(EventValues),
    /// Something that the server counts itself.
    Tally(Counter),
    /// What a store says at each evaluation.
    Store,
}

/// Counts of the events that match a filter.
#[derive(Debug)]
pub(super) struct EventCounts {
    pub(super) filter: Arc<Filter>,
    pub(super) group: Option<Field>,
    pub(super) window: Window,
    pub(super) counter: Counter,
    /// Events received before are counted. `None` before anything is.
    pub(super) filled_at: Option<Timestamp>,
}

/// The values of a field in the events that match a filter.
#[derive(Debug)]
pub(super) struct EventValues {
    pub(super) filter: Arc<Filter>,
    pub(super) field: Field,
    /// `None` before they are read from the store.
    pub(super) seen: Option<SeenValues>,
}

impl Watch {
    /// Reads a stored alert. `None` if it cannot be read, which only a newer version could write.
    pub(super) fn new(stored: StoredAlert) -> Option<Self> {
        let json = serde_json::from_str(&stored.content).ok()?;
        let rule = AlertRule {
            id: stored.id.clone(),
            settings: AlertSettings::read(json).ok()?,
            muted_until: stored.muted_until,
        };
        let source = Source::of(&rule.settings)?;
        Some(Self {
            stored,
            rule,
            source,
            states: BTreeMap::new(),
            can_end_from: Duration::ZERO,
            failure: None,
        })
    }

    /// The filter of the events that it needs.
    pub(super) fn filter(&self) -> Option<&Arc<Filter>> {
        match &self.source {
            Source::Events(counts) => Some(&counts.filter),
            Source::Values(values) => Some(&values.filter),
            Source::Tally(_) | Source::Store => None,
        }
    }

    /// The time that its condition looks back.
    pub(super) fn window(&self) -> SignedDuration {
        let seconds = match &self.rule.settings.condition {
            Condition::Threshold(it) => it.window_s,
            Condition::Rise(it) => it.window_s,
            Condition::FirstSeen(it) => it.window_s,
            Condition::Losses(it) | Condition::SignInFailures(it) => it.window_s,
            Condition::AgentSilent(_) | Condition::Storage(_) | Condition::RuleRejected(_) => 0,
        };
        SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// Takes in an event that matches the filter.
    pub(super) fn arrived(&mut self, event: Arrival<'_>) {
        match &mut self.source {
            Source::Events(counts) => counts.arrived(event),
            Source::Values(values) => values.arrived(event),
            Source::Tally(_) | Source::Store => {}
        }
    }

    /// What the counts mean. `None` if they are not known yet, or are not kept here.
    pub(super) fn findings(&mut self, now: Timestamp) -> Option<Vec<Finding>> {
        let condition = &self.rule.settings.condition;
        match (&mut self.source, condition) {
            (Source::Events(counts), condition) => {
                counts.filled_at?;
                let states = &self.states;
                let baseline = |group: &GroupKey| states.get(group)?.baseline;
                counts.counter.expire(now);
                Some(counts.findings(condition, now, baseline))
            }
            (Source::Values(values), Condition::FirstSeen(it)) => {
                let seen = values.seen.as_mut().filter(|seen| seen.is_learned())?;
                Some(new_values(seen, it, now))
            }
            (Source::Tally(counter), Condition::SignInFailures(it)) => {
                counter.expire(now);
                let all = counter.measure(now, |_| false);
                let count = all.first().map(|(_, current, _)| *current);
                Some(
                    count
                        .and_then(|count| in_window(it, count))
                        .into_iter()
                        .collect(),
                )
            }
            _ => None,
        }
    }

    /// Takes over states that are stored now.
    pub(super) fn take_over(&mut self, states: Vec<(GroupKey, Option<GroupState>)>) {
        for (group, state) in states {
            match state {
                Some(state) => self.states.insert(group, state),
                None => self.states.remove(&group),
            };
        }
        if let Source::Values(EventValues {
            seen: Some(seen), ..
        }) = &mut self.source
        {
            seen.added.clear();
            seen.forgotten.clear();
        }
    }

    /// Forgets what was counted: it is read from the store again.
    pub(super) fn forget(&mut self) {
        match &mut self.source {
            Source::Events(counts) => counts.filled_at = None,
            Source::Values(values) => values.seen = None,
            Source::Tally(_) | Source::Store => {}
        }
    }

    /// Moves its times with the clock, and forgets counts that were made by the other time.
    pub(super) fn follow_clock(&mut self, by: SignedDuration) {
        for state in self.states.values_mut() {
            state.follow_clock(by);
        }
        match &mut self.source {
            Source::Events(counts) => {
                counts.counter.clear();
                counts.filled_at = counts.filled_at.map(|_| Timestamp::MIN);
            }
            Source::Values(values) => {
                if let Some(seen) = &mut values.seen {
                    seen.follow_clock(by);
                }
            }
            Source::Tally(counter) => counter.clear(),
            Source::Store => {}
        }
    }
}

/// An event that arrived and matches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) record: Subject<'a>,
    pub(super) timestamp: Timestamp,
    pub(super) received_at: Timestamp,
    pub(super) now: Timestamp,
    /// The most counts of one alert.
    pub(super) limit: usize,
}

impl Source {
    fn of(settings: &AlertSettings) -> Option<Self> {
        let condition = &settings.condition;
        let counts = |window_s, has_baseline| {
            let window = Window::new(window_s, has_baseline);
            Some(Self::Events(EventCounts {
                filter: condition.filter()?,
                group: settings.group_field(),
                window,
                counter: Counter::new(window),
                filled_at: None,
            }))
        };
        match condition {
            Condition::Threshold(it) => counts(it.window_s, false),
            Condition::Rise(it) => counts(it.window_s, true),
            Condition::FirstSeen(it) => Some(Self::Values(EventValues {
                filter: condition.filter()?,
                field: it.field()?,
                seen: None,
            })),
            Condition::SignInFailures(it) => {
                Some(Self::Tally(Counter::new(Window::new(it.window_s, false))))
            }
            _ => Some(Self::Store),
        }
    }
}

impl EventCounts {
    fn arrived(&mut self, event: Arrival<'_>) {
        let Some(filled_at) = self.filled_at else {
            return;
        };
        let group = self.group.as_ref();
        let key = group.and_then(|field| key_of(field, event.record));
        if event.received_at < filled_at {
            self.counter.touch(&key, event.timestamp, event.now);
        } else {
            self.counter
                .add(key, event.timestamp, event.now, event.limit);
        }
    }

    fn findings(
        &mut self,
        condition: &Condition,
        now: Timestamp,
        baseline: impl Fn(&GroupKey) -> Option<u64>,
    ) -> Vec<Finding> {
        let has_groups = self.group.is_some();
        let measures = self.counter.measure(now, |it| is_over(condition, it));
        let finding = |(key, current, peak): (Key, Measure, Measure)| {
            let group = if has_groups {
                GroupKey::Value(key)
            } else {
                GroupKey::Whole
            };
            let over = [current, peak]
                .into_iter()
                .find(|it| is_over(condition, it));
            let needed = needed(condition, baseline(&group));
            let measure = over.or_else(|| (current.count >= needed).then_some(current))?;
            let is_rise = matches!(condition, Condition::Rise(_));
            Some(Finding {
                group,
                is_over: over.is_some(),
                count: measure.count,
                baseline: is_rise.then_some(measure.before),
                since: measure.since,
                detail: None,
            })
        };
        measures.into_iter().filter_map(finding).collect()
    }
}

impl EventValues {
    fn arrived(&mut self, event: Arrival<'_>) {
        let value = key_of(&self.field, event.record);
        if let (Some(seen), Some(value)) = (&mut self.seen, value) {
            seen.note(&value, event.timestamp, event.now);
        }
    }
}

fn new_values(seen: &mut SeenValues, condition: &FirstSeen, now: Timestamp) -> Vec<Finding> {
    let window = i64::try_from(condition.window_s).unwrap_or(i64::MAX);
    let recent = seen.recent(now, SignedDuration::from_secs(window));
    let Some(since) = recent.iter().map(|new| new.happened_at).min() else {
        return Vec::new();
    };
    let named: Vec<_> = recent
        .iter()
        .take(NAMED)
        .map(|new| new.value.clone())
        .collect();
    vec![Finding {
        group: GroupKey::Whole,
        is_over: true,
        count: recent.len() as u64,
        baseline: None,
        since,
        detail: Some(named.join(", ")),
    }]
}
