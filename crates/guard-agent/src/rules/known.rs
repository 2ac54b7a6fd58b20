//! What is known of the rules, shared by callers and the loop that follows them.

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
    /// Wakes callers when an answer came.
    answered: Condvar,
    /// Somebody has asked for rules or for news of them.
    is_wanted: AtomicBool,
    /// Wakes the loop when a caller finds what is known too old.
    asked: Notify,
    updates: watch::Sender<Option<Arc<Rules>>>,
}

#[derive(Default)]
struct RulesState {
    rules: Option<Arc<Rules>>,
    /// What the backend calls the state of its rules that is known here.
    tag: Option<String>,
    /// The backend has signed rules before.
    has_signed: bool,
    /// A request is under way that tells of any change.
    is_held: bool,
    /// Until when callers ask for no other fetch.
    fresh_until: Option<Instant>,
    /// Counts what was learned, failures too.
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

/// What callers see.
impl Known {
    /// The last good document, unless it has ended.
    pub(crate) fn current(&self, now: Timestamp) -> Option<Arc<Rules>> {
        in_force(&lock(&self.state), now)
    }

    /// The version of the rules in force.
    pub(crate) fn version(&self, now: Timestamp) -> Option<i64> {
        self.current(now).map(|rules| rules.document.version)
    }

    /// When a document was last taken over.
    pub(crate) fn updated(&self) -> Option<Timestamp> {
        lock(&self.state).updated
    }

    /// Whether somebody has asked for rules. Takes no lock: a forked child asks
    /// what its parent knew.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// Has the rules followed from now on.
    pub(crate) fn want(&self) {
        if !self.is_wanted.swap(true, Ordering::AcqRel) {
            self.asked.notify_one();
        }
    }

    /// The rules in force. When what is known is too old the loop asks again;
    /// only when nothing is known the caller waits for that, at most `patience`.
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

    /// Forgets rules that another backend gave.
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

/// What the loop does.
impl Known {
    /// Waits until somebody wants rules.
    pub(crate) async fn wanted(&self) {
        while !self.is_wanted() {
            self.asked.notified().await;
        }
    }

    /// Waits until a caller finds what is known too old at its time.
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

    /// How long until the rules in force end.
    pub(crate) fn ends_in(&self, now: Timestamp) -> Option<Duration> {
        let end = lock(&self.state).rules.as_ref()?.document.ends_at()?;
        Some(Duration::try_from(now.duration_until(end)).unwrap_or_default())
    }

    /// Whether anything was learned yet, from the backend or from the disk.
    pub(crate) fn is_blank(&self) -> bool {
        lock(&self.state).answers == 0
    }

    /// Rules are in force from now on, or none are; whether that is a change.
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

    /// The backend says that nothing has changed.
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

    /// There was no answer, or one that cannot be used.
    pub(crate) fn keep(&self, now: Instant) {
        self.learned(&mut lock(&self.state), now, RETRY_INTERVAL);
    }

    fn learned(&self, state: &mut RulesState, now: Instant, fresh: Duration) {
        state.answers += 1;
        state.fresh_until = now.checked_add(fresh);
        self.answered.notify_all();
    }

    /// Drops rules that have ended; whether there were any.
    pub(crate) fn drop_ended(&self, now: Timestamp) -> bool {
        let mut state = lock(&self.state);
        let has_ended = |rules: &Arc<Rules>| rules.document.is_expired(now);
        let ended = state.rules.take_if(|rules| has_ended(rules)).is_some();
        if ended {
            self.announce(None);
        }
        ended
    }

    /// Called under the lock of the state: what is announced is what callers are told.
    fn announce(&self, rules: Option<Arc<Rules>>) {
        self.updates.send_if_modified(|known| {
            let is_change = *known != rules;
            *known = rules;
            is_change
        });
    }
}

/// What comes into force.
pub(crate) struct Put {
    pub(crate) rules: Option<Arc<Rules>>,
    pub(crate) tag: Option<String>,
    pub(crate) is_signed: bool,
}

fn in_force(state: &RulesState, now: Timestamp) -> Option<Arc<Rules>> {
    let rules = state.rules.clone();
    rules.filter(|rules| !rules.document.is_expired(now))
}
