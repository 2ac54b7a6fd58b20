//! The groups of records that this process holds in the store.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use guard_wire::Kind;

use super::client::Key;
use crate::store::Usage;

/// A token is a group number followed by this many bits for a record's place in the
/// group. That is more records than fit into any value that Redis accepts.
const PLACE_BITS: u32 = 28;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// Records under one key.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: Key,
    /// Time when this process, or the process that left them, wrote them.
    pub(super) nanos: u128,
    /// Left by another process, and not loaded yet.
    found: bool,
    /// Size of the value in bytes.
    bytes: usize,
    /// The highest place of its records, plus one.
    places: usize,
    /// Number of unsettled records.
    live: usize,
    /// Tokens of unsettled records that are not in memory.
    offered: Vec<u64>,
}

/// All groups, by number.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<u64, Group>,
    next: u64,
    /// Groups with records that are not in memory.
    offers: BTreeSet<(u128, u64)>,
    /// Events and metrics of this process whose keys were gone.
    damaged: [u64; 2],
    /// Groups whose keys were deleted, by number, until this is reported: their kind, and
    /// the tokens of their records in memory.
    missed: HashMap<u64, (Kind, Vec<u64>)>,
    /// The groups reported last.
    told: HashMap<u64, Kind>,
}

impl Groups {
    /// Adds the records of a new key, which are in memory. Returns their tokens.
    pub(super) fn add(&mut self, key: Key, nanos: u128, records: usize, bytes: usize) -> Vec<u64> {
        let number = self.insert(key, nanos, records, bytes, false);
        self.set_places(number, records);
        (0..records).map(|place| token(number, place)).collect()
    }

    /// Adds a key that was taken over, with records that are not in memory yet. `places`
    /// says where the records lie in it.
    pub(super) fn add_found(&mut self, key: Key, nanos: u128, places: &[usize], bytes: usize) {
        let number = self.insert(key, nanos, places.len(), bytes, true);
        self.set_places(number, places.iter().max().map_or(0, |place| place + 1));
        let tokens: Vec<u64> = places.iter().map(|place| token(number, *place)).collect();
        self.release(&tokens);
    }

    fn insert(&mut self, key: Key, nanos: u128, records: usize, bytes: usize, found: bool) -> u64 {
        let number = self.next;
        self.next += 1;
        let group = Group {
            key,
            nanos,
            found,
            bytes,
            places: 0,
            live: records,
            offered: Vec::new(),
        };
        self.groups.insert(number, group);
        number
    }

    fn set_places(&mut self, number: u64, places: usize) {
        if let Some(group) = self.groups.get_mut(&number) {
            group.places = places;
        }
    }

    /// Notes that records are no longer in memory.
    pub(super) fn release(&mut self, tokens: &[u64]) {
        for token in tokens {
            let number = token >> PLACE_BITS;
            let missed = self.missed.get(&number).map(|(kind, _)| *kind);
            if let Some(kind) = missed.or_else(|| self.told.get(&number).copied()) {
                // The record is nowhere now.
                self.damaged[kind.index()] += 1;
            } else if let Some(group) = self.groups.get_mut(&number) {
                group.offered.push(*token);
                self.offers.insert((group.nanos, number));
            }
        }
    }

    /// The keys that hold only these records and settled ones.
    pub(super) fn emptied_by(&self, tokens: &[u64]) -> Vec<Key> {
        let emptied = counts(tokens).into_iter().filter_map(|(number, count)| {
            let group = self.groups.get(&number)?;
            (group.live <= count).then(|| group.key.clone())
        });
        emptied.collect()
    }

    /// Settles records, and forgets groups that are empty then.
    pub(super) fn settle(&mut self, tokens: &[u64]) {
        for (number, count) in counts(tokens) {
            if let Some(group) = self.groups.get_mut(&number) {
                group.live = group.live.saturating_sub(count);
                if group.live == 0 {
                    self.forget(number);
                }
            }
        }
    }

    /// Forgets a group and all its records.
    pub(super) fn forget(&mut self, number: u64) {
        if let Some(group) = self.groups.remove(&number) {
            self.offers.remove(&(group.nanos, number));
        }
    }

    /// Forgets a group whose key is gone. Records in memory are still delivered. Records
    /// left by another process were never counted here.
    pub(super) fn lose(&mut self, number: u64) {
        if let Some(group) = self.groups.get(&number).filter(|group| !group.found) {
            self.damaged[group.key.kind.index()] += group.offered.len() as u64;
        }
        self.forget(number);
    }

    /// Forgets the groups of a kind whose keys are not in `names`. Returns how many.
    pub(super) fn keep_only(&mut self, kind: Kind, names: &HashSet<String>) -> usize {
        let is_gone = |group: &Group| group.key.kind == kind && !names.contains(&group.key.name);
        let gone = self.groups.iter().filter(|(_, group)| is_gone(group));
        let gone: Vec<u64> = gone.map(|(number, _)| *number).collect();
        for number in &gone {
            if let Some(group) = self.groups.get(number) {
                // Some may be settled already. The queue ignores tokens that it does not know.
                let tokens = (0..group.places).map(|place| token(*number, place));
                let held = tokens.filter(|token| !group.offered.contains(token));
                self.missed.insert(*number, (kind, held.collect()));
            }
            self.lose(*number);
        }
        gone.len()
    }

    /// Tokens of records in memory whose keys were deleted. Each is reported once.
    pub(super) fn missed(&mut self) -> Vec<u64> {
        let missed = std::mem::take(&mut self.missed);
        // A release of records reported earlier has arrived by now.
        self.told = missed
            .iter()
            .map(|(number, (kind, _))| (*number, *kind))
            .collect();
        missed
            .into_values()
            .flat_map(|(_, tokens)| tokens)
            .collect()
    }

    /// The newest group with records that are not in memory.
    pub(super) fn newest_offer(&self) -> Option<(u64, &Group)> {
        let (_, number) = self.offers.last()?;
        Some((*number, self.groups.get(number)?))
    }

    /// Takes the newest record of a group that is not in memory. Returns its token and place.
    pub(super) fn take_offer(&mut self, number: u64) -> Option<(u64, usize)> {
        let group = self.groups.get_mut(&number)?;
        let token = group.offered.pop();
        if group.offered.is_empty() {
            group.found = false;
            self.offers.remove(&(group.nanos, number));
        }
        token.map(|token| (token, place(token)))
    }

    /// The oldest groups that have no record in memory, metrics first, until they free
    /// `bytes`. All such groups if they free less.
    pub(super) fn oldest_at_rest(&self, bytes: u64) -> Vec<u64> {
        let (mut found, mut free) = (Vec::new(), 0);
        for kind in [Kind::Metric, Kind::Event] {
            for (_, number) in &self.offers {
                let at_rest =
                    |group: &&Group| group.key.kind == kind && group.offered.len() == group.live;
                let Some(group) = self.groups.get(number).filter(at_rest) else {
                    continue;
                };
                if free >= bytes {
                    return found;
                }
                free += group.bytes as u64;
                found.push(*number);
            }
        }
        found
    }

    pub(super) fn keys(&self, numbers: &[u64]) -> Vec<Key> {
        let groups = numbers.iter().filter_map(|number| self.groups.get(number));
        groups.map(|group| group.key.clone()).collect()
    }

    /// Forgets discarded groups. Returns how many events and metrics they held.
    pub(super) fn discard(&mut self, numbers: &[u64]) -> [u64; 2] {
        let mut discarded = [0; 2];
        for number in numbers {
            if let Some(group) = self.groups.get(number) {
                discarded[group.key.kind.index()] += group.live as u64;
            }
            self.forget(*number);
        }
        discarded
    }

    pub(super) fn usage(&self) -> Usage {
        let groups = self.groups.values();
        let (records, bytes) = groups.fold((0, 0), |(records, bytes), group| {
            (records + group.live as u64, bytes + group.bytes as u64)
        });
        Usage {
            records,
            bytes,
            quarantined: 0,
            backlog: !self.offers.is_empty(),
            damaged: self.damaged,
            taken: [0; 2],
        }
    }
}

fn token(number: u64, place: usize) -> u64 {
    number << PLACE_BITS | place as u64
}

fn place(token: u64) -> usize {
    usize::try_from(token & PLACE_MASK).unwrap_or(usize::MAX)
}

/// Counts the records of each group.
fn counts(tokens: &[u64]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for token in tokens {
        *counts.entry(token >> PLACE_BITS).or_default() += 1;
    }
    counts
}
