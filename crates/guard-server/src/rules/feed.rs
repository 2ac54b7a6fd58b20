//! The rules in force, for agents that wait for changes. Each project has one watched value, which
//! is refreshed from the store. Waiting costs no query.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use guard_wire::rules::DynamicRules;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::fingerprint::fingerprint;
use crate::off_thread::off_thread;
use crate::store::{ProjectId, RulesStore, StoreError, StoredRules};

/// The document that agents get while no rules are set.
const NO_RULES: &str = "{}";

/// The rules in force of one project.
#[derive(Debug)]
pub(crate) struct Current {
    /// The version of the rules. `None` if none are set.
    pub(crate) version: Option<i64>,
    /// The entity tag.
    pub(crate) tag: String,
    body: Bytes,
    leased: Option<Leased>,
}

/// A document whose `ip_ban_duration` is computed for each answer: the time until the lease ends.
#[derive(Debug)]
struct Leased {
    rules: DynamicRules,
    ends: Timestamp,
    /// The length of the lease in seconds. No more than this is left, wherever the clock was set
    /// to.
    whole: i64,
    /// The last body, reused for all requests in the same second.
    made: Mutex<(i64, Bytes)>,
}

impl Current {
    fn of(stored: Option<StoredRules>) -> Self {
        let Some(stored) = stored else {
            let body = Bytes::from_static(NO_RULES.as_bytes());
            let tag = tag(NO_RULES);
            return Self {
                version: None,
                tag,
                body,
                leased: None,
            };
        };
        let rules = serde_json::from_str(&stored.document).ok();
        let made_at = stored.change.created_at;
        let leased = rules.zip(stored.lease_ends);
        Self {
            version: Some(stored.version),
            tag: tag(&stored.document),
            leased: leased.map(|(rules, ends)| Leased {
                rules,
                ends,
                whole: ends.as_second() - made_at.as_second(),
                made: Mutex::default(),
            }),
            body: stored.document.into(),
        }
    }

    /// The document that agents get at `now`.
    pub(crate) fn body(&self, now: Timestamp) -> Bytes {
        let Some(leased) = &self.leased else {
            return self.body.clone();
        };
        let left = leased.ends.as_second() - now.as_second();
        let seconds = left.min(leased.whole).max(1);
        let mut made = leased.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0 != seconds {
            let rules = DynamicRules {
                ip_ban_duration: seconds,
                ..leased.rules.clone()
            };
            let body = serde_json::to_vec(&rules).map_or_else(|_| self.body.clone(), Bytes::from);
            *made = (seconds, body);
        }
        made.1.clone()
    }
}

fn tag(document: &str) -> String {
    format!("\"{}\"", fingerprint(&[document]))
}

type Sender = watch::Sender<Arc<Current>>;

/// All projects that were asked for.
pub(crate) struct Feed {
    store: Arc<dyn RulesStore>,
    projects: Mutex<HashMap<ProjectId, Sender>>,
    stopping: watch::Sender<bool>,
}

impl Feed {
    pub(crate) fn new(store: Arc<dyn RulesStore>) -> Self {
        Self {
            store,
            projects: Mutex::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// The rules in force now, to read and to wait on.
    pub(crate) async fn subscribe(
        &self,
        project: ProjectId,
    ) -> Result<watch::Receiver<Arc<Current>>, StoreError> {
        if let Some(receiver) = self.known(project) {
            self.refresh(project).await?;
            return Ok(receiver);
        }
        let current = self.current(project).await?;
        let receiver = self
            .projects()
            .entry(project)
            .or_insert_with(|| watch::Sender::new(current))
            .subscribe();
        Ok(receiver)
    }

    /// Reads the rules in force from the store. Parsing a large document takes time.
    async fn current(&self, project: ProjectId) -> Result<Arc<Current>, StoreError> {
        let stored = self.store.rules(project).await?;
        off_thread(async move { Arc::new(Current::of(stored)) }).await
    }

    fn known(&self, project: ProjectId) -> Option<watch::Receiver<Arc<Current>>> {
        self.projects().get(&project).map(watch::Sender::subscribe)
    }

    /// Checks whether the rules of `project` changed in the store, and wakes all requests that wait
    /// for a change.
    pub(crate) async fn refresh(&self, project: ProjectId) -> Result<(), StoreError> {
        let Some(sender) = self.projects().get(&project).cloned() else {
            return Ok(());
        };
        if self.store.rules_version(project).await? == sender.borrow().version {
            return Ok(());
        }
        let current = self.current(project).await?;
        sender.send_if_modified(|known| {
            // Two refreshes may end in a different order than they began.
            let is_newer = current.version > known.version;
            if is_newer {
                *known = current;
            }
            is_newer
        });
        Ok(())
    }

    /// The same as [`refresh`](Self::refresh), for all projects. The next call retries after a failure.
    pub(crate) async fn refresh_all(&self) {
        if let Err(error) = self.refresh_changed().await {
            // The store has logged the reason.
            tracing::debug!(%error, "cannot look for new rules");
        }
    }

    async fn refresh_changed(&self) -> Result<(), StoreError> {
        let known: HashMap<_, _> = {
            let projects = self.projects();
            let known = projects.iter().map(|(id, it)| (*id, it.borrow().version));
            known.collect()
        };
        if known.is_empty() {
            return Ok(());
        }
        let versions = self.store.rules_versions(known.keys().copied().collect());
        for (project, version) in versions.await? {
            if known.get(&project) != Some(&Some(version)) {
                self.refresh(project).await?;
            }
        }
        Ok(())
    }

    /// Ends all waiting.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Completes when waiting is over.
    pub(crate) async fn stopped(&self) {
        // It fails only if the sender is gone, which means the same.
        let _ = self
            .stopping
            .subscribe()
            .wait_for(|stopping| *stopping)
            .await;
    }

    fn projects(&self) -> std::sync::MutexGuard<'_, HashMap<ProjectId, Sender>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
