//! Regular maintenance: renewing the lease, taking over records of dead processes, and
//! repairing changes made by others.

use std::time::Instant;

use guard_wire::Kind;
use redis::Connection;

use super::holdings::{Id, Stray};
use super::{ADOPTIONS, GROUP, REDIS_RECORD_OVERHEAD, RedisStore, STEP, named};
use crate::store::StoreError;

/// State of the stream and the consumers.
pub(super) struct Seen {
    /// True if the lease had not expired.
    held: bool,
    /// Consumers without a lease, and whether they ended cleanly.
    others: Vec<(String, bool)>,
    /// Number of entries in the stream.
    records: u64,
    /// Number of pending entries of all consumers, in the stream or not.
    pending: u64,
    /// Number of entries pending for this process.
    own: u64,
    /// True if the total size in bytes is known.
    is_sized: bool,
}

/// The answer of the `look` script: lease, quarantine, other consumers, and numbers.
type Look = (bool, u64, Vec<(String, bool)>, (u64, u64, u64, bool));

/// A record that a script claimed: id, kind, length.
type Claimed = (String, String, usize);

/// The answers of the `check` script for a record.
const GONE: u8 = 0;
const TAKEN: u8 = 2;

/// A scan of the stream: counts its bytes, and finds entries that are pending for nobody.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// The bytes must be counted.
    is_due: bool,
    /// Since when there are entries that are pending for nobody.
    orphans_since: Option<Instant>,
    /// Progress of a running scan: entries that are not records, and claimed records.
    progress: Option<(u64, u64)>,
    /// Entries that are not records, as counted by the last scan.
    strange: u64,
}

impl Count {
    /// Restarts a scan that was in progress.
    pub(super) fn restart(&mut self) {
        self.progress = None;
    }
}

impl RedisStore {
    /// Does due maintenance. Returns true if there is more to do.
    pub(super) fn maintain(&mut self, now: Instant) -> Result<bool, StoreError> {
        let seen = self.read_state()?;
        let is_short = seen.records < seen.pending;
        if !seen.held || is_short || seen.own != self.holdings.pending() {
            let gone = self.reconcile(is_short)?;
            if seen.held && gone > 0 {
                self.warning = Some(format!(
                    "somebody removed {gone} record(s) of this process from the Redis at {}: those \
                     in memory are saved again; keep others away from keys guard_agent:*",
                    self.link.options.place()
                ));
            }
        }
        let more = self.adopt(&seen.others, now)?;
        Ok(self.count_due(&seen, now)? || more)
    }

    /// Renews the lease and reads the state.
    pub(super) fn read_state(&mut self) -> Result<Seen, StoreError> {
        let keys = &self.keys;
        let lease = self.link.options.lease.as_millis().to_string();
        let look: Look = self.link.script(
            script!("look"),
            &[&keys.records, &keys.size, &keys.quarantine, &keys.lease],
            |command| {
                command.arg(&[GROUP, &self.consumer, &lease, &keys.leases]);
            },
        )?;
        let (held, quarantined, others, (records, pending, own, is_sized)) = look;
        self.quarantined = quarantined;
        Ok(Seen {
            held,
            others,
            records,
            pending,
            own,
            is_sized,
        })
    }

    /// Claims records of dead consumers. Returns true if there may be more.
    fn adopt(&mut self, others: &[(String, bool)], now: Instant) -> Result<bool, StoreError> {
        let grace = self.link.options.lease / 3;
        let before = std::mem::take(&mut self.suspects);
        let mut steps = ADOPTIONS;
        for (other, ended) in others {
            let since = *before.get(other).unwrap_or(&now);
            if *ended || now.saturating_duration_since(since) >= grace {
                while steps > 0 && self.adopt_some(other)? {
                    steps -= 1;
                }
            }
            self.suspects.insert(other.clone(), since);
        }
        Ok(steps == 0)
    }

    /// Claims some records of a dead consumer. Returns true if there may be more.
    fn adopt_some(&mut self, other: &str) -> Result<bool, StoreError> {
        let lease = [self.keys.leases.as_str(), other].concat();
        let step = STEP.to_string();
        let claimed: Vec<Claimed> =
            self.link
                .script(script!("adopt"), &[&self.keys.records, &lease], |command| {
                    command.arg(&[GROUP, &self.consumer, other, &step]);
                })?;
        self.offer(&claimed)?;
        Ok(claimed.len() == STEP)
    }

    /// Adds claimed records to the records on offer.
    fn offer(&mut self, claimed: &[Claimed]) -> Result<(), StoreError> {
        for (id, kind, len) in claimed {
            let id = named(id)?;
            // Another program added an entry that is neither kind. It stays.
            if let Some(kind) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) {
                self.holdings.adopt(id, kind, *len);
            }
        }
        Ok(())
    }

    /// Compares the records that this process knows with its entries in Redis. With `each`,
    /// also checks for each record that it is in the stream. Returns how many are gone.
    pub(super) fn reconcile(&mut self, each: bool) -> Result<u64, StoreError> {
        let mut strays = self.holdings.all();
        let mut unknown = Vec::new();
        let mut from = Id::default();
        loop {
            let pending = self.pending_from(from)?;
            for id in &pending {
                from = id.next();
                let is_known = match each {
                    true => strays.contains_key(id),
                    false => strays.remove(id).is_some(),
                };
                if !is_known {
                    unknown.push(*id);
                }
            }
            if pending.len() < STEP {
                break;
            }
        }
        // The stored size may not match this stream.
        self.count.is_due |= !unknown.is_empty();
        self.settle_unknown(unknown)?;
        let strays: Vec<_> = strays.into_iter().collect();
        let mut gone = 0;
        for some in strays.chunks(STEP) {
            let places = self.check(some.iter().map(|(id, _)| *id))?;
            for ((id, stray), place) in some.iter().zip(places) {
                gone += u64::from(place == GONE);
                if place == GONE || place == TAKEN {
                    self.miss(*id, *stray, place == TAKEN);
                }
            }
        }
        self.count.is_due |= gone > 0;
        Ok(gone)
    }

    /// Some of the entries pending for this process.
    fn pending_from(&mut self, from: Id) -> Result<Vec<Id>, StoreError> {
        let from = from.to_string();
        let pending: Vec<(String, String, u64, u64)> = self.link.run(|connection| {
            redis::cmd("XPENDING")
                .arg(&[&self.keys.records, GROUP, &from, "+"])
                .arg(STEP)
                .arg(&self.consumer)
                .query(connection)
        })?;
        pending.iter().map(|(id, ..)| named(id)).collect()
    }

    /// Settles entries that are pending for this process but unknown to it.
    fn settle_unknown(&mut self, unknown: Vec<Id>) -> Result<(), StoreError> {
        let unanswered = self.unanswered.take();
        let is_added = |id: &Id| unanswered.is_some_and(|last| *id > last);
        let (added, claimed): (Vec<Id>, Vec<Id>) = unknown.into_iter().partition(is_added);
        // A call added these, and its answer was lost. That call was or will be repeated.
        self.erase(&added)?;
        for some in claimed.chunks(STEP) {
            let mut strange = Vec::new();
            for (id, entry) in some.iter().zip(self.fetch(some)?) {
                let fields = entry.map(|(_, fields)| fields).unwrap_or_default();
                let kind = Kind::ALL
                    .into_iter()
                    .find(|it| fields.contains_key(it.as_str()));
                match kind {
                    Some(kind) => self.holdings.adopt(*id, kind, fields[kind.as_str()].len()),
                    None => strange.push(id.to_string()),
                }
            }
            self.acknowledge(&strange)?;
        }
        Ok(())
    }

    /// Acknowledges entries that are gone or are not records.
    fn acknowledge(&mut self, ids: &[String]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let records = &self.keys.records;
        let acknowledge = |connection: &mut Connection| {
            let mut command = redis::cmd("XACK");
            command.arg(records).arg(GROUP).arg(ids).query(connection)
        };
        self.link.run::<()>(acknowledge)
    }

    /// Finds out where these records are. Claims those that are pending for nobody.
    fn check(&mut self, ids: impl Iterator<Item = Id>) -> Result<Vec<u8>, StoreError> {
        let keys = [self.keys.records.as_str()];
        self.link.script(script!("check"), &keys, |command| {
            command.arg(&[GROUP, &self.consumer]);
            for id in ids {
                command.arg(id.to_string());
            }
        })
    }

    /// Notes that a record is lost, or is no longer with this process.
    fn miss(&mut self, id: Id, stray: Stray, exists: bool) {
        match stray {
            // The other process sends it too. The backend stores it once.
            Stray::Held(token) if exists => self.holdings.share(token),
            Stray::Held(token) => self.holdings.miss(token),
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

    /// Scans a part of the stream if the state requires it. Returns true if there is more.
    fn count_due(&mut self, seen: &Seen, now: Instant) -> Result<bool, StoreError> {
        let count = &mut self.count;
        let unknown = seen.records.saturating_sub(seen.pending);
        count.strange = count.strange.min(unknown);
        let has_orphans = unknown > count.strange;
        let since = count.orphans_since.unwrap_or(now);
        count.orphans_since = has_orphans.then_some(since);
        count.is_due |= !seen.is_sized || seen.records < seen.pending;
        // The owners of these entries have that time to claim them again.
        let grace = self.link.options.lease / 3;
        let claims = has_orphans && now.saturating_duration_since(since) >= grace;
        if !claims && !count.is_due && count.progress.is_none() {
            return Ok(false);
        }
        for _ in 0..ADOPTIONS {
            if !self.count_some(claims)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Scans a part of the stream. Returns true if there is more.
    fn count_some(&mut self, claims: bool) -> Result<bool, StoreError> {
        let keys = &self.keys;
        let keys = [keys.records.as_str(), &keys.size, &keys.count];
        let lease = self.link.options.lease.as_millis().to_string();
        let starts = self.count.progress.is_none();
        let counted: Option<(bool, Vec<Claimed>, u64)> =
            self.link.script(script!("count"), &keys, |command| {
                command.arg(&[GROUP, &self.consumer, &lease]);
                command.arg(REDIS_RECORD_OVERHEAD).arg(STEP);
                command.arg(u8::from(starts)).arg(u8::from(claims));
            })?;
        let (strange, orphans) = self.count.progress.take().unwrap_or_default();
        let Some((more, claimed, others)) = counted else {
            return Ok(false);
        };
        self.offer(&claimed)?;
        let (strange, orphans) = (strange + others, orphans + claimed.len() as u64);
        if more {
            self.count.progress = Some((strange, orphans));
            return Ok(true);
        }
        self.count.strange = strange;
        self.count.is_due = false;
        if orphans > 0 {
            self.warning = Some(format!(
                "{orphans} record(s) in the Redis at {} belonged to no process any more: somebody \
                 removed their consumer or the group; they are delivered now. Keep others away from \
                 keys guard_agent:*",
                self.link.options.place()
            ));
        }
        Ok(false)
    }
}
