//! Conditions on what the stores say: silent agents, losses, storage, refused rules.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::counter::Measure;
use super::criteria::in_window;
use super::state::{Finding, GroupKey};
use crate::alerts::Condition;
use crate::alerts::condition::{AgentSilent, CountInWindow, Storage};
use crate::explore::agents::{Agent, Agents, agents};
use crate::projects::{Settings, Usage};
use crate::query::TimeRange;
use crate::store::{Project, StoreError, Stores};

/// An agent that was silent for this long has probably been removed for good.
const GONE_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// An agent that began to report within this time of the last sign of another replaced it.
const REPLACED_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// What conditions look at, besides the stores.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) project: &'a Project,
    pub(super) now: Timestamp,
    /// For how long the server could receive without a break.
    pub(super) receiving: Duration,
    /// Whether records are refused because the disk is full.
    pub(super) is_full: bool,
}

/// What the stores of one project say, read once for all its alerts.
#[derive(Default)]
pub(super) struct Said {
    agents: Option<Agents>,
}

impl Said {
    /// Evaluates a condition that is not about events.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a store fails.
    pub(super) async fn findings(
        &mut self,
        condition: &Condition,
        stores: &Stores,
        view: View<'_>,
    ) -> Result<Vec<Finding>, StoreError> {
        match condition {
            Condition::AgentSilent(it) => {
                let agents = self.agents(stores, view).await?;
                Ok(silent(it, &agents.items, view))
            }
            Condition::RuleRejected(_) => {
                let agents = self.agents(stores, view).await?;
                Ok(rejected(&agents.items, view.now).into_iter().collect())
            }
            Condition::Losses(it) => losses(it, stores, view).await,
            Condition::Storage(it) => storage(it, stores, view).await,
            _ => Ok(Vec::new()),
        }
    }

    async fn agents(&mut self, stores: &Stores, view: View<'_>) -> Result<&Agents, StoreError> {
        let read = match self.agents.take() {
            Some(agents) => agents,
            None => agents(stores, view.project.id, view.now).await?,
        };
        Ok(self.agents.insert(read))
    }
}

fn silent(condition: &AgentSilent, agents: &[Agent], view: View<'_>) -> Vec<Finding> {
    let limit = i64::try_from(condition.after_s).unwrap_or(i64::MAX);
    let limit = SignedDuration::from_secs(limit);
    let receiving = SignedDuration::try_from(view.receiving).unwrap_or(SignedDuration::MAX);
    let is_silent = |agent: &&Agent| {
        let silence = view.now.duration_since(agent.last_seen.0);
        silence.min(receiving) >= limit && silence < GONE_AFTER
    };
    let finding = |agent: &Agent| Finding {
        group: GroupKey::Value(Some(agent.install_id.clone())),
        is_over: true,
        count: 1,
        baseline: None,
        since: agent.last_seen.0,
        detail: agent.hostname.clone(),
    };
    agents
        .iter()
        .filter(is_silent)
        .filter(|agent| !is_replaced(agent, agents, limit, view.now))
        .map(finding)
        .collect()
}

/// Whether another agent began to report when this one fell silent, as after a deployment in
/// containers.
fn is_replaced(agent: &Agent, agents: &[Agent], limit: SignedDuration, now: Timestamp) -> bool {
    agents.iter().any(|other| {
        let uptime = other
            .uptime_s
            .and_then(|it| SignedDuration::try_from_secs_f64(it).ok());
        let began = uptime.and_then(|uptime| other.last_seen.0.checked_sub(uptime).ok());
        now.duration_since(other.last_seen.0) < limit
            && began.is_some_and(|began| {
                began.duration_since(agent.last_seen.0).abs() <= REPLACED_WITHIN
            })
    })
}

fn rejected(agents: &[Agent], now: Timestamp) -> Option<Finding> {
    let refusing: Vec<_> = agents
        .iter()
        .filter(|agent| !agent.silent && agent.rules.refused.is_some())
        .collect();
    let reason = refusing.first()?.rules.refused.as_deref()?;
    Some(Finding {
        group: GroupKey::Whole,
        is_over: true,
        count: refusing.len() as u64,
        baseline: None,
        since: now,
        detail: Some(crate::visible::visible(reason).chars().take(200).collect()),
    })
}

async fn losses(
    condition: &CountInWindow,
    stores: &Stores,
    view: View<'_>,
) -> Result<Vec<Finding>, StoreError> {
    let window = i64::try_from(condition.window_s).unwrap_or(i64::MAX);
    let from = view.now.saturating_sub(SignedDuration::from_secs(window));
    // Losses are kept by the minute.
    let minute = from.unwrap_or(Timestamp::MIN).as_second().div_euclid(60) * 60;
    let range = TimeRange {
        from: Timestamp::from_second(minute).unwrap_or(Timestamp::MIN),
        to: view.now,
    };
    let lost = stores.losses.losses(view.project.id, range).await?;
    let mut reasons = std::collections::BTreeMap::<&str, u64>::new();
    for count in &lost {
        *reasons.entry(&count.reason).or_default() += count.n;
    }
    let measure = Measure {
        count: reasons.values().sum(),
        before: 0,
        since: lost.iter().map(|it| it.minute).min().unwrap_or(view.now),
    };
    let names = reasons.iter().map(|(reason, n)| format!("{n} {reason}"));
    let detail = Some(names.collect::<Vec<_>>().join(", "));
    let finding = in_window(condition, measure).map(|finding| Finding { detail, ..finding });
    Ok(finding.into_iter().collect())
}

async fn storage(
    condition: &Storage,
    stores: &Stores,
    view: View<'_>,
) -> Result<Vec<Finding>, StoreError> {
    let usage = stores.telemetry.usage(view.project.id).await?;
    let full = view.is_full.then(|| Level {
        is_over: true,
        detail: "the disk is full: records are refused".to_owned(),
    });
    let settings = &view.project.settings;
    let levels = [
        full,
        days_left(condition, usage, settings),
        used(condition, usage, settings),
    ];
    let mut levels: Vec<_> = levels.into_iter().flatten().collect();
    // The first that starts the alert, else the first that keeps it going.
    levels.sort_by_key(|level| !level.is_over);
    let finding = levels.into_iter().next().map(|level| Finding {
        group: GroupKey::Whole,
        is_over: level.is_over,
        count: 0,
        baseline: None,
        since: view.now,
        detail: Some(level.detail),
    });
    Ok(finding.into_iter().collect())
}

/// One reason to say that storage fills up.
struct Level {
    /// Whether this starts the alert. If not, it only keeps an alert that has started.
    is_over: bool,
    detail: String,
}

fn days_left(condition: &Storage, usage: Usage, settings: &Settings) -> Option<Level> {
    let days = usage.days_left(settings)?;
    let unit = if days == 1 { "day" } else { "days" };
    (days <= condition.days_left + 1).then(|| Level {
        is_over: days <= condition.days_left,
        detail: format!("the disk is full in {days} {unit} at this growth"),
    })
}

fn used(condition: &Storage, usage: Usage, settings: &Settings) -> Option<Level> {
    let (most, limit) = (settings.retention_bytes?, condition.used_percent?);
    let percent = usage.bytes.saturating_mul(100) / most.max(1);
    (percent + 2 >= limit).then(|| Level {
        is_over: percent >= limit,
        detail: format!("{percent} % of retention_bytes are used"),
    })
}
