//! Records in Redis: one stream for each project, shared by all its processes.
//!
//! | key | what it holds |
//! |---|---|
//! | `guard_agent:{project}:records` | a stream; an entry has one field: `event` or `metric`, and the record's JSON |
//! | `guard_agent:{project}:size` | the bytes of all records, with an overhead for each |
//! | `guard_agent:{project}:quarantine` | a stream of records that the backend refuses, each with its `reason` |
//! | `guard_agent:{project}:lease:<consumer>` | expires when a process gives no sign of life: `alive`, or `ended` |
//!
//! Processes are consumers of the group `agents`, named at random. Each adds
//! its records and claims them in one step, so an entry is always pending for
//! the process that answers for it. A process without a lease is dead once it
//! was seen so for a third of the lease's length: after an outage of Redis, when
//! all leases have lapsed, the living have that time to renew theirs. Then the
//! others claim its entries; a step of a script's is atomic, so that no two take
//! the same.
//!
//! Whenever the connection was lost, the process compares what it knows with what
//! Redis has: an entry it knows nothing of was added by a call whose answer was
//! lost, and is removed; a record that Redis has lost is saved again,
//! if it is in memory, or counted as lost.

mod health;
mod holdings;
mod link;
mod options;
mod trust;

use std::collections::HashMap;
use std::time::Instant;

use guard_wire::Kind;
use redis::{Cmd, Connection};
use uuid::Uuid;

pub use self::health::RedisHealth;
use self::holdings::{Holdings, Id, Stray};
use self::link::Link;
pub use self::options::{REDIS_LEASE, REDIS_TIMEOUT, RedisOptions};
use super::store::{Store, StoreError, Stored, Usage};

/// What each record takes in Redis beside its JSON, in bytes, as
/// [`RedisOptions::max_bytes`] counts.
pub const REDIS_RECORD_OVERHEAD: u64 = 200;

/// How many records the quarantine keeps: the newest.
pub const REDIS_QUARANTINE: u32 = 1000;

/// The consumer group of agents.
const GROUP: &str = "agents";

/// Records, or names of records, in one step where the number is ours to choose.
const STEP: usize = 500;

/// Steps of adoption before records are saved again.
const ADOPTIONS: usize = 10;

/// An entry of a stream: its name, and its only field.
type Entry = (String, HashMap<String, Vec<u8>>);

/// Keeps records in Redis until they are delivered; see the module's beginning
/// for how. A call ends after a few times [`REDIS_TIMEOUT`] at the latest.
pub struct RedisStore {
    link: Link,
    consumer: String,
    keys: Keys,
    holdings: Holdings,
    /// Tokens of records that Redis has lost.
    forgotten: Vec<u64>,
    damaged: [u64; 2],
    taken: [u64; 2],
    warning: Option<String>,
    quarantined: u64,
    /// Bytes by which the last group exceeded the limit.
    shortfall: u64,
    /// Consumers without a lease, and since when.
    suspects: HashMap<String, Instant>,
    next_look: Option<Instant>,
}

struct Keys {
    records: String,
    size: String,
    quarantine: String,
    leases: String,
    lease: String,
}

impl RedisStore {
    /// Connects to Redis.
    ///
    /// # Errors
    ///
    /// [`StoreError`], when Redis cannot be reached or used.
    pub fn open(options: RedisOptions) -> Result<Self, StoreError> {
        let consumer = Uuid::new_v4().simple().to_string();
        let leases = options.key("lease:");
        let keys = Keys {
            records: options.key("records"),
            size: options.key("size"),
            quarantine: options.key("quarantine"),
            lease: [leases.as_str(), consumer.as_str()].concat(),
            leases,
        };
        let mut store = Self {
            link: Link::new(options),
            consumer,
            keys,
            holdings: Holdings::default(),
            forgotten: Vec::new(),
            damaged: [0; 2],
            taken: [0; 2],
            warning: None,
            quarantined: 0,
            shortfall: 0,
            suspects: HashMap::new(),
            next_look: None,
        };
        store.ready()?;
        Ok(store)
    }

    /// Asks a Redis how it is, and what it has of the project.
    ///
    /// # Errors
    ///
    /// [`StoreError`], when Redis cannot be reached or used.
    pub fn inspect(options: RedisOptions) -> Result<(RedisHealth, Option<String>), StoreError> {
        let (records, size) = (options.key("records"), options.key("size"));
        let (quarantine, place) = (options.key("quarantine"), options.place().to_owned());
        let mut link = Link::new(options);
        link.open()?;
        let mut health = link.run(RedisHealth::ask)?;
        let (count, bytes, quarantined) = link.run(|connection| {
            redis::pipe()
                .cmd("XLEN")
                .arg(records)
                .cmd("GET")
                .arg(size)
                .cmd("XLEN")
                .arg(quarantine)
                .query::<(u64, Option<u64>, u64)>(connection)
        })?;
        health.records = count;
        health.bytes = bytes.unwrap_or_default();
        health.quarantined = quarantined;
        let warning = health.warning(&place);
        Ok((health, warning))
    }

    /// Puts the records that were set aside back among those to deliver; how many.
    /// A process that lives takes them within a third of a lease.
    ///
    /// # Errors
    ///
    /// [`StoreError`], when Redis cannot be used or has no room; what was not put
    /// back stays aside.
    pub fn requeue_quarantined(options: RedisOptions) -> Result<u64, StoreError> {
        let mut store = Self::open(options)?;
        let (mut requeued, mut from) = (0, "-".to_owned());
        loop {
            let aside = store.set_aside(&from)?;
            let Some((last, _)) = aside.last() else {
                break;
            };
            from = named(last)?.next().to_string();
            let known = aside.iter().filter_map(|(id, fields)| {
                let kind = |kind: &Kind| fields.contains_key(kind.as_str());
                let kind = Kind::ALL.into_iter().find(kind)?;
                Some((id, (kind, fields.get(kind.as_str())?.as_slice())))
            });
            let (ids, records): (Vec<_>, Vec<_>) = known.unzip();
            if ids.is_empty() {
                continue;
            }
            // In this order: whoever dies in between leaves a second copy, which
            // the backend takes once.
            store.append(&records)?;
            let quarantine = &store.keys.quarantine;
            let delete = |connection: &mut Connection| {
                redis::cmd("XDEL")
                    .arg(quarantine)
                    .arg(&ids)
                    .query(connection)
            };
            requeued += store.link.run::<u64>(delete)?;
        }
        Box::new(store).close()?;
        Ok(requeued)
    }

    /// Some of the records that are set aside, the oldest from an id on.
    fn set_aside(&mut self, from: &str) -> Result<Vec<Entry>, StoreError> {
        self.link.run(|connection| {
            redis::cmd("XRANGE")
                .arg(&[&self.keys.quarantine, from, "+", "COUNT"])
                .arg(STEP)
                .query(connection)
        })
    }

    /// Connects unless connected, and puts in order what an outage left.
    fn ready(&mut self) -> Result<(), StoreError> {
        if self.link.is_open() {
            return Ok(());
        }
        self.link.open()?;
        let settled = self.settle_in();
        if settled.is_err() {
            self.link.close();
        }
        settled
    }

    fn settle_in(&mut self) -> Result<(), StoreError> {
        let health = self.link.run(RedisHealth::ask)?;
        self.warning = health.warning(self.link.options.place());
        let created: Result<(), StoreError> = self.link.run(|connection| {
            let created = redis::cmd("XGROUP")
                .arg(&["CREATE", &self.keys.records, GROUP, "0", "MKSTREAM"])
                .query(connection);
            match created {
                Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
                other => other,
            }
        });
        created?;
        self.look()?;
        self.reconcile()
    }

    /// Renews the lease; the consumers without one, and whether they ended by
    /// themselves.
    fn look(&mut self) -> Result<(bool, Vec<(String, bool)>), StoreError> {
        let keys = &self.keys;
        let lease = self.link.options.lease.as_millis().to_string();
        let (held, quarantined, others) = self.link.script(
            include_str!("look.lua"),
            &[&keys.records, &keys.quarantine, &keys.lease],
            |command| {
                command.arg(&[GROUP, &self.consumer, &lease, &keys.leases]);
            },
        )?;
        self.quarantined = quarantined;
        Ok((held, others))
    }

    /// Claims records of consumers that are dead; whether there may be more.
    fn adopt(&mut self, others: Vec<(String, bool)>, now: Instant) -> Result<bool, StoreError> {
        let grace = self.link.options.lease / 3;
        let before = std::mem::take(&mut self.suspects);
        let mut steps = ADOPTIONS;
        for (other, ended) in others {
            let since = *before.get(&other).unwrap_or(&now);
            if ended || now.saturating_duration_since(since) >= grace {
                while steps > 0 && self.adopt_some(&other)? {
                    steps -= 1;
                }
            }
            self.suspects.insert(other, since);
        }
        Ok(steps == 0)
    }

    /// Claims some records of a dead consumer; whether there may be more.
    fn adopt_some(&mut self, other: &str) -> Result<bool, StoreError> {
        let lease = [self.keys.leases.as_str(), other].concat();
        let step = STEP.to_string();
        let claimed: Vec<(String, String, usize)> = self.link.script(
            include_str!("adopt.lua"),
            &[&self.keys.records, &lease],
            |command| {
                command.arg(&[GROUP, &self.consumer, other, &step]);
            },
        )?;
        for (id, kind, len) in &claimed {
            let id = named(id)?;
            // What is neither was put there by something else, and stays.
            if let Some(kind) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) {
                self.holdings.adopt(id, kind, *len);
            }
        }
        Ok(claimed.len() == STEP)
    }

    /// Compares what this process knows with what Redis has for it.
    fn reconcile(&mut self) -> Result<(), StoreError> {
        let mut strays = self.holdings.all();
        let mut from = "-".to_owned();
        loop {
            let pending: Vec<(String, String, u64, u64)> = self.link.run(|connection| {
                redis::cmd("XPENDING")
                    .arg(&[&self.keys.records, GROUP, &from, "+"])
                    .arg(STEP)
                    .arg(&self.consumer)
                    .query(connection)
            })?;
            let mut unknown = Vec::new();
            for (id, ..) in &pending {
                let id = named(id)?;
                from = id.next().to_string();
                if strays.remove(&id).is_none() {
                    unknown.push(id);
                }
            }
            // Added by a call whose answer was lost; it was repeated, or will be.
            self.erase(&unknown)?;
            if pending.len() < STEP {
                break;
            }
        }
        let strays: Vec<_> = strays.into_iter().collect();
        for some in strays.chunks(STEP) {
            let ids: Vec<Id> = some.iter().map(|(id, _)| *id).collect();
            for ((id, stray), entry) in some.iter().zip(self.fetch(&ids)?) {
                self.miss(*id, *stray, entry.is_some());
            }
        }
        Ok(())
    }

    /// Notes that a record is not with this process any more, or is lost.
    fn miss(&mut self, id: Id, stray: Stray, exists: bool) {
        match stray {
            // Another process sends it too, and the backend stores it once.
            Stray::Held(_) if exists => {}
            Stray::Held(token) => {
                self.holdings.forget(token);
                self.forgotten.push(token);
            }
            Stray::Offered(facts) => {
                self.holdings.withdraw(id);
                if exists {
                    self.taken[facts.kind.index()] += u64::from(!facts.found);
                } else {
                    self.damaged[facts.kind.index()] += u64::from(!facts.found);
                }
            }
        }
    }

    /// Entries as they are in Redis, each or none.
    fn fetch(&mut self, ids: &[Id]) -> Result<Vec<Option<Entry>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for id in ids {
            let id = id.to_string();
            pipe.cmd("XRANGE").arg(&[&self.keys.records, &id, &id]);
        }
        let found: Vec<Vec<Entry>> = self.link.run(|connection| pipe.query(connection))?;
        Ok(found
            .into_iter()
            .map(|found| found.into_iter().next())
            .collect())
    }

    fn erase(&mut self, ids: &[Id]) -> Result<(), StoreError> {
        let keys = [self.keys.records.as_str(), &self.keys.size];
        for some in ids.chunks(STEP) {
            let fill = |command: &mut Cmd| {
                command.arg(GROUP).arg(REDIS_RECORD_OVERHEAD);
                for id in some {
                    command.arg(id.to_string());
                }
            };
            let script = include_str!("remove.lua");
            self.link.script::<()>(script, &keys, fill)?;
        }
        Ok(())
    }
}

impl Store for RedisStore {
    fn append(&mut self, records: &[(Kind, &[u8])]) -> Result<Vec<u64>, StoreError> {
        self.ready()?;
        let keys = [self.keys.records.as_str(), &self.keys.size];
        let limit = self.link.options.max_bytes;
        let fill = |command: &mut Cmd| {
            command.arg(GROUP).arg(&self.consumer);
            command.arg(limit).arg(REDIS_RECORD_OVERHEAD);
            for (kind, json) in records {
                command.arg(kind.as_str()).arg(*json);
            }
        };
        let script = include_str!("append.lua");
        let answer = self.link.script(script, &keys, fill)?;
        let (ids, used, asked): (Vec<String>, u64, u64) = answer;
        if ids.len() != records.len() {
            self.shortfall = (used + asked).saturating_sub(limit);
            return Err(StoreError::Full { used, limit });
        }
        let ids: Vec<Id> = ids.iter().map(|id| named(id)).collect::<Result<_, _>>()?;
        let added = ids.into_iter().zip(records);
        let tokens = added.map(|(id, (kind, json))| self.holdings.hold(id, *kind, json.len()));
        Ok(tokens.collect())
    }

    fn remove(&mut self, tokens: &[u64]) -> Result<(), StoreError> {
        self.ready()?;
        let places = tokens
            .iter()
            .filter_map(|token| self.holdings.place(*token));
        let ids: Vec<Id> = places.collect();
        self.erase(&ids)?;
        for token in tokens {
            self.holdings.forget(*token);
        }
        Ok(())
    }

    fn release(&mut self, tokens: &[u64]) {
        for token in tokens {
            self.holdings.release(*token);
        }
    }

    fn quarantine(
        &mut self,
        token: u64,
        kind: Kind,
        bytes: &[u8],
        reason: &str,
    ) -> Result<(), StoreError> {
        self.ready()?;
        let Some(id) = self.holdings.place(token) else {
            return Ok(());
        };
        let keys = &self.keys;
        let keys = [keys.records.as_str(), &keys.size, &keys.quarantine];
        let fill = |command: &mut Cmd| {
            command.arg(GROUP).arg(REDIS_RECORD_OVERHEAD);
            command.arg(id.to_string()).arg(kind.as_str()).arg(bytes);
            command.arg(reason).arg(REDIS_QUARANTINE);
        };
        let script = include_str!("quarantine.lua");
        self.quarantined = self.link.script(script, &keys, fill)?;
        self.holdings.forget(token);
        Ok(())
    }

    fn load(&mut self, max_bytes: usize) -> Result<Vec<Stored>, StoreError> {
        self.ready()?;
        let ids = self.holdings.newest(max_bytes);
        let entries = self.fetch(&ids)?;
        let mut records = Vec::with_capacity(ids.len());
        for (id, entry) in ids.into_iter().zip(entries) {
            let Some(facts) = self.holdings.withdraw(id) else {
                continue;
            };
            let json = entry.and_then(|(_, mut fields)| fields.remove(facts.kind.as_str()));
            match json {
                Some(bytes) => records.push(Stored {
                    token: self.holdings.hold(id, facts.kind, bytes.len()),
                    kind: facts.kind,
                    bytes,
                }),
                None => self.damaged[facts.kind.index()] += u64::from(!facts.found),
            }
        }
        Ok(records)
    }

    fn discard_oldest(&mut self, bytes: u64) -> Result<[u64; 2], StoreError> {
        self.ready()?;
        let bytes = bytes.max(self.shortfall);
        let ids = self.holdings.oldest(bytes, REDIS_RECORD_OVERHEAD);
        self.erase(&ids)?;
        let mut lost = [0; 2];
        for facts in ids.into_iter().filter_map(|id| self.holdings.withdraw(id)) {
            lost[facts.kind.index()] += 1;
        }
        Ok(lost)
    }

    fn tick(&mut self, now: Instant) -> Result<Option<Instant>, StoreError> {
        self.ready()?;
        if let Some(at) = self.next_look
            && now < at
        {
            return Ok(Some(at));
        }
        let (held, others) = self.look()?;
        if !held {
            self.reconcile()?;
        }
        let more = self.adopt(others, now)?;
        let wait = self.link.options.lease / 3;
        self.next_look = Some(if more { now } else { now + wait });
        Ok(self.next_look)
    }

    /// What was appended is safe as far as Redis makes it so.
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Others may take what is left at once; without a connection, when the lease
    /// ends.
    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        if !self.link.is_open() {
            return Ok(());
        }
        self.link.hurry();
        let lease = self.link.options.lease.as_millis().to_string();
        let keys = [self.keys.records.as_str(), &self.keys.lease];
        let arguments = [GROUP, &self.consumer, &lease];
        self.link
            .script(include_str!("leave.lua"), &keys, |command| {
                command.arg(&arguments);
            })
    }

    fn forgotten(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.forgotten)
    }

    fn warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    fn usage(&self) -> Usage {
        Usage {
            records: self.holdings.records(),
            bytes: self.holdings.bytes(),
            quarantined: self.quarantined,
            backlog: self.holdings.has_backlog(),
            damaged: self.damaged,
            taken: self.taken,
        }
    }
}

fn named(id: &str) -> Result<Id, StoreError> {
    id.parse().map_err(StoreError::Failed)
}
