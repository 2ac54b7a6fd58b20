//! The records that one process holds in Redis: those that are also in memory, with a
//! token, and those that are only in Redis, on offer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use guard_wire::Kind;

/// The id of a stream entry. Later entries have greater ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    milliseconds: u64,
    number: u64,
}

impl Id {
    /// The smallest id after this one.
    pub(super) fn next(self) -> Id {
        let (number, carried) = self.number.overflowing_add(1);
        let milliseconds = self.milliseconds.saturating_add(u64::from(carried));
        Id {
            milliseconds,
            number,
        }
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (milliseconds, number) = text.split_once('-')?;
            Some(Id {
                milliseconds: milliseconds.parse().ok()?,
                number: number.parse().ok()?,
            })
        };
        parse().ok_or_else(|| format!("Redis names an entry {text:?}"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

/// Facts about a record, apart from its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    /// Size of the JSON in bytes.
    pub(super) len: usize,
    /// True if a dead process left the record and this process has not loaded it yet. The
    /// record is not in this process's ledger then.
    pub(super) found: bool,
}

/// Where a record is that is missing in Redis or belongs to another process there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stray {
    /// Also in memory, with this token.
    Held(u64),
    /// Only in Redis, on offer.
    Offered(Facts),
}

/// The records of one process.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    held: HashMap<u64, (Id, Facts)>,
    offered: BTreeMap<Id, Facts>,
    /// Tokens of records in memory that another process claimed: they are pending for it.
    shared: HashSet<u64>,
    /// By token: records in memory that Redis has lost, and whether that was reported.
    missed: BTreeMap<u64, (Kind, bool)>,
    bytes: u64,
    last_token: u64,
}

impl Holdings {
    /// Adds a record that is also in memory. Returns its token.
    pub(super) fn hold(&mut self, id: Id, kind: Kind, len: usize) -> u64 {
        let found = false;
        self.last_token += 1;
        self.bytes += len as u64;
        self.held
            .insert(self.last_token, (id, Facts { kind, len, found }));
        self.last_token
    }

    /// Adds a record that a dead process left.
    pub(super) fn adopt(&mut self, id: Id, kind: Kind, len: usize) {
        let found = true;
        self.bytes += len as u64;
        self.offered.insert(id, Facts { kind, len, found });
    }

    /// Notes that a record left memory. Returns its kind if Redis has lost it too.
    pub(super) fn release(&mut self, token: u64) -> Option<Kind> {
        if let Some((id, facts)) = self.held.remove(&token) {
            self.offered.insert(id, facts);
        }
        self.shared.remove(&token);
        self.missed.remove(&token).map(|(kind, _)| kind)
    }

    /// Notes that Redis has lost a record in memory.
    pub(super) fn miss(&mut self, token: u64) {
        if let Some((_, facts)) = self.held.remove(&token) {
            self.bytes -= facts.len as u64;
            self.shared.remove(&token);
            self.missed.insert(token, (facts.kind, false));
        }
    }

    /// Notes that another process claimed a record that is in memory here.
    pub(super) fn share(&mut self, token: u64) {
        self.shared.insert(token);
    }

    /// Tokens of records that Redis has lost. Each is reported once.
    pub(super) fn missed(&mut self) -> Vec<u64> {
        // A release of records reported earlier has arrived by now.
        self.missed.retain(|_, (_, is_told)| !*is_told);
        for (_, is_told) in self.missed.values_mut() {
            *is_told = true;
        }
        self.missed.keys().copied().collect()
    }

    /// The id of a record in memory.
    pub(super) fn place(&self, token: u64) -> Option<Id> {
        self.held.get(&token).map(|(id, _)| *id)
    }

    /// Forgets a record in memory.
    pub(super) fn forget(&mut self, token: u64) {
        self.missed.remove(&token);
        self.shared.remove(&token);
        if let Some((_, facts)) = self.held.remove(&token) {
            self.bytes -= facts.len as u64;
        }
    }

    /// Removes a record on offer, because it is gone or about to be held.
    pub(super) fn withdraw(&mut self, id: Id) -> Option<Facts> {
        let facts = self.offered.remove(&id)?;
        self.bytes -= facts.len as u64;
        Some(facts)
    }

    /// The newest records on offer, of at most `max_bytes` but at least one.
    pub(super) fn newest(&self, max_bytes: usize) -> Vec<Id> {
        let mut bytes = 0;
        let fits = |(index, (_, facts)): &(usize, (&Id, &Facts))| {
            bytes += facts.len;
            bytes <= max_bytes || *index == 0
        };
        let newest = self.offered.iter().rev().enumerate().take_while(fits);
        newest.map(|(_, (id, _))| *id).collect()
    }

    /// The oldest records on offer, metrics before events, until their bytes with
    /// `overhead` for each reach `bytes`. All of them if they are fewer.
    pub(super) fn oldest(&self, bytes: u64, overhead: u64) -> Vec<Id> {
        let mut freed = 0;
        let of = |kind| {
            let offered = self.offered.iter();
            offered.filter(move |(_, facts)| facts.kind == kind)
        };
        of(Kind::Metric)
            .chain(of(Kind::Event))
            .take_while(|(_, facts)| {
                let more = freed < bytes;
                freed += facts.len as u64 + overhead;
                more
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// All records by id.
    pub(super) fn all(&self) -> BTreeMap<Id, Stray> {
        let held = self.held.iter();
        let held = held.map(|(token, (id, _))| (*id, Stray::Held(*token)));
        let offered = self.offered.iter();
        let offered = offered.map(|(id, facts)| (*id, Stray::Offered(*facts)));
        held.chain(offered).collect()
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.offered.is_empty()
    }

    pub(super) fn records(&self) -> u64 {
        (self.held.len() + self.offered.len()) as u64
    }

    /// Number of records that should be pending for this process.
    pub(super) fn pending(&self) -> u64 {
        self.records() - self.shared.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Id {
        Id {
            milliseconds: 1,
            number,
        }
    }

    fn offering(kinds: &[Kind]) -> Holdings {
        let mut holdings = Holdings::default();
        for (number, kind) in kinds.iter().enumerate() {
            holdings.adopt(id(number as u64), *kind, 10);
        }
        holdings
    }

    #[test]
    fn ids_are_parsed_written_and_ordered_as_in_redis() {
        let names = ["0-1", "9-0", "10-0", "10-9", "10-10"];
        let ids: Vec<Id> = names.map(|name| name.parse().unwrap()).into();
        assert!(ids.is_sorted());
        assert_eq!(ids[4].to_string(), "10-10");
        assert_eq!(ids[3].next(), ids[4]);
        let last = format!("7-{}", u64::MAX).parse::<Id>().unwrap();
        assert_eq!(last.next().to_string(), "8-0");
        for name in ["", "7", "7-", "-7", "7-x"] {
            assert!(name.parse::<Id>().is_err());
        }
    }

    #[test]
    fn the_newest_are_offered_first_within_bounds_but_at_least_one() {
        let holdings = offering(&[Kind::Event; 4]);
        assert_eq!(holdings.newest(25), [id(3), id(2)]);
        assert_eq!(holdings.newest(1), [id(3)]);
    }

    #[test]
    fn the_oldest_metrics_go_before_the_oldest_events() {
        let holdings = offering(&[Kind::Event, Kind::Metric, Kind::Event, Kind::Metric]);
        assert_eq!(holdings.oldest(15, 0), [id(1), id(3)]);
        assert_eq!(holdings.oldest(21, 0), [id(1), id(3), id(0)]);
        assert_eq!(holdings.oldest(15, 5), [id(1)]);
        assert_eq!(holdings.oldest(1000, 0).len(), 4);
    }

    #[test]
    fn a_lost_record_is_reported_once_and_is_lost_when_it_leaves_memory() {
        let mut holdings = Holdings::default();
        let tokens = [1, 2, 3].map(|number| holdings.hold(id(number), Kind::Metric, 5));
        tokens.iter().for_each(|token| holdings.miss(*token));
        holdings.forget(tokens[0]);
        assert_eq!(holdings.missed(), tokens[1..]);
        assert_eq!(holdings.release(tokens[1]), Some(Kind::Metric));
        assert_eq!(holdings.missed(), [0; 0]);
        assert_eq!(holdings.release(tokens[2]), None);
        assert_eq!((holdings.records(), holdings.bytes()), (0, 0));
    }

    #[test]
    fn byte_counts_follow_the_records() {
        let mut holdings = offering(&[Kind::Event]);
        let token = holdings.hold(id(7), Kind::Metric, 5);
        assert_eq!((holdings.records(), holdings.bytes()), (2, 15));
        holdings.release(token);
        assert_eq!(holdings.newest(5), [id(7)]);
        let facts = holdings.withdraw(id(7)).unwrap();
        assert!(!facts.found);
        holdings.withdraw(id(0));
        assert_eq!((holdings.records(), holdings.bytes()), (0, 0));
    }
}
