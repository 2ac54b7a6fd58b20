//! What is done regularly: renewing the lease, taking over what the dead have left, and
//! putting in order what others changed.

use std::time::Instant;

use guard_wire::Kind;
use redis::Connection;

use super::holdings::{Id, Stray};
use super::{ADOPTIONS, GROUP, REDIS_RECORD_OVERHEAD, RedisStore, STEP, named};
use crate::store::StoreError;

/// What a look at Redis finds.
pub(super) struct Seen {
    /// Whether the lease had held.
    held: bool,
    /// Consumers without a lease, and whether they ended by themselves.
    others: Vec<(String, bool)>,
    /// Entries of the stream.
    records: u64,
    /// Those that are pending, for whichever consumer, in the stream or not.
    pending: u64,
    /// Those of them that are pending for this process.
    own: u64,
    /// Whether their bytes are known.
    is_sized: bool,
}

/// When a look answers: the lease, the quarantine, others, and numbers.
type Look = (bool, u64, Vec<(String, bool)>, (u64, u64, u64, bool));

/// A record that a script claimed: id, kind, length.
type Claimed = (String, String, usize);

/// Where the script that checks finds a record.
const GONE: u8 = 0;
const TAKEN: u8 = 2;

/// Going through the stream: to count its bytes, and to find what is pending for nobody.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// Bytes are to be counted.
    is_due: bool,
    /// Since when there are records that are pending for nobody.
    orphans_since: Option<Instant>,
    /// While it goes on: entries so far that are no records, and records that were claimed.
    progress: Option<(u64, u64)>,
    /// Entries that are no records, as the last count found.
    strange: u64,
}

impl Count {
    /// What was under way starts again.
    pub(super) fn restart(&mut self) {
        self.progress = None;
    }
}

impl RedisStore {
    /// Does what is due; whether there is more of it.
    pub(super) fn maintain(&mut self, now: Instant) -> Result<bool, StoreError> {
        let seen = self.look()?;
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

    /// Renews the lease and looks around.
    pub(super) fn look(&mut self) -> Result<Seen, StoreError> {
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

    /// Claims records of consumers that are dead; whether there may be more.
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

    /// Claims some records of a dead consumer; whether there may be more.
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

    /// Notes records that were claimed.
    fn offer(&mut self, claimed: &[Claimed]) -> Result<(), StoreError> {
        for (id, kind, len) in claimed {
            let id = named(id)?;
            // What is neither was put there by something else, and stays.
            if let Some(kind) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) {
                self.holdings.adopt(id, kind, *len);
            }
        }
        Ok(())
    }

    /// Compares what this process knows with what Redis has for it, with `each` record
    /// also whether it is in the stream; how many records are gone.
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
        // The stream may be another one than the size tells of.
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

    /// Some of the entries that are pending for this process.
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

    /// Entries that are pending for this process, and that it does not know.
    fn settle_unknown(&mut self, unknown: Vec<Id>) -> Result<(), StoreError> {
        let unanswered = self.unanswered.take();
        let is_added = |id: &Id| unanswered.is_some_and(|last| *id > last);
        let (added, claimed): (Vec<Id>, Vec<Id>) = unknown.into_iter().partition(is_added);
        // Added by a call whose answer was lost; it was repeated, or will be.
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

    /// Leaves entries that are no records, or are gone, to nobody.
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

    /// Where each of these records is; what is pending for nobody is this process's then.
    fn check(&mut self, ids: impl Iterator<Item = Id>) -> Result<Vec<u8>, StoreError> {
        let keys = [self.keys.records.as_str()];
        self.link.script(script!("check"), &keys, |command| {
            command.arg(&[GROUP, &self.consumer]);
            for id in ids {
                command.arg(id.to_string());
            }
        })
    }

    /// Notes that a record is not with this process any more, or is lost.
    fn miss(&mut self, id: Id, stray: Stray, exists: bool) {
        match stray {
            // Another process sends it too, and the backend stores it once.
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

    /// Goes through some of the stream if what was seen calls for it; whether there is more.
    fn count_due(&mut self, seen: &Seen, now: Instant) -> Result<bool, StoreError> {
        let count = &mut self.count;
        let unknown = seen.records.saturating_sub(seen.pending);
        count.strange = count.strange.min(unknown);
        let has_orphans = unknown > count.strange;
        let since = count.orphans_since.unwrap_or(now);
        count.orphans_since = has_orphans.then_some(since);
        count.is_due |= !seen.is_sized || seen.records < seen.pending;
        // Those whose records they are have that time to claim them again.
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

    /// Goes through some of the stream; whether there is more.
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
