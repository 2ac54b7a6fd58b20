//! Evaluates alerts, and delivers their notifications, on the server that leads. The two run apart, so that a receiver that
//! does not answer delays no evaluation; neither holds up a request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::alerts::delivery::Delivery;
use crate::alerts::evaluator::{EVERY, Evaluation, Evaluator, Outside};
use crate::alerts::notification::NotificationState;
use crate::clock::Reading;
use crate::http::AppState;
use crate::trouble::TroubleLog;

/// How often the outbox is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the size of the outbox is measured, in looks at it.
const MEASURE_EVERY: u32 = 20;

/// Evaluates alerts. Never completes.
pub(super) async fn evaluate(state: &AppState) {
    let mut evaluator = Evaluator::new(state.dashboard.clone());
    let log = TroubleLog::default();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = state.follow_clock().await {
            // The store has logged the reason.
            tracing::debug!(%error, "cannot follow the clock");
        }
        let outside = Outside {
            wrong_passwords: state.sign_ins.wrong(),
            is_full: state.storage.is_full(),
        };
        let clock = || Reading::of(&*state.clock);
        match evaluator.evaluate(&state.stores, clock, outside).await {
            Ok(evaluation) => {
                if let Some(failures) = log.succeeded() {
                    tracing::info!(failures, "alerts are evaluated again");
                }
                note(state, &evaluation);
                state.alert_failures.set(evaluator.failures());
            }
            Err(error) => {
                state.monitor.alerts.evaluated("failed", 1);
                if log.failed(0, Instant::now()) {
                    tracing::error!(%error, "alerts cannot be evaluated; they stay as they are");
                }
            }
        }
    }
}

fn note(state: &AppState, evaluation: &Evaluation) {
    use NotificationState::{Ended, Ongoing, Started};
    let meters = &state.monitor.alerts;
    meters.evaluated("evaluated", evaluation.evaluated);
    meters.evaluated("failed", evaluation.failed);
    for (told, n) in [Started, Ongoing, Ended].into_iter().zip(evaluation.told) {
        meters.told(told.name(), n);
    }
    for failure in &evaluation.new_failures {
        tracing::warn!(
            alert = failure,
            "an alert cannot be evaluated; it stays as it is"
        );
    }
    if evaluation.left_out > 0 {
        meters.left_out(evaluation.left_out);
        tracing::error!(
            left_out = evaluation.left_out,
            "notifications are left out, because too many wait for their receivers; look at the \
             channels"
        );
    }
}

/// Delivers notifications. Never completes.
pub(super) async fn deliver(state: &AppState) {
    let alerts = Arc::clone(&state.stores.alerts);
    let meters = state.monitor.alerts.clone();
    let mut delivery = Delivery::new(alerts, Arc::clone(&state.sender), meters);
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => looks += 1,
            // The next one of this channel may follow at once.
            () = delivery.next() => {}
        }
        let now = state.clock.now();
        if let Err(error) = delivery.begin(now).await {
            // The store has logged the reason.
            tracing::debug!(%error, "cannot read the notifications that wait");
        }
        if looks >= MEASURE_EVERY {
            looks = 0;
            if let Ok(size) = state.stores.alerts.outbox_size().await {
                let age = size.oldest.map(|at| now.duration_since(at).as_secs());
                let age = age.and_then(|age| u64::try_from(age).ok());
                state.monitor.alerts.outbox(size.waiting, age.unwrap_or(0));
            }
        }
    }
}
