//! The background loop beside the requests. It ends or renews bans, notices rules that another
//! process published, saves check-ins, removes what has expired, evaluates alerts and delivers their
//! notifications.

mod alerts;
pub mod retention;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::http::AppState;
use crate::off_thread::off_thread;
use crate::rules::versions::{self, ChangeError};
use crate::store::StoreError;

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
pub async fn run(state: &AppState) {
    tokio::join!(
        run_rules(state),
        retention::run(state),
        alerts::evaluate(state),
        alerts::deliver(state),
    );
}

async fn run_rules(state: &AppState) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut save_from, mut activity_from) = (Instant::now(), Instant::now());
    let mut expire_from = Instant::now();
    loop {
        ticks.tick().await;
        if Instant::now() >= expire_from {
            expire_from = Instant::now() + EXPIRE_EVERY;
            state.expire().await;
        }
        update_rules(state).await;
        if Instant::now() >= save_from && !state.save_check_ins().await {
            save_from = Instant::now() + SAVE_AGAIN_AFTER;
        }
        if Instant::now() >= activity_from {
            state.save_activity().await;
            activity_from = Instant::now() + SAVE_ACTIVITY_EVERY;
        }
        if let Err(error) = look_after_projects(state).await {
            // The store has logged the reason.
            tracing::debug!(%error, "cannot look after projects");
        }
    }
}

/// Ends requests whose key was revoked, and removes a part of the data of removed projects.
async fn look_after_projects(state: &AppState) -> Result<(), StoreError> {
    state.end_revoked().await?;
    for _ in 0..SWEPT_PARTS {
        if !state.stores.projects.sweep().await? {
            break;
        }
    }
    Ok(())
}

/// Composes the rules that are due, once, and delivers new versions to the agents that wait.
pub async fn update_rules(state: &AppState) {
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
    state.feed.refresh_all().await;
}

async fn compose_due(state: &AppState) -> Result<(), ChangeError> {
    state.follow_clock().await?;
    let (rules, now) = (Arc::clone(&state.stores.rules), state.clock.now());
    off_thread(async move { versions::compose_due(&*rules, now).await }).await?
}
