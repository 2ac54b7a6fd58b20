//! The state that the handlers share.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::capacity::memory::Memory;
use super::capacity::turns;
use super::capacity::workers::Workers;
use super::people::SignIns;
use super::proxies::TrustedProxies;
use super::public_url::PublicUrl;
use super::rate::Rates;
use super::ready::Readiness;
use super::storage_gate::StorageGate;
use super::wrong_keys::WrongKeys;
use crate::alerts::sender::NoSender;
use crate::alerts::{Failures, Sender};
use crate::clock::{Clock, Reading, SystemClock};
use crate::fleet::CheckIns;
use crate::log_gate::LogGate;
use crate::monitoring::{CertificateMeter, ConnectionMeters, Monitor};
use crate::off_thread::off_thread;
use crate::people::SessionLimits;
use crate::projects::activity::{Activity, ActivityLog};
use crate::projects::quota::Quotas;
use crate::projects::watch::KeyWatch;
use crate::rules::Feed;
use crate::rules::versions::{self, ChangeError};
use crate::store::{StoreError, Stores};
use crate::tail::{Places, Tails};
use crate::trouble::TroubleLog;

/// Default of [`AppState::with_audit_kept_for`].
const AUDIT_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
/// How many entries of the audit log are removed at once.
const EXPIRED_AT_ONCE: u32 = 1000;

/// Limits on what the server accepts and keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body as sent.
    pub encoded: usize,
    /// Bytes of a body after decompression or decryption.
    pub decoded: usize,
    /// Bytes of a status report, both as sent and after decompression.
    pub status: usize,
    /// Records in a batch.
    pub records: usize,
    /// Calls of the operator API in a minute by one credential.
    pub calls_per_credential: u32,
    /// Calls of the operator API in a minute from one address.
    pub calls_per_address: u32,
    /// Bytes of all request and answer bodies in memory.
    pub memory: usize,
    /// Types of each kind of record that are counted by name. All others are counted together.
    pub types: u32,
    /// Installs of a project whose last status is kept, and processes whose rules are tracked.
    pub installs: u32,
    /// Live readers of events at the same time.
    pub tails: usize,
    /// Live readers with one token or session.
    pub tails_per_credential: usize,
    /// Bytes of the disk that stay free: before that the oldest records give way, then no more are
    /// accepted. `None` for 1 GiB, or a twentieth of a smaller disk.
    pub reserve: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            encoded: 16 << 20,
            decoded: 16 << 20,
            status: 64 << 10,
            records: 100_000,
            calls_per_credential: 6000,
            calls_per_address: 6000,
            memory: 256 << 20,
            types: 1000,
            installs: 10_000,
            tails: 256,
            tails_per_credential: 32,
            reserve: None,
        }
    }
}

/// The state that the handlers share.
pub struct AppState {
    pub(crate) stores: Stores,
    pub(crate) limits: Limits,
    pub(crate) proxies: TrustedProxies,
    /// Logs requests whose forwarding headers contradict each other.
    pub(crate) contradictions: LogGate,
    pub(crate) public_url: Option<PublicUrl>,
    /// How long sessions last.
    pub(crate) sessions: SessionLimits,
    /// How long the audit log keeps its entries.
    pub(crate) audit_kept: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    /// The clock reading when the rules were last adjusted to the clock.
    followed: tokio::sync::Mutex<Reading>,
    pub(crate) memory: Memory,
    pub(crate) workers: Workers,
    pub(crate) wrong_keys: WrongKeys,
    pub(crate) rates: Rates,
    pub(crate) sign_ins: SignIns,
    /// Permits for answers to people.
    pub(crate) answering: Semaphore,
    pub(crate) quotas: Quotas,
    /// The use of keys and refused requests that are not saved yet.
    pub(crate) activity: ActivityLog,
    /// The keys of requests that wait for rules.
    pub(crate) held_keys: KeyWatch,
    pub(crate) feed: Feed,
    /// The live readers of events.
    pub(crate) tails: Arc<Tails>,
    pub(crate) tail_places: Arc<Places>,
    pub(crate) check_ins: CheckIns,
    pub(crate) readiness: Readiness,
    pub(crate) monitor: Monitor,
    /// Whether the store has room for more records.
    pub(crate) storage: StorageGate,
    /// Delivers notifications.
    pub(crate) sender: Arc<dyn Sender>,
    /// What links to the dashboard begin with, in notifications.
    pub(crate) dashboard: String,
    /// Why alerts cannot be evaluated.
    pub(crate) alert_failures: Failures,
    /// Logs when rules that are due cannot be composed.
    pub(crate) composing: TroubleLog,
    /// Held while rules change, so that changes run one after another.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Held while documents are checked: one at a time. Other changes do not wait for it.
    pub(crate) checking: tokio::sync::Mutex<()>,
}

impl AppState {
    /// Builds the state over `stores`.
    pub fn new(stores: Stores, limits: Limits) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let monitor = Monitor::new(stores.telemetry.meters());
        let (tails, each) = (limits.tails, limits.tails_per_credential);
        Self {
            tails: Tails::new(Arc::clone(&stores.arrivals), monitor.tails.clone()),
            tail_places: Places::new(tails, each, monitor.tails.clone()).into(),
            feed: Feed::new(Arc::clone(&stores.rules)),
            check_ins: CheckIns::new(&stores, Arc::clone(&clock), limits.installs),
            followed: Reading::of(&*clock).into(),
            clock,
            readiness: Readiness::default(),
            monitor,
            storage: StorageGate::default(),
            sender: Arc::new(NoSender),
            dashboard: String::new(),
            alert_failures: Failures::default(),
            composing: TroubleLog::default(),
            stores,
            limits,
            proxies: TrustedProxies::default(),
            contradictions: LogGate::default(),
            public_url: None,
            sessions: SessionLimits::default(),
            audit_kept: AUDIT_KEPT,
            quotas: Quotas::default(),
            activity: ActivityLog::default(),
            held_keys: KeyWatch::default(),
            memory: Memory::new(limits.memory),
            workers: Workers::default(),
            wrong_keys: WrongKeys::default(),
            rates: Rates::default(),
            sign_ins: SignIns::default(),
            answering: Semaphore::new(turns::TURNS),
            changing: tokio::sync::Mutex::default(),
            checking: tokio::sync::Mutex::default(),
        }
    }

    /// Believes the forwarding headers of these proxies.
    #[must_use]
    pub fn with_proxies(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// Sets the URL under which clients reach the server. It also answers below that URL's path.
    #[must_use]
    pub fn with_public_url(self, public_url: Option<PublicUrl>) -> Self {
        Self { public_url, ..self }
    }

    /// Sets how long the audit log keeps its entries.
    #[must_use]
    pub fn with_audit_kept_for(self, audit_kept: Duration) -> Self {
        Self { audit_kept, ..self }
    }

    /// Also measures when the certificate expires.
    #[must_use]
    pub fn with_certificate(self, meter: Option<&CertificateMeter>) -> Self {
        let Some(meter) = meter else { return self };
        Self {
            monitor: self.monitor.with_certificate(meter),
            ..self
        }
    }

    /// Delivers the notifications of alerts by `sender`.
    #[must_use]
    pub fn with_sender(self, sender: Arc<dyn Sender>) -> Self {
        Self { sender, ..self }
    }

    /// Sets what the links of notifications begin with: the URL of the dashboard, without a slash at
    /// the end.
    #[must_use]
    pub fn with_dashboard(self, dashboard: String) -> Self {
        Self { dashboard, ..self }
    }

    /// Removes sessions that are over, and old entries of the audit log.
    pub async fn expire(&self) {
        let (people, now) = (&self.stores.people, self.clock.now());
        let ended = people.expire_sessions(self.sessions, now).await;
        let kept = SignedDuration::try_from(self.audit_kept).unwrap_or(SignedDuration::MAX);
        let before = now.saturating_sub(kept).unwrap_or(Timestamp::MIN);
        let removed = self
            .stores
            .audit
            .expire_audit(before, EXPIRED_AT_ONCE)
            .await;
        match (ended, removed) {
            (Ok(sessions), Ok(entries)) if sessions + entries > 0 => {
                tracing::debug!(sessions, entries, "removed what is over");
            }
            (Ok(_), Ok(_)) => {}
            // The store has logged the reason.
            (Err(error), _) | (_, Err(error)) => {
                tracing::debug!(%error, "cannot remove old sessions and audit entries yet");
            }
        }
    }

    /// Sets how long sessions last.
    #[must_use]
    pub fn with_sessions(self, sessions: SessionLimits) -> Self {
        Self { sessions, ..self }
    }

    /// Replaces the clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            check_ins: CheckIns::new(&self.stores, Arc::clone(&clock), self.limits.installs),
            followed: Reading::of(&*clock).into(),
            clock,
            ..self
        }
    }

    /// Moves planned times if the clock was set since the last call, and this server leads: times in
    /// the stores follow one clock. Call this before a change to the rules: otherwise a clock that
    /// was set forward ends operations too early.
    pub(crate) async fn follow_clock(&self) -> Result<(), StoreError> {
        let mut followed = self.followed.lock().await;
        let reading = Reading::of(&*self.clock);
        if let Some(by) = reading.set_since(*followed)
            && self.stores.node.leads()
        {
            let rules = Arc::clone(&self.stores.rules);
            let follow = async move { versions::follow_clock(&*rules, by, reading.now).await };
            match off_thread(follow).await? {
                Err(ChangeError::Store(error)) => return Err(error),
                Err(error) => tracing::warn!(%error, "some rules do not follow the clock"),
                Ok(()) => {}
            }
            tracing::warn!(
                seconds = by.as_secs(),
                "the clock was set; bans and other operations keep the time that is left to them"
            );
        }
        *followed = reading;
        Ok(())
    }

    /// Saves the check-ins recorded since the last call. Returns whether that worked; if not, the
    /// next call tries again.
    pub async fn save_check_ins(&self) -> bool {
        let outcome = self.check_ins.save().await;
        if let Err(error) = outcome {
            // The store has logged the reason.
            tracing::debug!(%error, "cannot save yet which agents have which rules");
        }
        outcome.is_ok()
    }

    /// What the connections of this server count.
    pub fn connection_meters(&self) -> ConnectionMeters {
        self.monitor.connections.clone()
    }

    /// Saves the use of keys and the refused requests since the last call. If that fails, the next
    /// call tries again.
    pub async fn save_activity(&self) {
        let activity = self.activity.take(self.clock.now());
        if activity == Activity::default() {
            return;
        }
        let saved = self.stores.projects.save_activity(activity.clone());
        if let Err(error) = saved.await {
            // The store has logged the reason.
            tracing::debug!(%error, "cannot save yet when keys were used");
            self.activity.put_back(activity);
        }
    }

    /// Ends the requests that wait for rules with a key that was revoked, perhaps by another
    /// process.
    pub(crate) async fn end_revoked(&self) -> Result<(), StoreError> {
        let held = self.held_keys.watched();
        if held.is_empty() {
            return Ok(());
        }
        let live = self.stores.projects.live_keys(held.clone()).await?;
        for key in held.iter().filter(|key| !live.contains(key)) {
            self.held_keys.revoked(key);
        }
        Ok(())
    }

    /// Answers all requests that wait for rules to change, and makes later ones not wait. Ends all
    /// live readers.
    pub fn stop_waiting(&self) {
        self.feed.stop();
        self.tails.stop();
    }
}
