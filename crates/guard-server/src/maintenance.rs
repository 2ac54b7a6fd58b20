//! The background loop beside the requests. It ends or renews bans, notices rules that another
//! process published, saves check-ins, removes what has expired, evaluates alerts and delivers their
//! notifications. Of several servers with the same stores, one does what has to be done once.

mod alerts;
pub mod retention;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::http::AppState;
use crate::off_thread::off_thread;
use crate::rules::versions::{self, ChangeError};
use crate::store::{Node, StoreError};

/// How often the loop runs.
const EVERY: Duration = Duration::from_millis(500);
/// How often the use of keys and the counts of refused requests are saved.
const SAVE_ACTIVITY_EVERY: Duration = Duration::from_secs(5);
/// How many parts of removed projects are removed in one round. Batches are stored in between.
const SWEPT_PARTS: usize = 10;
/// The pause after check-ins could not be saved.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How often sessions that are over, and old entries of the audit log, are removed.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// Runs the loop. Never completes.
///
/// Several servers may share the stores. What has to be done once is done by the one that leads;
/// each looks after its own requests and connections.
pub async fn run(state: &AppState) {
    let node = &state.stores.node;
    tokio::join!(
        run_rules(state),
        follow_rules(state),
        retention::run(state),
        while_leading(node, || alerts::evaluate(state)),
        while_leading(node, || alerts::deliver(state)),
    );
}

/// Runs `work` whenever this server leads, and drops it when it no longer does. Never completes.
async fn while_leading<F: Future<Output = ()>>(node: &Node, mut work: impl FnMut() -> F) {
    loop {
        node.elected().await;
        tokio::select! {
            () = work() => {}
            () = node.deposed() => {}
        }
    }
}

async fn run_rules(state: &AppState) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut save_from, mut activity_from) = (Instant::now(), Instant::now());
    let mut expire_from = Instant::now();
    loop {
        ticks.tick().await;
        let leads = state.stores.node.leads();
        state.monitor.set_leads(leads);
        if leads {
            if Instant::now() >= expire_from {
                expire_from = Instant::now() + EXPIRE_EVERY;
                expire(state).await;
            }
            if let Err(error) = sweep(state).await {
                // The store has logged the reason.
                tracing::debug!(%error, "cannot remove what is left of projects");
            }
        }
        update_rules(state).await;
        if Instant::now() >= save_from && !state.save_check_ins().await {
            save_from = Instant::now() + SAVE_AGAIN_AFTER;
        }
        if Instant::now() >= activity_from {
            state.save_activity().await;
            activity_from = Instant::now() + SAVE_ACTIVITY_EVERY;
        }
        if let Err(error) = state.end_revoked().await {
            // The store has logged the reason.
            tracing::debug!(%error, "cannot look for keys that were revoked");
        }
    }
}

/// Delivers rules that another server has set as soon as the store says so. Never completes.
async fn follow_rules(state: &AppState) {
    loop {
        state.stores.node.rules_changed().await;
        state.feed.refresh_all().await;
    }
}

/// Removes sessions that are over, old entries of the audit log, and the records of removed projects
/// that another engine has.
async fn expire(state: &AppState) {
    state.expire().await;
    for _ in 0..SWEPT_PARTS {
        match state.stores.sweep_records().await {
            Ok(true) => {}
            Ok(false) => break,
            // The store has logged the reason.
            Err(error) => {
                tracing::debug!(%error, "cannot remove the records of removed projects yet");
                break;
            }
        }
    }
}

/// Removes a part of the data of removed projects.
async fn sweep(state: &AppState) -> Result<(), StoreError> {
    for _ in 0..SWEPT_PARTS {
        if !state.stores.projects.sweep().await? {
            break;
        }
    }
    Ok(())
}

/// Composes the rules that are due, once, and delivers new versions to the agents that wait.
pub async fn update_rules(state: &AppState) {
    if state.stores.node.leads() {
        compose(state).await;
    }
    state.feed.refresh_all().await;
}

async fn compose(state: &AppState) {
    match compose_due(state).await {
        Ok(()) => drop(state.composing.succeeded()),
        // The store has logged the reason.
        Err(ChangeError::Store(error)) => {
            tracing::debug!(%error, "cannot compose the rules that are due");
        }
        Err(error) => {
            if state.composing.failed(0, Instant::now()) {
                tracing::warn!(%error, "cannot compose the rules that are due");
            }
        }
    }
}

async fn compose_due(state: &AppState) -> Result<(), ChangeError> {
    state.follow_clock().await?;
    let (rules, now) = (Arc::clone(&state.stores.rules), state.clock.now());
    off_thread(async move { versions::compose_due(&*rules, now).await }).await?
}
