//! A store in somebody's key-value store: Redis behind the handler that a guard
//! brings along, which has no more to offer than keys and values.
//!
//! - Records that are written together lie under one key, which is deleted when
//!   the last of them is settled.
//! - A process owns the keys that it wrote for as long as it renews its
//!   [lease](LEASE). Others take over the keys of the dead: they copy the
//!   value to a key of their own and delete the old one. Only one of several that
//!   try the same is told that the old key existed; the others delete their copy.
//!   Whoever dies between the two steps leaves a second copy behind, which the
//!   backend makes once by the records' idempotency keys.
//! - All processes are on a membership list, and each looks regularly whether the next
//!   on it that lives still does. Who finds one that has had no lease for a
//!   [grace](GRACE) takes it off, and takes over what it left; after an outage,
//!   when all leases have run out, the living have that time to renew theirs.
//! - All keys are listed when the store is opened, by whoever finds another
//!   dead, and by whoever is missing on the membership list, on which it was: then somebody
//!   may have deleted all keys. Never regularly, since listing makes Redis walk through
//!   all keys of everybody.

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

/// How long records gather before they are written together. Each write passes
/// through the event loop of a program in Python, and costs it 0.1 ms and more.
pub const GATHERING: Duration = Duration::from_millis(25);

/// The time between two renewals of a lease, and between two looks at the next
/// process on the membership list.
pub const RENEWAL: Duration = Duration::from_secs(3);

/// Who has had no lease for this long after it ran out is taken off the membership list.
pub const GRACE: Duration = Duration::from_secs(6);

/// So many records are kept aside; what comes after is only counted.
pub const MAX_QUARANTINED: u64 = 1000;

/// How long a record that was set aside is kept.
pub const QUARANTINE_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Keys in one call.
const KEYS_IN_CALL: usize = 64;

/// Groups that are taken over in one call: each may be large.
const GROUPS_IN_CALL: usize = 16;

/// What the store is to heed.
pub struct KeyValueOptions {
    /// Bytes of records that this process keeps in the store at most.
    pub max_bytes: u64,
    /// Writes the records of other versions of the agent anew.
    pub encoder: Encoder,
    /// Stamps what is written.
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
    /// Names this process.
    owner: String,
    /// Numbers the keys that it writes.
    written: u64,
    groups: Groups,
    /// Keys of the dead that are not taken over yet, the newest last.
    left: Vec<Found>,
    /// Keys, by kind, that an append that failed may have written.
    attempted: [Option<Key>; 2],
    renew_at: Option<Instant>,
    suspects: Suspects,
    /// It was on the membership list.
    is_known: bool,
    warning: Option<String>,
    /// How often all keys were listed.
    looks: u32,
    quarantined: u64,
}

impl<C: KeyValue> KeyValueStore<C> {
    /// A store that has not spoken with `client` yet.
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

    /// Lists all keys: what nobody alive holds is to be taken over.
    fn look(&mut self) -> Result<(), StoreError> {
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

    /// Sees to it that this process is on the membership list, and looks for others on it
    /// that are dead.
    fn call_roll(&mut self, now: Instant) -> Result<(), StoreError> {
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
            self.look()?;
            dead.iter().for_each(|name| membership.remove(name));
            changed = true;
        }
        if changed {
            self.client.set(vec![(key, membership.value())], None)?;
        }
        self.is_known = true;
        Ok(())
    }

    /// Looks whether what this process has is still there.
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

    /// Reads the newest group that has records out of memory, and takes from it
    /// until `room` is used up.
    fn load_newest(&mut self, room: usize, loaded: &mut Vec<Stored>) -> Result<usize, StoreError> {
        let Some((number, group)) = self.groups.newest_offer() else {
            return Ok(0);
        };
        let key = group.key.clone();
        let value = self.get(&key)?;
        let Some(records) = value.as_deref().and_then(found::records) else {
            // Redis lost or evicted it, or somebody deleted it.
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

    /// Whether the next to be loaded was not taken over yet.
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
            // What a failed attempt may have written is written over.
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
                self.look()?;
            }
            self.call_roll(now)?;
            self.renew_at = Some(now + RENEWAL);
        }
        Ok(self.renew_at)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        // What Redis holds survives this process; what it survives itself is up
        // to its own settings.
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.groups.usage().records == 0 {
            return Ok(());
        }
        // What is left need not wait for the lease to run out.
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

/// The key of what is not records: all of that lies among the events.
fn own(name: String) -> Key {
    let kind = Kind::Event;
    Key { kind, name }
}

#[cfg(test)]
mod tests;
