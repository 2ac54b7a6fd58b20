//! Records in Redis: one stream for each project, shared by all its processes.
//!
//! | key | what it holds |
//! |---|---|
//! | `guard_agent:{project}:records` | a stream; an entry has one field: `event` or `metric`, and the record's JSON |
//! | `guard_agent:{project}:size` | the bytes of all records, with an overhead for each |
//! | `guard_agent:{project}:count` | exists while a process counts the bytes: its progress, its count, its name |
//! | `guard_agent:{project}:quarantine` | a stream of records that the backend refuses, each with its `reason` |
//! | `guard_agent:{project}:lease:<consumer>` | `alive` or `ended`; expires if the process does not renew it |
//!
//! Processes are consumers of the group `agents`, with random names. Each process
//! adds its records and claims them in one step. So an entry is always pending for
//! the process that is responsible for it. A process counts as dead if it has had no
//! lease for a third of the lease's length. So after an outage of Redis that expired
//! all leases, live processes have that time to renew theirs. The others then claim the
//! entries of the dead process. Each step of a script is atomic, so two processes never
//! claim the same entry.
//!
//! After every lost connection, the process compares its own records with those in
//! Redis. An unknown entry comes from a call whose answer was lost: it is removed if
//! the call added it, and kept if the call claimed it. A record that Redis has lost is
//! saved again if it is in memory, or else counted as lost.
//!
//! Others may change the keys. Every third of a lease, a process checks the number of
//! entries, of pending entries, and of pending entries of its own:
//!
//! | observation | action |
//! |---|---|
//! | the group or the stream is gone | creates it again, and compares as after an outage |
//! | the number of its own entries differs | compares, and claims entries again that are pending for nobody |
//! | fewer entries than pending ones | checks each of its own, and counts the bytes |
//! | more entries than pending ones, for a third of a lease | scans the stream, and claims what is pending for nobody |
//! | no size, or an invalid one | counts the bytes |

/// Loads a script, prefixed with the code that all scripts share.
macro_rules! script {
    ($name:literal) => {
        concat!(
            include_str!("lua/keys.lua"),
            include_str!(concat!("lua/", $name, ".lua"))
        )
    };
}

mod health;
mod holdings;
mod link;
mod maintenance;
mod options;
mod trust;

use std::collections::HashMap;
use std::time::Instant;

use guard_wire::Kind;
use redis::{Cmd, Connection};
use uuid::Uuid;

pub use self::health::RedisHealth;
use self::holdings::{Holdings, Id};
use self::link::Link;
use self::maintenance::Count;
pub use self::options::{REDIS_LEASE, REDIS_TIMEOUT, RedisOptions};
use super::{Store, StoreError, Stored, Usage};

/// Bytes that each record takes in Redis in addition to its JSON, as counted against
/// [`RedisOptions::max_bytes`].
pub const REDIS_RECORD_OVERHEAD: u64 = 200;

/// Maximum number of quarantined records; the newest are kept.
pub const REDIS_QUARANTINE: u32 = 1000;

/// The consumer group of agents.
const GROUP: &str = "agents";

/// Maximum number of records or ids in one step, where the agent chooses the number.
const STEP: usize = 500;

/// Number of adoption steps before new records are saved again.
const ADOPTIONS: usize = 10;

/// A stream entry: its id, and its only field.
type Entry = (String, HashMap<String, Vec<u8>>);

/// Keeps records in Redis until they are delivered. The module documentation explains
/// how. A call takes at most a few times [`REDIS_TIMEOUT`].
pub struct RedisStore {
    link: Link,
    consumer: String,
    keys: Keys,
    holdings: Holdings,
    /// Id of the last record that this process added.
    last: Id,
    /// Id of the last record before an append whose answer is missing.
    unanswered: Option<Id>,
    damaged: [u64; 2],
    taken: [u64; 2],
    warning: Option<String>,
    quarantined: u64,
    /// Bytes by which the last group exceeded the limit.
    shortfall: u64,
    /// Consumers without a lease, and since when.
    suspects: HashMap<String, Instant>,
    count: Count,
    next_look: Option<Instant>,
}

struct Keys {
    records: String,
    size: String,
    quarantine: String,
    count: String,
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
            count: options.key("count"),
            lease: [leases.as_str(), consumer.as_str()].concat(),
            leases,
        };
        let mut store = Self {
            link: Link::new(options),
            consumer,
            keys,
            holdings: Holdings::default(),
            last: Id::default(),
            unanswered: None,
            damaged: [0; 2],
            taken: [0; 2],
            warning: None,
            quarantined: 0,
            shortfall: 0,
            suspects: HashMap::new(),
            count: Count::default(),
            next_look: None,
        };
        store.ready()?;
        Ok(store)
    }

    /// Reads the health of a Redis server and of the project's records.
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

    /// Moves quarantined records back to the records to deliver. Returns how many. A live
    /// process picks them up within a third of a lease.
    ///
    /// # Errors
    ///
    /// [`StoreError`], when Redis cannot be used or has no room. Records that were not moved
    /// stay quarantined.
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
            // In this order: a crash in between leaves a second copy, which the backend
            // stores only once.
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

    /// Some of the quarantined records: the oldest, starting at an id.
    fn set_aside(&mut self, from: &str) -> Result<Vec<Entry>, StoreError> {
        self.link.run(|connection| {
            redis::cmd("XRANGE")
                .arg(&[&self.keys.quarantine, from, "+", "COUNT"])
                .arg(STEP)
                .query(connection)
        })
    }

    /// Connects if needed, and repairs the state after an outage.
    fn ready(&mut self) -> Result<(), StoreError> {
        if self.link.is_open() {
            return Ok(());
        }
        self.link.open()?;
        let settled = self.restore_state();
        if settled.is_err() {
            self.link.close();
        }
        settled
    }

    fn restore_state(&mut self) -> Result<(), StoreError> {
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
        self.read_state()?;
        self.count.restart();
        self.reconcile(false).map(drop)
    }

    /// Entries as they are in Redis; `None` for each that is missing.
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
        let keys = &self.keys;
        let keys = [keys.records.as_str(), &keys.size, &keys.count];
        for some in ids.chunks(STEP) {
            let fill = |command: &mut Cmd| {
                command.arg(GROUP).arg(REDIS_RECORD_OVERHEAD);
                for id in some {
                    command.arg(id.to_string());
                }
            };
            self.link.script::<()>(script!("remove"), &keys, fill)?;
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
        self.unanswered = Some(self.last);
        let answer = self.link.script(script!("append"), &keys, fill);
        if self.link.is_open() {
            self.unanswered = None;
        }
        let (ids, used, asked): (Vec<String>, u64, u64) = answer?;
        if ids.len() != records.len() {
            self.shortfall = (used + asked).saturating_sub(limit);
            return Err(StoreError::Full { used, limit });
        }
        let ids: Vec<Id> = ids.iter().map(|id| named(id)).collect::<Result<_, _>>()?;
        self.last = ids.last().copied().unwrap_or(self.last);
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
        for kind in tokens.iter().filter_map(|it| self.holdings.release(*it)) {
            self.damaged[kind.index()] += 1;
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
        // A record that Redis has lost is quarantined too.
        let id = self.holdings.place(token).unwrap_or_default();
        let keys = &self.keys;
        let keys = [
            keys.records.as_str(),
            &keys.size,
            &keys.quarantine,
            &keys.count,
        ];
        let fill = |command: &mut Cmd| {
            command.arg(GROUP).arg(REDIS_RECORD_OVERHEAD);
            command.arg(id.to_string()).arg(kind.as_str()).arg(bytes);
            command.arg(reason).arg(REDIS_QUARANTINE);
        };
        self.quarantined = self.link.script(script!("quarantine"), &keys, fill)?;
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
        let more = self.maintain(now)?;
        let wait = self.link.options.lease / 3;
        self.next_look = Some(if more { now } else { now + wait });
        Ok(self.next_look)
    }

    /// Appended records are as safe as Redis makes them.
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Lets other processes claim the remaining records at once. Without a connection they
    /// must wait until the lease expires.
    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        if !self.link.is_open() {
            return Ok(());
        }
        self.link.shorten_timeout();
        let lease = self.link.options.lease.as_millis().to_string();
        let keys = [self.keys.records.as_str(), &self.keys.lease];
        let arguments = [GROUP, &self.consumer, &lease];
        self.link.script(script!("leave"), &keys, |command| {
            command.arg(&arguments);
        })
    }

    fn forgotten(&mut self) -> Vec<u64> {
        self.holdings.missed()
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
