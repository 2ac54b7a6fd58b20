//! The known rules, shared by callers and by the loop that keeps them up to date.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::{RETRY_INTERVAL, Rules, RulesUpdates};
use crate::sync::lock;

/// The rules in force. Outlives a change of configuration.
pub(crate) struct Known {
    state: Mutex<RulesState>,
    /// Wakes callers when an answer has arrived.
    answered: Condvar,
    /// A caller has asked for rules or for updates.
    is_wanted: AtomicBool,
    /// Wakes the loop when a caller finds the known rules too old.
    asked: Notify,
    updates: watch::Sender<Option<Arc<Rules>>>,
}

#[derive(Default)]
struct RulesState {
    rules: Option<Arc<Rules>>,
    /// The backend's entity tag for the known state.
    tag: Option<String>,
    /// The backend has signed rules before.
    has_signed: bool,
    /// A held request is in progress that will report any change.
    is_held: bool,
    /// Callers request no further fetch before this time.
    fresh_until: Option<Instant>,
    /// Number of answers, including failures.
    answers: u64,
    updated: Option<Timestamp>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            answered: Condvar::new(),
            is_wanted: AtomicBool::new(false),
            asked: Notify::new(),
            updates: watch::Sender::new(None),
        }
    }
}

/// The operations for callers.
impl Known {
    /// The last good document, unless it has expired.
    pub(crate) fn current(&self, now: Timestamp) -> Option<Arc<Rules>> {
        in_force(&lock(&self.state), now)
    }

    /// The version of the rules in force.
    pub(crate) fn version(&self, now: Timestamp) -> Option<i64> {
        self.current(now).map(|rules| rules.document.version)
    }

    /// Time when a document was last accepted.
    pub(crate) fn updated(&self) -> Option<Timestamp> {
        lock(&self.state).updated
    }

    /// True if a caller has asked for rules. Takes no lock, because a forked child reads the
    /// state of its parent.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// Keeps the rules up to date from now on.
    pub(crate) fn want(&self) {
        if !self.is_wanted.swap(true, Ordering::AcqRel) {
            self.asked.notify_one();
        }
    }

    /// Returns the rules in force. If they are too old, the loop fetches them again. Only if
    /// nothing is known does the caller wait for that, at most `patience`.
    pub(crate) fn ask(
        &self,
        now: Instant,
        wall: Timestamp,
        patience: Duration,
    ) -> Option<Arc<Rules>> {
        let state = lock(&self.state);
        let rules = in_force(&state, wall);
        if state.is_held || state.fresh_until.is_some_and(|until| now < until) {
            return rules;
        }
        self.asked.notify_one();
        if rules.is_some() {
            return rules;
        }
        let answers = state.answers;
        let (state, _) = self
            .answered
            .wait_timeout_while(state, patience, |state| state.answers == answers)
            .unwrap_or_else(PoisonError::into_inner);
        in_force(&state, wall)
    }

    pub(crate) fn updates(&self) -> RulesUpdates {
        RulesUpdates::new(self.updates.subscribe())
    }

    /// Forgets rules that came from another backend.
    pub(crate) fn forget(&self) {
        let mut state = lock(&self.state);
        let answers = state.answers;
        *state = RulesState {
            answers,
            ..RulesState::default()
        };
        self.announce(None);
    }
}

/// The operations for the loop.
impl Known {
    /// Waits until a caller wants rules.
    pub(crate) async fn wanted(&self) {
        while !self.is_wanted() {
            self.asked.notified().await;
        }
    }

    /// Waits until a caller finds the known rules too old.
    pub(crate) async fn too_old(&self, now: impl Fn() -> Instant) {
        loop {
            self.asked.notified().await;
            if lock(&self.state)
                .fresh_until
                .is_none_or(|until| until <= now())
            {
                return;
            }
        }
    }

    pub(crate) fn tag(&self) -> Option<String> {
        lock(&self.state).tag.clone()
    }

    pub(crate) fn has_signed(&self) -> bool {
        lock(&self.state).has_signed
    }

    pub(crate) fn set_held(&self, is_held: bool) {
        lock(&self.state).is_held = is_held;
    }

    /// Time until the rules in force expire.
    pub(crate) fn ends_in(&self, now: Timestamp) -> Option<Duration> {
        let end = lock(&self.state).rules.as_ref()?.document.ends_at()?;
        Some(Duration::try_from(now.duration_until(end)).unwrap_or_default())
    }

    /// True if neither the backend nor the disk has provided anything yet.
    pub(crate) fn is_blank(&self) -> bool {
        lock(&self.state).answers == 0
    }

    /// Puts rules in force, or none. Returns true if that is a change.
    pub(crate) fn put(&self, put: Put, now: Instant, wall: Timestamp) -> bool {
        let mut state = lock(&self.state);
        let ttl = put
            .rules
            .as_ref()
            .and_then(|rules| u64::try_from(rules.document.ttl).ok());
        state.has_signed |= put.is_signed;
        state.tag = put.tag;
        state.answers += 1;
        let is_change = state.rules.as_deref().map(|rules| &rules.json)
            != put.rules.as_deref().map(|rules| &rules.json);
        if is_change {
            state.rules = put.rules;
        }
        state.fresh_until = now.checked_add(ttl.map_or(RETRY_INTERVAL, Duration::from_secs));
        if state.rules.is_some() {
            state.updated = Some(wall);
        }
        if is_change {
            self.announce(in_force(&state, wall));
        }
        self.answered.notify_all();
        is_change
    }

    /// Notes that the backend reported no change.
    pub(crate) fn confirm(&self, now: Instant) {
        let mut state = lock(&self.state);
        let ttl = state
            .rules
            .as_ref()
            .and_then(|rules| u64::try_from(rules.document.ttl).ok());
        self.learned(
            &mut state,
            now,
            ttl.map_or(RETRY_INTERVAL, Duration::from_secs),
        );
    }

    /// Notes that there was no answer, or an unusable one.
    pub(crate) fn keep(&self, now: Instant) {
        self.learned(&mut lock(&self.state), now, RETRY_INTERVAL);
    }

    fn learned(&self, state: &mut RulesState, now: Instant, fresh: Duration) {
        state.answers += 1;
        state.fresh_until = now.checked_add(fresh);
        self.answered.notify_all();
    }

    /// Drops expired rules. Returns true if there were any.
    pub(crate) fn drop_ended(&self, now: Timestamp) -> bool {
        let mut state = lock(&self.state);
        let has_ended = |rules: &Arc<Rules>| rules.document.is_expired(now);
        let ended = state.rules.take_if(|rules| has_ended(rules)).is_some();
        if ended {
            self.announce(None);
        }
        ended
    }

    /// Announces the rules. Called under the state lock, so that callers see the same rules.
    fn announce(&self, rules: Option<Arc<Rules>>) {
        self.updates.send_if_modified(|known| {
            let is_change = *known != rules;
            *known = rules;
            is_change
        });
    }
}

/// Rules to put in force.
pub(crate) struct Put {
    pub(crate) rules: Option<Arc<Rules>>,
    pub(crate) tag: Option<String>,
    pub(crate) is_signed: bool,
}

fn in_force(state: &RulesState, now: Timestamp) -> Option<Arc<Rules>> {
    let rules = state.rules.clone();
    rules.filter(|rules| !rules.document.is_expired(now))
}
