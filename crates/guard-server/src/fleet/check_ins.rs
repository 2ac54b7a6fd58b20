//! Signals received from agents. They are collected in memory and saved together, so that a request
//! with a signal does not wait for the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::subscribers::{GIVES_WAY_AFTER, policy, room_for};
use crate::clock::{Clock, Reading};
use crate::store::{
    AgentId, AgentSignal, CheckIn, Fleet, Node, ProjectId, StatusReport, StoreError, Stores,
};
use crate::trouble::TroubleLog;

/// The most check-ins that wait to be saved. If the store fails for long, new ones are dropped:
/// agents repeat them with their next request.
const MAX_PENDING: usize = 65_536;

/// Check-ins that are not saved yet.
pub(crate) struct CheckIns {
    fleet: Arc<dyn Fleet>,
    node: Node,
    clock: Arc<dyn Clock>,
    /// Each check-in with the uptime at which it came: the time of day may be set before it is
    /// saved.
    pending: Mutex<Vec<(CheckIn, Duration)>>,
    /// How many agents of a project are remembered.
    installs: u32,
    /// Logs that there is no room for all agents.
    crowd: TroubleLog,
    /// The clock reading when times were last adjusted to the clock. It is locked while saving, so
    /// that a caller that reads afterwards finds everything that came before.
    saving: tokio::sync::Mutex<Reading>,
}

impl CheckIns {
    pub(crate) fn new(stores: &Stores, clock: Arc<dyn Clock>, installs: u32) -> Self {
        Self::over(
            Arc::clone(&stores.fleet),
            stores.node.clone(),
            clock,
            installs,
        )
    }

    fn over(fleet: Arc<dyn Fleet>, node: Node, clock: Arc<dyn Clock>, installs: u32) -> Self {
        Self {
            fleet,
            node,
            saving: Reading::of(&*clock).into(),
            clock,
            pending: Mutex::default(),
            installs,
            crowd: TroubleLog::default(),
        }
    }

    /// Records a signal that `agent` sent now. Never waits for the store.
    pub(crate) fn note(&self, project: ProjectId, agent: AgentId, signal: AgentSignal) {
        let check_in = CheckIn {
            project,
            agent,
            at: Timestamp::UNIX_EPOCH,
            signal,
        };
        let mut pending = self.pending();
        if pending.len() < MAX_PENDING {
            pending.push((check_in, self.clock.uptime()));
        }
    }

    /// Saves all recorded check-ins. If the store fails, they stay for the next call.
    pub(crate) async fn save(&self) -> Result<(), StoreError> {
        let mut followed = self.saving.lock().await;
        let reading = Reading::of(&*self.clock);
        // Times in the stores follow one clock.
        if let Some(by) = reading.set_since(*followed)
            && self.node.leads()
        {
            self.fleet.shift_times(by).await?;
        }
        *followed = reading;
        let noted = std::mem::take(&mut *self.pending());
        if noted.is_empty() {
            return Ok(());
        }
        let (mut noted, uptimes): (Vec<_>, Vec<_>) = noted.into_iter().unzip();
        for (check_in, uptime) in noted.iter_mut().zip(&uptimes) {
            check_in.at = reading.at(*uptime);
        }
        let noted: Arc<[CheckIn]> = noted.into();
        let saving = self
            .fleet
            .save_check_ins(Arc::clone(&noted), policy(self.installs));
        let outcome = saving.await.map(|left_out| self.note_left_out(left_out));
        if outcome.is_err() {
            let mut pending = self.pending();
            let older = noted.iter().cloned().zip(uptimes).collect();
            let newer = std::mem::replace(&mut *pending, older);
            pending.extend(newer);
            pending.truncate(MAX_PENDING);
        }
        outcome
    }

    /// Saves the latest status report of an install, if there is room for it.
    pub(crate) async fn save_report(&self, report: StatusReport) -> Result<(), StoreError> {
        let saving = self.fleet.save_report(report, room_for(self.installs));
        let is_saved = saving.await?;
        self.note_left_out(u64::from(!is_saved));
        Ok(())
    }

    /// Logs at intervals that agents were left out.
    fn note_left_out(&self, agents: u64) {
        if agents == 0 {
            self.crowd.succeeded();
        } else if self.crowd.failed(0, Instant::now()) {
            tracing::warn!(
                "{} agents of a project are remembered; new ones are passed over until one of \
                 those is silent for {GIVES_WAY_AFTER:#}: raise --max-installs",
                self.installs
            );
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Vec<(CheckIn, Duration)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::SignedDuration;

    use super::*;
    use crate::clock::SystemClock;
    use crate::store::{AgentReport, BoxFuture, Room, RuleSubscriber, SubscriberPolicy};

    const PROJECT: ProjectId = ProjectId(1);
    const ASKED: AgentSignal = AgentSignal::Asked { holds: true };

    /// A store that records its input, or fails.
    #[derive(Default)]
    struct FakeFleet {
        fails: AtomicBool,
        saved: Mutex<Vec<CheckIn>>,
    }

    impl FakeFleet {
        fn answer<T: Send + 'static>(&self, answer: T) -> BoxFuture<'_, T> {
            let fails = self.fails.load(Ordering::Relaxed);
            let outcome = if fails {
                Err(StoreError::Unavailable)
            } else {
                Ok(answer)
            };
            Box::pin(async move { outcome })
        }

        fn signals(&self) -> Vec<AgentSignal> {
            let saved = self.saved.lock().unwrap();
            saved.iter().map(|it| it.signal.clone()).collect()
        }
    }

    impl Fleet for FakeFleet {
        fn save_check_ins(
            &self,
            check_ins: Arc<[CheckIn]>,
            _: SubscriberPolicy,
        ) -> BoxFuture<'_, u64> {
            if !self.fails.load(Ordering::Relaxed) {
                self.saved.lock().unwrap().extend_from_slice(&check_ins);
            }
            self.answer(0)
        }
        fn subscribers(&self, _: ProjectId) -> BoxFuture<'_, Vec<RuleSubscriber>> {
            self.answer(Vec::new())
        }
        fn save_report(&self, _: StatusReport, _: Room) -> BoxFuture<'_, bool> {
            self.answer(true)
        }
        fn reports(&self, _: ProjectId, _: u16, _: usize) -> BoxFuture<'_, Vec<AgentReport>> {
            self.answer(Vec::new())
        }
        fn report<'a>(&'a self, _: ProjectId, _: &'a str) -> BoxFuture<'a, Option<AgentReport>> {
            self.answer(None)
        }
        fn shift_times(&self, _: SignedDuration) -> BoxFuture<'_, ()> {
            self.answer(())
        }
    }

    fn parts() -> (Arc<FakeFleet>, CheckIns) {
        let store = Arc::new(FakeFleet::default());
        let fleet = Arc::clone(&store) as Arc<dyn Fleet>;
        let clock = Arc::new(SystemClock);
        (store, CheckIns::over(fleet, Node::alone(), clock, 10))
    }

    fn note(check_ins: &CheckIns, install: usize, signal: AgentSignal) {
        let agent = AgentId {
            install_id: install.to_string(),
            ..AgentId::default()
        };
        check_ins.note(PROJECT, agent, signal);
    }

    #[tokio::test]
    async fn signals_are_recorded_without_the_store_and_saved_in_order() {
        let (store, check_ins) = parts();
        store.fails.store(true, Ordering::Relaxed);
        let signals = [ASKED, AgentSignal::Fetched(1), AgentSignal::Fetched(2)];
        for signal in signals.clone() {
            note(&check_ins, 1, signal);
        }
        assert_eq!(store.signals(), []);
        store.fails.store(false, Ordering::Relaxed);
        check_ins.save().await.unwrap();
        assert_eq!(store.signals(), signals);
    }

    #[tokio::test]
    async fn signals_that_the_store_refused_are_saved_before_later_ones() {
        let (store, check_ins) = parts();
        store.fails.store(true, Ordering::Relaxed);
        note(&check_ins, 1, ASKED);
        note(&check_ins, 1, AgentSignal::Fetched(1));
        assert_eq!(check_ins.save().await, Err(StoreError::Unavailable));
        note(&check_ins, 1, AgentSignal::Fetched(2));
        store.fails.store(false, Ordering::Relaxed);
        check_ins.save().await.unwrap();
        let expected = [ASKED, AgentSignal::Fetched(1), AgentSignal::Fetched(2)];
        assert_eq!(store.signals(), expected);
    }

    #[tokio::test]
    async fn the_number_of_unsaved_signals_is_limited() {
        let (store, check_ins) = parts();
        store.fails.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            for install in 0..=MAX_PENDING {
                note(&check_ins, install, ASKED);
            }
            assert_eq!(check_ins.save().await, Err(StoreError::Unavailable));
            assert_eq!(check_ins.pending().len(), MAX_PENDING);
        }
    }
}
