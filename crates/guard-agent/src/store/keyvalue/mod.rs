//! A store in a key-value store of the application: the Redis behind the handler of a
//! guard. The handler offers only keys and values.
//!
//! - Records that are written together are stored under one key, which is deleted when
//!   the last of them is settled.
//! - A process owns the keys that it wrote for as long as it renews its
//!   [lease](LEASE). Other processes take over the keys of a dead one: they copy the
//!   value to a new key and delete the old key. If several processes try this at once,
//!   only one is told that the old key existed. The others delete their copy. If a
//!   process dies between the two steps, a second copy remains. The backend removes
//!   the duplicates by the records' idempotency keys.
//! - All processes are on a membership list. Each regularly checks the lease of the
//!   next live process on it. A process without a lease for a [grace](GRACE) is
//!   removed from the list, and its keys are taken over. So after an outage that
//!   expired all leases, live processes have that time to renew theirs.
//! - All keys are listed when the store is opened, when a process finds another one
//!   dead, and when a process is no longer on the membership list (then somebody may
//!   have deleted all keys). They are never listed regularly, because listing makes
//!   Redis scan all keys in the database.

mod client;
mod found;
mod groups;
mod membership;
mod name;
mod takeover;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use guard_wire::Kind;
use guard_wire::encode::Encoder;
use uuid::Uuid;

pub use self::client::{Key, KeyValue};
use self::found::{Found, Survey};
use self::groups::Groups;
use self::membership::{Membership, Suspects};
use super::{Store, StoreError, Stored, Usage};
use crate::clock::Clock;

/// A process whose lease was not renewed for this long counts as dead.
pub const LEASE: Duration = Duration::from_secs(10);

/// How long records gather before they are written together. Each write runs on the
/// event loop of a Python program and costs it 0.1 ms or more.
pub const GATHERING: Duration = Duration::from_millis(25);

/// The time between two renewals of a lease, and between two checks of the next
/// process on the membership list.
pub const RENEWAL: Duration = Duration::from_secs(3);

/// A process without a lease for this long is removed from the membership list.
pub const GRACE: Duration = Duration::from_secs(6);

/// Maximum number of quarantined records. Further ones are only counted.
pub const MAX_QUARANTINED: u64 = 1000;

/// How long a quarantined record is kept.
pub const QUARANTINE_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Maximum number of keys in one call.
const KEYS_IN_CALL: usize = 64;

/// Maximum number of groups taken over in one call, because each may be large.
const GROUPS_IN_CALL: usize = 16;

/// Options of a [`KeyValueStore`].
pub struct KeyValueOptions {
    /// Maximum bytes of records that this process keeps in the store.
    pub max_bytes: u64,
    /// Rewrites records of other versions of the agent.
    pub encoder: Encoder,
    /// Gives the timestamps of written keys.
    pub clock: Arc<dyn Clock>,
}

/// The [`Store`] in a [`KeyValue`] store.
///
/// ```
/// use std::sync::Arc;
///
/// use guard_agent::AgentBuilder;
/// use guard_agent::clock::SystemClock;
/// use guard_agent::store::keyvalue::{KeyValue, KeyValueOptions, KeyValueStore};
/// use guard_wire::encode::Encoder;
/// use guard_wire::redact::Redactor;
///
/// fn keep(builder: AgentBuilder, shelf: impl KeyValue + Clone + Sync + 'static) -> AgentBuilder {
///     builder.store(move || {
///         let options = KeyValueOptions {
///             max_bytes: 1 << 30,
///             encoder: Encoder::new(Redactor::new(["authorization"]), 1024, 262_144),
///             clock: Arc::new(SystemClock),
///         };
///         Ok(Box::new(KeyValueStore::new(shelf.clone(), options)))
///     })
/// }
/// ```
pub struct KeyValueStore<C> {
    client: C,
    options: KeyValueOptions,
    /// Name of this process.
    owner: String,
    /// Number of keys written so far; numbers the next one.
    written: u64,
    groups: Groups,
    /// Keys of dead processes that are not taken over yet, newest last.
    left: Vec<Found>,
    /// Keys, by kind, that a failed append may have written.
    attempted: [Option<Key>; 2],
    renew_at: Option<Instant>,
    suspects: Suspects,
    /// This process was on the membership list before.
    is_known: bool,
    warning: Option<String>,
    /// Number of times all keys were listed.
    looks: u32,
    quarantined: u64,
}

impl<C: KeyValue> KeyValueStore<C> {
    /// Creates a store. It does not call `client` yet.
    pub fn new(client: C, options: KeyValueOptions) -> Self {
        Self {
            client,
            options,
            owner: Uuid::new_v4().simple().to_string(),
            written: 0,
            groups: Groups::default(),
            left: Vec::new(),
            attempted: [None, None],
            renew_at: None,
            suspects: Suspects::default(),
            is_known: false,
            warning: None,
            looks: 0,
            quarantined: 0,
        }
    }

    fn nanos(&self) -> u128 {
        let wall = self.options.clock.wall();
        wall.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos()
    }

    fn group_key(&mut self, kind: Kind, nanos: u128) -> Key {
        self.written += 1;
        let name = name::group(nanos, &self.owner, self.written);
        Key { kind, name }
    }

    fn renew(&mut self) -> Result<(), StoreError> {
        let entry = (own(name::lease(&self.owner)), "1".to_owned());
        self.client.set(vec![entry], Some(LEASE))
    }

    /// Lists all keys and collects those that no live process holds.
    fn list_keys(&mut self) -> Result<(), StoreError> {
        let mut names = Vec::new();
        for kind in Kind::ALL {
            names.push((kind, self.client.names(kind)?));
        }
        let survey = Survey::of(&names, &self.owner);
        self.left = survey.left;
        self.quarantined = survey.quarantined;
        self.looks += 1;
        Ok(())
    }

    /// Puts this process on the membership list if it is missing, and checks the list for
    /// dead processes.
    fn maintain_membership(&mut self, now: Instant) -> Result<(), StoreError> {
        let key = own(name::MEMBERSHIP.to_owned());
        let value = self.get(&key)?;
        let mut membership = Membership::read(value.as_deref());
        let mut changed = membership.add(&self.owner);
        if changed && self.is_known {
            self.verify()?;
        }
        let mut missing = Vec::new();
        for other in membership.after(&self.owner).into_iter().take(KEYS_IN_CALL) {
            if self.get(&own(name::lease(&other)))?.is_some() {
                break;
            }
            missing.push(other);
        }
        let dead = self.suspects.note(missing, now, GRACE);
        if !dead.is_empty() {
            self.list_keys()?;
            dead.iter().for_each(|name| membership.remove(name));
            changed = true;
        }
        if changed {
            self.client.set(vec![(key, membership.value())], None)?;
        }
        self.is_known = true;
        Ok(())
    }

    /// Checks that the keys of this process still exist.
    fn verify(&mut self) -> Result<(), StoreError> {
        let mut gone = 0;
        for kind in Kind::ALL {
            let names: HashSet<String> = self.client.names(kind)?.into_iter().collect();
            gone += self.groups.keep_only(kind, &names);
        }
        if gone > 0 {
            self.warning = Some(format!(
                "somebody deleted {gone} key(s) with records from the guard's Redis: those in \
                 memory are saved again; keep others away from keys agent_events:* and \
                 agent_metrics:*"
            ));
        }
        Ok(())
    }

    fn get(&mut self, key: &Key) -> Result<Option<String>, StoreError> {
        Ok(self.client.get(std::slice::from_ref(key))?.pop().flatten())
    }

    fn delete(&mut self, keys: &[Key]) -> Result<Vec<bool>, StoreError> {
        let mut existed = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_IN_CALL) {
            existed.append(&mut self.client.delete(keys)?);
        }
        Ok(existed)
    }

    fn set_aside(&mut self, kind: Kind, record: &str, reason: &str) -> Result<(), StoreError> {
        if self.quarantined >= MAX_QUARANTINED {
            return Ok(());
        }
        self.written += 1;
        let name = name::quarantine(self.nanos(), &self.owner, self.written);
        let value = serde_json::json!({"reason": reason, "record": record}).to_string();
        let entry = (Key { kind, name }, value);
        self.client.set(vec![entry], Some(QUARANTINE_LIFE))?;
        self.quarantined += 1;
        Ok(())
    }

    /// Reads the newest group that has records out of memory, and loads records from it
    /// until `room` is used up.
    fn load_newest(&mut self, room: usize, loaded: &mut Vec<Stored>) -> Result<usize, StoreError> {
        let Some((number, group)) = self.groups.newest_offer() else {
            return Ok(0);
        };
        let key = group.key.clone();
        let value = self.get(&key)?;
        let Some(records) = value.as_deref().and_then(found::records) else {
            // Redis lost or evicted the key, or somebody deleted it.
            self.groups.lose(number);
            return Ok(0);
        };
        let mut bytes = 0;
        while (bytes == 0 || bytes < room)
            && let Some((token, place)) = self.groups.take_offer(number)
        {
            let Some(record) = records.get(place) else {
                continue;
            };
            bytes += record.len();
            loaded.push(Stored {
                token,
                kind: key.kind,
                bytes: record.as_bytes().to_vec(),
            });
        }
        Ok(bytes)
    }

    /// True if the next group to load is not taken over yet.
    fn is_next_left(&self) -> bool {
        let own = self.groups.newest_offer().map(|(_, group)| group.nanos);
        let left = self.left.last().map(|found| found.nanos);
        left > own
    }
}

impl<C: KeyValue> Store for KeyValueStore<C> {
    fn gathering(&self) -> Duration {
        GATHERING
    }

    fn append(&mut self, records: &[(Kind, &[u8])]) -> Result<Vec<u64>, StoreError> {
        let bytes: u64 = records.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let (used, limit) = (self.usage().bytes, self.options.max_bytes);
        if used + bytes > limit {
            return Err(StoreError::Full { used, limit });
        }
        let nanos = self.nanos();
        let (mut groups, mut entries) = ([const { None }; 2], Vec::new());
        for kind in Kind::ALL {
            let alike = records.iter().filter(|(of, _)| *of == kind);
            let alike: Vec<&str> = alike
                .filter_map(|(_, bytes)| std::str::from_utf8(bytes).ok())
                .collect();
            if alike.is_empty() {
                continue;
            }
            // Overwrites the key that a failed attempt may have written.
            let attempted = self.attempted[kind.index()].take();
            let key = attempted.unwrap_or_else(|| self.group_key(kind, nanos));
            self.attempted[kind.index()] = Some(key.clone());
            let value = found::group_value(alike.iter().copied());
            groups[kind.index()] = Some((key.clone(), alike.len(), value.len()));
            entries.push((key, value));
        }
        self.client.set(entries, None)?;
        let mut tokens = Kind::ALL.map(|kind| {
            let Some((key, records, bytes)) = groups[kind.index()].take() else {
                return Vec::new().into_iter();
            };
            self.attempted[kind.index()] = None;
            self.groups.add(key, nanos, records, bytes).into_iter()
        });
        let tokens = records
            .iter()
            .filter_map(|(kind, _)| tokens[kind.index()].next());
        Ok(tokens.collect())
    }

    fn remove(&mut self, tokens: &[u64]) -> Result<(), StoreError> {
        let emptied = self.groups.emptied_by(tokens);
        self.delete(&emptied)?;
        self.groups.settle(tokens);
        Ok(())
    }

    fn release(&mut self, tokens: &[u64]) {
        self.groups.release(tokens);
    }

    fn quarantine(
        &mut self,
        token: u64,
        kind: Kind,
        bytes: &[u8],
        reason: &str,
    ) -> Result<(), StoreError> {
        self.set_aside(kind, &String::from_utf8_lossy(bytes), reason)?;
        self.remove(&[token])
    }

    fn load(&mut self, max_bytes: usize) -> Result<Vec<Stored>, StoreError> {
        let (mut loaded, mut bytes) = (Vec::new(), 0);
        while (loaded.is_empty() || bytes < max_bytes) && self.usage().backlog {
            let outcome = if self.is_next_left() {
                self.take_over().map(|()| 0)
            } else {
                self.load_newest(max_bytes.saturating_sub(bytes), &mut loaded)
            };
            match outcome {
                Ok(more) => bytes += more,
                Err(error) if loaded.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(loaded)
    }

    fn discard_oldest(&mut self, bytes: u64) -> Result<[u64; 2], StoreError> {
        let oldest = self.groups.oldest_at_rest(bytes);
        let keys = self.groups.keys(&oldest);
        self.delete(&keys)?;
        Ok(self.groups.discard(&oldest))
    }

    fn tick(&mut self, now: Instant) -> Result<Option<Instant>, StoreError> {
        if self.renew_at.is_none_or(|at| now >= at) {
            self.renew()?;
            if self.looks == 0 {
                self.list_keys()?;
            }
            self.maintain_membership(now)?;
            self.renew_at = Some(now + RENEWAL);
        }
        Ok(self.renew_at)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        // Data in Redis survives this process. Whether it survives a failure of Redis depends
        // on the settings of Redis.
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.groups.usage().records == 0 {
            return Ok(());
        }
        // Deletes the lease, so that other processes need not wait until it expires.
        let lease = own(name::lease(&self.owner));
        self.delete(&[lease]).map(drop)
    }

    fn forgotten(&mut self) -> Vec<u64> {
        self.groups.missed()
    }

    fn warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    fn usage(&self) -> Usage {
        let usage = self.groups.usage();
        Usage {
            quarantined: self.quarantined,
            backlog: usage.backlog || !self.left.is_empty(),
            ..usage
        }
    }
}

/// A key that holds no records. All such keys are in the namespace of the events.
fn own(name: String) -> Key {
    let kind = Kind::Event;
    Key { kind, name }
}

#[cfg(test)]
mod tests;
