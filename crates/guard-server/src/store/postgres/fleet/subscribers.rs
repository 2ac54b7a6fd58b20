//! The agents that ask for rules, in PostgreSQL.
//!
//! Several nodes save check-ins of the same agents. What an agent becomes depends on what it was, so a
//! transaction locks the projects of its check-ins first. Then it reads the agents, applies the
//! check-ins in memory, and writes the agents that changed.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;

use super::{micros, unseen_since};
use crate::store::postgres::rows::{ReadError, column, count, optional_timestamp, timestamp};
use crate::store::postgres::session::{Session, Transaction};
use crate::store::{
    AgentId, CheckIn, ProjectId, Room, RuleSubscriber, Since, StoreError, SubscriberPolicy,
};

/// The columns that [`subscriber`] reads.
const SUBSCRIBER: &str = "install_id, process, agent, seen_at, asked_at, holds, interval, \
                          fetched, fetched_at, applied, applied_at, in_force, refused, reported_at";

/// The subscribers of a project, ordered by installation and process.
pub(super) async fn all(
    session: &Session<'_>,
    project: ProjectId,
) -> Result<Vec<RuleSubscriber>, StoreError> {
    let all = format!(
        "SELECT {SUBSCRIBER} FROM rule_followers WHERE project_id = $1
         ORDER BY install_id, process"
    );
    session.all(&all, &[&project.0], subscriber).await
}

/// Applies check-ins. Returns how many agents were left out for lack of room.
pub(super) async fn save(
    transaction: &Transaction<'_>,
    check_ins: &[CheckIn],
    policy: SubscriberPolicy,
) -> Result<u64, StoreError> {
    let projects = check_ins.iter().map(|it| it.project).collect();
    let projects = transaction.lock_projects(&projects).await?;
    // Nothing is stored for a project that has been removed.
    let check_ins: Vec<&CheckIn> = check_ins
        .iter()
        .filter(|it| projects.contains(&it.project))
        .collect();
    let mut agents = Agents::of(transaction, &check_ins).await?;
    let mut places = HashMap::new();
    let mut left_out = 0;
    for check_in in &check_ins {
        let before = agents.get(check_in);
        let is_new = before.is_none();
        let Some(subscriber) = (policy.apply)(before, check_in) else {
            continue;
        };
        if is_new {
            let places = match places.entry(check_in.project) {
                Entry::Occupied(places) => places.into_mut(),
                Entry::Vacant(entry) => {
                    entry.insert(Places::of(&agents, check_in.project, policy.room).await?)
                }
            };
            if !places.take(&mut agents, check_in.at).await? {
                left_out += 1;
                continue;
            }
        }
        agents.put(check_in.project, subscriber);
    }
    agents.write().await?;
    forget(transaction, &check_ins, policy.forget_after).await?;
    Ok(left_out)
}

/// Identifies an agent: its project, installation and process.
type Key = (ProjectId, String, String);

fn key(project: ProjectId, agent: &AgentId) -> Key {
    (project, agent.install_id.clone(), agent.process.clone())
}

/// The agents of some check-ins, as they become.
struct Agents<'a> {
    transaction: &'a Transaction<'a>,
    known: HashMap<Key, RuleSubscriber>,
    /// Those that are not written yet.
    changed: BTreeSet<Key>,
}

impl<'a> Agents<'a> {
    async fn of(
        transaction: &'a Transaction<'a>,
        check_ins: &[&CheckIn],
    ) -> Result<Self, StoreError> {
        let keys: BTreeSet<_> = check_ins
            .iter()
            .map(|it| (it.project.0, &*it.agent.install_id, &*it.agent.process))
            .collect();
        let projects: Vec<i64> = keys.iter().map(|key| key.0).collect();
        let installs: Vec<&str> = keys.iter().map(|key| key.1).collect();
        let processes: Vec<&str> = keys.iter().map(|key| key.2).collect();
        let known = format!(
            "SELECT {SUBSCRIBER}, project_id FROM rule_followers
             WHERE (project_id, install_id, process) IN
                (SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[]))"
        );
        let known = transaction
            .all(&known, &[&projects, &installs, &processes], |row| {
                let subscriber = subscriber(row)?;
                let project = ProjectId(row.try_get(14)?);
                Ok((key(project, &subscriber.id), subscriber))
            })
            .await?;
        Ok(Self {
            transaction,
            known: known.into_iter().collect(),
            changed: BTreeSet::new(),
        })
    }

    fn get(&self, check_in: &CheckIn) -> Option<RuleSubscriber> {
        let key = key(check_in.project, &check_in.agent);
        self.known.get(&key).cloned()
    }

    fn put(&mut self, project: ProjectId, subscriber: RuleSubscriber) {
        let key = key(project, &subscriber.id);
        self.known.insert(key.clone(), subscriber);
        self.changed.insert(key);
    }

    /// Writes those that changed, without waiting for one before the next is sent.
    async fn write(&mut self) -> Result<(), StoreError> {
        let changed = std::mem::take(&mut self.changed);
        let changed = changed.iter().filter_map(|key| {
            let subscriber = self.known.get(key)?;
            Some(write(self.transaction, key.0, subscriber))
        });
        try_join_all(changed).await.map(drop)
    }

    /// When the agent of a project that is silent for longest sent its last signal.
    async fn oldest(&mut self, project: ProjectId) -> Result<Option<i64>, StoreError> {
        self.write().await?;
        let oldest = "SELECT min(seen_at) FROM rule_followers WHERE project_id = $1";
        self.transaction.one(oldest, &[&project.0], column).await
    }

    /// Removes the agents of a project that sent their last signal at `seen_at`. Returns how many.
    async fn remove(&mut self, project: ProjectId, seen_at: i64) -> Result<u64, StoreError> {
        let remove = "DELETE FROM rule_followers WHERE project_id = $1 AND seen_at = $2
                      RETURNING install_id, process";
        let removed = self
            .transaction
            .all(remove, &[&project.0, &seen_at], |row| {
                Ok((project, row.try_get(0)?, row.try_get(1)?))
            })
            .await?;
        for key in &removed {
            self.known.remove(key);
        }
        Ok(removed.len() as u64)
    }
}

/// The places for agents of one project. When all are taken, a new agent replaces one that was silent
/// for long. An active agent keeps its place however many new ones come, so invented names cannot
/// displace real agents.
struct Places {
    project: ProjectId,
    room: Room,
    left: u64,
    /// An agent whose signal is not later than this finds no agent that it may replace.
    full_until: Timestamp,
}

impl Places {
    async fn of(agents: &Agents<'_>, project: ProjectId, room: Room) -> Result<Self, StoreError> {
        let there = "SELECT count(*) FROM rule_followers WHERE project_id = $1";
        let there = agents.transaction.one(there, &[&project.0], count).await?;
        Ok(Self {
            project,
            room,
            left: u64::from(room.installs).saturating_sub(there),
            full_until: Timestamp::MIN,
        })
    }

    /// Takes a place for an agent that sends a signal at `now`. Returns whether there was one.
    async fn take(&mut self, agents: &mut Agents<'_>, now: Timestamp) -> Result<bool, StoreError> {
        if self.left == 0 && now > self.full_until {
            self.left = self.displace(agents, now).await?;
        }
        let is_there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        Ok(is_there)
    }

    /// Removes the agent that was silent for longest, if that is long enough.
    async fn displace(
        &mut self,
        agents: &mut Agents<'_>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let Some(oldest) = agents.oldest(self.project).await? else {
            return Ok(0);
        };
        if oldest < unseen_since(now, self.room).as_microsecond() {
            return agents.remove(self.project, oldest).await;
        }
        self.full_until = now;
        Ok(0)
    }
}

/// Removes the agents that were silent for long, of the projects that have news.
async fn forget(
    transaction: &Transaction<'_>,
    check_ins: &[&CheckIn],
    after: SignedDuration,
) -> Result<(), StoreError> {
    let mut latest = BTreeMap::<i64, i64>::new();
    for check_in in check_ins {
        let at = check_in.at.as_microsecond();
        let latest = latest.entry(check_in.project.0).or_insert(at);
        *latest = at.max(*latest);
    }
    let (projects, times): (Vec<i64>, Vec<i64>) = latest.into_iter().unzip();
    transaction
        .execute(
            "DELETE FROM rule_followers
             USING unnest($1::bigint[], $2::bigint[]) AS latest (project, at)
             WHERE project_id = project AND abs(at - seen_at) > $3",
            &[&projects, &times, &micros(after)],
        )
        .await
        .map(drop)
}

async fn write(
    transaction: &Transaction<'_>,
    project: ProjectId,
    subscriber: &RuleSubscriber,
) -> Result<(), StoreError> {
    let version = |since: Option<Since>| since.map(|since| since.version);
    let at = |since: Option<Since>| since.map(|since| since.at.as_microsecond());
    transaction
        .execute(
            "INSERT INTO rule_followers (project_id, install_id, process, agent, seen_at, asked_at,
                holds, interval, fetched, fetched_at, applied, applied_at, in_force, refused,
                reported_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
             ON CONFLICT (project_id, install_id, process) DO UPDATE SET agent = excluded.agent,
                seen_at = excluded.seen_at, asked_at = excluded.asked_at, holds = excluded.holds,
                interval = excluded.interval, fetched = excluded.fetched,
                fetched_at = excluded.fetched_at, applied = excluded.applied,
                applied_at = excluded.applied_at, in_force = excluded.in_force,
                refused = excluded.refused, reported_at = excluded.reported_at",
            &[
                &project.0,
                &subscriber.id.install_id,
                &subscriber.id.process,
                &subscriber.id.agent,
                &subscriber.seen_at.as_microsecond(),
                &subscriber.asked_at.as_microsecond(),
                &subscriber.holds,
                &subscriber.interval.map(micros),
                &version(subscriber.fetched),
                &at(subscriber.fetched),
                &version(subscriber.applied),
                &at(subscriber.applied),
                &subscriber.in_force,
                &subscriber.refused,
                &subscriber.reported_at.map(Timestamp::as_microsecond),
            ],
        )
        .await
        .map(drop)
}

fn subscriber(row: &Row) -> Result<RuleSubscriber, ReadError> {
    let since = |version: usize| -> Result<Option<Since>, ReadError> {
        let at = optional_timestamp(row, version + 1)?;
        let version = row.try_get::<_, Option<i64>>(version)?.zip(at);
        Ok(version.map(|(version, at)| Since { version, at }))
    };
    let interval: Option<i64> = row.try_get(6)?;
    Ok(RuleSubscriber {
        id: AgentId {
            install_id: row.try_get(0)?,
            process: row.try_get(1)?,
            agent: row.try_get(2)?,
        },
        seen_at: timestamp(row, 3)?,
        asked_at: timestamp(row, 4)?,
        holds: row.try_get(5)?,
        interval: interval.map(SignedDuration::from_micros),
        fetched: since(7)?,
        applied: since(9)?,
        in_force: row.try_get(11)?,
        refused: row.try_get(12)?,
        reported_at: optional_timestamp(row, 13)?,
    })
}
