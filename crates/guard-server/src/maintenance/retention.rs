//! Removes what projects keep no longer, and keeps a reserve of the disk free.

use std::collections::BinaryHeap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::MissedTickBehavior;

use crate::http::AppState;
use crate::projects::{Project, Settings};
use crate::store::{DiskRoom, Expired, Expiry, ProjectId, StoreError, Stores};

/// How often the disk is checked.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often records expire, in checks of the disk.
const EXPIRE_EVERY: u32 = 60;
/// The most steps for one project before the others have their turn.
const MAX_STEPS: u32 = 2000;
/// The default reserve is the smaller of this and a twentieth of the disk.
const MAX_RESERVE: u64 = 1 << 30;
/// Room that the store may keep for new records before it returns more to the disk.
const KEEP: u64 = 64 << 20;
/// Near the reserve, this part of the data gives way to new records.
const MAKE_ROOM: u64 = 10;
/// If less than this is free in the store then, no more records are accepted.
const LEAST_ROOM: u64 = 1 << 20;

/// Runs the loop. Never completes.
pub(super) async fn run(state: &AppState) {
    let mut ticks = tokio::time::interval(CHECK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut checks = 0;
    loop {
        ticks.tick().await;
        checks += 1;
        // The store has logged the reason of a failure.
        let kept = keep_reserve(state).await;
        if checks >= EXPIRE_EVERY && kept.is_ok() && state.stores.node.leads() {
            checks = 0;
            let (now, mut removed) = (state.clock.now(), Expired::default());
            let expired = expire_all(&state.stores, now, &mut removed).await;
            count(state, removed);
            match expired {
                Ok(()) => state.monitor.retention.ran(now),
                Err(error) => tracing::debug!(%error, "cannot remove what has expired"),
            }
        }
    }
}

/// Removes what has expired from each project, and returns free room to the disk. Adds to `removed`
/// what it removed.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn expire_all(
    stores: &Stores,
    now: Timestamp,
    removed: &mut Expired,
) -> Result<(), StoreError> {
    for project in stores.projects.projects().await? {
        expire(stores, &project, now, removed).await?;
    }
    if removed.total() > 0 {
        tracing::debug!(removed = removed.total(), "removed what has expired");
    }
    for _ in 0..MAX_STEPS {
        if !stores.telemetry.compact(KEEP).await? {
            break;
        }
    }
    Ok(())
}

/// Removes what one project keeps no longer: first by age, then by size.
async fn expire(
    stores: &Stores,
    project: &Project,
    now: Timestamp,
    removed: &mut Expired,
) -> Result<(), StoreError> {
    let telemetry = &stores.telemetry;
    let expiry = expiry(&project.settings, now);
    for _ in 0..MAX_STEPS {
        let step = telemetry.expire(project.id, expiry).await?;
        *removed += step;
        if !step.has_more {
            break;
        }
    }
    if let Some(most) = project.settings.retention_bytes {
        remove_excess(stores, project, most, removed).await?;
    }
    Ok(())
}

/// Removes the oldest records of a project that takes more than `most` bytes.
async fn remove_excess(
    stores: &Stores,
    project: &Project,
    most: u64,
    removed: &mut Expired,
) -> Result<(), StoreError> {
    let telemetry = &stores.telemetry;
    let mut excess = 0_u64;
    for _ in 0..MAX_STEPS {
        if excess == 0 {
            let usage = telemetry.usage(project.id).await?;
            excess = usage.bytes.saturating_sub(most);
        }
        // Usually there is no excess, and then the writer is not needed.
        if excess == 0 {
            break;
        }
        let step = telemetry.expire_oldest(project.id, excess).await?;
        if step.events + step.metrics == 0 {
            break;
        }
        *removed += step;
        excess = excess.saturating_sub(step.bytes);
    }
    Ok(())
}

/// What a project with these settings keeps no longer at `now`.
fn expiry(settings: &Settings, now: Timestamp) -> Expiry {
    let hours_ago = |hours: u32| {
        let age = SignedDuration::from_hours(hours.into());
        now.saturating_sub(age).unwrap_or(Timestamp::MIN)
    };
    let by_days = hours_ago(settings.retention_days.saturating_mul(24));
    Expiry {
        events_before: by_days,
        metrics_before: by_days.max(hours_ago(settings.raw_metrics_hours)),
        rollups_before: by_days,
    }
}

/// Near the reserve, makes room in the store for new records, oldest records first, if this server
/// leads. If that is not enough, records are refused.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn keep_reserve(state: &AppState) -> Result<(), StoreError> {
    let telemetry = &state.stores.telemetry;
    let mut room = telemetry.disk_room().await?;
    let Some(free) = room.free else { return Ok(()) };
    let default = MAX_RESERVE.min(room.total.unwrap_or(u64::MAX) / 20);
    if free >= state.limits.reserve.unwrap_or(default) {
        note(state, false, room);
        return Ok(());
    }
    let wanted = KEEP.min((room.used + room.reusable) / MAKE_ROOM);
    // Little data would not make enough room. Then it is not what fills the disk.
    if wanted >= LEAST_ROOM && state.stores.node.leads() {
        let mut projects = by_size(&state.stores).await?;
        for _ in 0..MAX_STEPS {
            let missing = wanted.saturating_sub(room.reusable);
            if missing == 0 {
                break;
            }
            let removed = remove_oldest(&state.stores, &mut projects, missing).await?;
            count(state, removed);
            if removed.total() == 0 {
                break;
            }
            room = telemetry.disk_room().await?;
        }
    }
    let is_full = room.reusable < LEAST_ROOM;
    note(state, is_full, room);
    Ok(())
}

/// Notes whether records must be refused, and measures the room.
fn note(state: &AppState, is_full: bool, room: DiskRoom) {
    state.storage.set(is_full, room);
    let retention = &state.monitor.retention;
    retention.found(room.used, room.reusable, is_full);
}

fn count(state: &AppState, removed: Expired) {
    let Expired {
        events,
        metrics,
        rollups,
        bytes,
        ..
    } = removed;
    let retention = &state.monitor.retention;
    retention.removed(events, metrics, rollups, bytes);
}

/// The projects, by the bytes that they take.
async fn by_size(stores: &Stores) -> Result<BinaryHeap<(u64, ProjectId)>, StoreError> {
    let mut projects = BinaryHeap::new();
    for project in stores.projects.projects().await? {
        let bytes = stores.telemetry.usage(project.id).await?.bytes;
        projects.push((bytes, project.id));
    }
    Ok(projects)
}

/// Removes the oldest records of the project that takes the most room, up to `bytes` bytes of them.
/// Returns what it removed.
async fn remove_oldest(
    stores: &Stores,
    projects: &mut BinaryHeap<(u64, ProjectId)>,
    bytes: u64,
) -> Result<Expired, StoreError> {
    while let Some((size, project)) = projects.pop() {
        let step = stores.telemetry.expire_oldest(project, bytes).await?;
        if step.events + step.metrics > 0 {
            projects.push((size.saturating_sub(step.bytes), project));
            return Ok(step);
        }
    }
    Ok(Expired::default())
}
