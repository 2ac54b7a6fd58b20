//! The agents of a project, and how they are.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use guard_wire::status::LedgerReport;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::fleet::adoption::{self, Adopter, AdoptionError, AdoptionState};
use crate::query::{MAX_LIST_BYTES, Utc};
use crate::store::{AgentReport, ProjectId, StoreError, Stores};

/// An agent that has not reported for three status intervals, of five minutes by default, is silent.
const SILENT_AFTER: SignedDuration = SignedDuration::from_mins(15);
/// The most installs in a list.
const MAX_INSTALLS: u16 = 1000;

/// The agents of a project.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agents {
    /// The installs, those in the worst state first.
    pub items: Vec<Agent>,
    /// There is one page.
    #[schema(required = true)]
    pub next: Option<String>,
    /// How many there are.
    pub counts: AgentCounts,
}

/// How many agents there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgentCounts {
    /// Installs.
    pub total: u64,
    /// Installs that are not silent.
    pub reporting: u64,
    /// Installs that have not reported for long.
    pub silent: u64,
    /// Reporting installs that say they are degraded.
    pub degraded: u64,
    /// Reporting installs that say they deliver nothing.
    pub failed: u64,
    /// The version of the rules in force.
    #[schema(required = true)]
    pub rules_version: Option<i64>,
    /// Installs that applied it.
    pub rules_applied: u64,
}

/// An install.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agent {
    /// Identifies it.
    pub install_id: String,
    /// Its host.
    #[schema(required = true)]
    pub hostname: Option<String>,
    /// Its process.
    #[schema(required = true)]
    pub pid: Option<u64>,
    /// The agent, from `User-Agent`.
    #[schema(required = true)]
    pub agent: Option<String>,
    /// The agent's version.
    #[schema(required = true)]
    pub agent_version: Option<String>,
    /// `healthy`, `degraded`, `failed` or `unknown`.
    pub status: &'static str,
    /// Whether it has not reported for three status intervals.
    pub silent: bool,
    /// When it was last heard of.
    pub last_seen: Utc,
    /// How long its process runs.
    #[schema(required = true)]
    pub uptime_s: Option<f64>,
    /// When it last delivered a batch.
    #[schema(required = true)]
    pub last_flush: Option<String>,
    /// The records that it holds.
    pub queue: Queue,
    /// Where its records are.
    #[schema(required = true)]
    pub ledger: Option<LedgerReport>,
    /// Its last errors.
    pub errors: Vec<String>,
    /// The rules that it has.
    pub rules: AgentRules,
    /// How many of its processes ask for rules.
    pub processes: usize,
    /// The last report as it was sent.
    #[schema(value_type = Option<Object>, required = true)]
    pub report: Option<Box<RawValue>>,
}

/// The records that an agent holds.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Queue {
    /// In memory.
    #[schema(required = true)]
    pub buffered: Option<u64>,
    /// On disk or in Redis.
    #[schema(required = true)]
    pub spooled: Option<u64>,
}

/// The rules that an agent has.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct AgentRules {
    /// The version in force, as it reports.
    #[schema(required = true)]
    pub in_force: Option<i64>,
    /// The newest version that it fetched.
    #[schema(required = true)]
    pub fetched: Option<i64>,
    /// The newest version that it applied.
    #[schema(required = true)]
    pub applied: Option<i64>,
    /// How far its slowest process is with the version in force.
    #[schema(required = true)]
    pub state: Option<AdoptionState>,
    /// Why it refused a document.
    #[schema(required = true)]
    pub refused: Option<String>,
}

/// What the server reads from a report. Other agents may send less, or other types.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reported {
    status: Option<Loose<String>>,
    hostname: Option<Loose<String>>,
    pid: Option<Loose<u64>>,
    agent_version: Option<Loose<String>>,
    uptime: Option<Loose<f64>>,
    last_flush: Option<Loose<String>>,
    buffer_size: Option<Loose<u64>>,
    errors: Option<Loose<Vec<String>>>,
    ledger: Option<Loose<LedgerReport>>,
}

/// A value of the expected type, or another one that is ignored.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Loose<T> {
    Known(T),
    Other(serde::de::IgnoredAny),
}

fn known<T>(value: Option<Loose<T>>) -> Option<T> {
    match value? {
        Loose::Known(value) => Some(value),
        Loose::Other(_) => None,
    }
}

/// The agents of a project, with those that only ask for rules.
///
/// # Errors
///
/// [`StoreError`] if a store fails.
pub async fn agents(
    stores: &Stores,
    project: ProjectId,
    now: Timestamp,
) -> Result<Agents, StoreError> {
    let reports = stores
        .fleet
        .reports(project, MAX_INSTALLS, MAX_LIST_BYTES)
        .await?;
    let adoption = adoption::adoption(&*stores.rules, &*stores.fleet, project, None, now);
    let adoption = adoption.await.map_err(|error| match error {
        AdoptionError::Store(error) => error,
        // Only a version that was asked for can be missing.
        AdoptionError::NoSuchVersion { .. } => StoreError::Unavailable,
    })?;
    let mut processes = BTreeMap::<String, Vec<Adopter>>::new();
    for adopter in adoption.agents {
        let install = adopter.subscriber.id.install_id.clone();
        processes.entry(install).or_default().push(adopter);
    }
    let mut items = Vec::new();
    for report in reports {
        let processes = processes.remove(&report.install_id).unwrap_or_default();
        items.push(Agent::reported(report, &processes, now));
    }
    for (install, processes) in processes {
        items.extend(Agent::asking(install, &processes, now));
    }
    items.sort_by_key(|agent| (agent.rank(), Reverse(agent.last_seen)));
    let counts = count(&items, adoption.version);
    items.truncate(MAX_INSTALLS.into());
    Ok(Agents {
        counts,
        items,
        next: None,
    })
}

/// How many agents a project has.
///
/// # Errors
///
/// [`StoreError`] if a store fails.
pub async fn counts(
    stores: &Stores,
    project: ProjectId,
    now: Timestamp,
) -> Result<AgentCounts, StoreError> {
    Ok(agents(stores, project, now).await?.counts)
}

fn count(agents: &[Agent], rules_version: Option<i64>) -> AgentCounts {
    let number =
        |of: &dyn Fn(&Agent) -> bool| agents.iter().filter(|agent| of(agent)).count() as u64;
    AgentCounts {
        total: number(&|_| true),
        reporting: number(&|agent| !agent.silent),
        silent: number(&|agent| agent.silent),
        degraded: number(&|agent| !agent.silent && agent.status == "degraded"),
        failed: number(&|agent| !agent.silent && agent.status == "failed"),
        rules_version,
        rules_applied: number(&|agent| agent.rules.state == Some(AdoptionState::Applied)),
    }
}

impl Agent {
    fn reported(report: AgentReport, processes: &[Adopter], now: Timestamp) -> Self {
        let told: Reported = serde_json::from_str(report.status.get()).unwrap_or_default();
        let seen = processes.iter().map(|process| process.subscriber.seen_at);
        let last_seen = seen.chain([report.received_at]).max();
        let last_seen = last_seen.unwrap_or(report.received_at);
        let ledger = known(told.ledger);
        let status = known(told.status);
        Self {
            hostname: known(told.hostname),
            pid: known(told.pid),
            agent: processes.first().map(|it| it.subscriber.id.agent.clone()),
            agent_version: known(told.agent_version),
            status: health(status.as_deref()),
            silent: is_silent(last_seen, now),
            last_seen: Utc(last_seen),
            uptime_s: known(told.uptime),
            last_flush: known(told.last_flush),
            queue: Queue {
                buffered: known(told.buffer_size),
                spooled: ledger.as_ref().map(|ledger| ledger.spooled),
            },
            ledger,
            errors: known(told.errors).unwrap_or_default(),
            rules: rules(processes),
            processes: processes.len(),
            report: Some(report.status),
            install_id: report.install_id,
        }
    }

    /// An install that never reported its status.
    fn asking(install_id: String, processes: &[Adopter], now: Timestamp) -> Option<Self> {
        let last_seen = processes.iter().map(|it| it.subscriber.seen_at).max()?;
        Some(Self {
            install_id,
            hostname: None,
            pid: None,
            agent: processes.first().map(|it| it.subscriber.id.agent.clone()),
            agent_version: None,
            status: "unknown",
            silent: is_silent(last_seen, now),
            last_seen: Utc(last_seen),
            uptime_s: None,
            last_flush: None,
            queue: Queue::default(),
            ledger: None,
            errors: Vec::new(),
            rules: rules(processes),
            processes: processes.len(),
            report: None,
        })
    }

    /// The worst first.
    fn rank(&self) -> u8 {
        match (self.silent, self.status) {
            (false, "failed") => 0,
            (false, "degraded") => 1,
            (true, _) => 2,
            _ => 3,
        }
    }
}

fn is_silent(last_seen: Timestamp, now: Timestamp) -> bool {
    now.duration_since(last_seen) > SILENT_AFTER
}

fn health(status: Option<&str>) -> &'static str {
    let mut all = ["healthy", "degraded", "failed"].into_iter();
    all.find(|known| Some(*known) == status)
        .unwrap_or("unknown")
}

fn rules(processes: &[Adopter]) -> AgentRules {
    let newest = |of: &dyn Fn(&Adopter) -> Option<i64>| processes.iter().filter_map(of).max();
    AgentRules {
        in_force: newest(&|it| it.subscriber.in_force),
        fetched: newest(&|it| it.subscriber.fetched.map(|since| since.version)),
        applied: newest(&|it| it.subscriber.applied.map(|since| since.version)),
        state: processes.iter().filter_map(|it| it.state).min(),
        refused: processes
            .iter()
            .find_map(|it| it.subscriber.refused.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_unusual_values_is_read_as_far_as_it_goes() {
        let status = r#"{"status":"degraded","pid":"x","uptime":12,"errors":[1],"buffer_size":3}"#;
        let report = AgentReport {
            install_id: "i".to_owned(),
            received_at: Timestamp::UNIX_EPOCH,
            status: RawValue::from_string(status.to_owned()).unwrap(),
        };
        let agent = Agent::reported(report, &[], Timestamp::UNIX_EPOCH);
        assert_eq!(
            (agent.status, agent.pid, agent.uptime_s),
            ("degraded", None, Some(12.0))
        );
        assert_eq!(agent.queue.buffered, Some(3));
        assert!(agent.errors.is_empty() && !agent.silent);
    }
}
