//! A store in memory that outlives agents and fails on command.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use guard_agent::Kind;
use guard_agent::store::{Store, StoreError, Stored, Usage};

/// The contents. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    /// By token, and so in order of arrival.
    pub(crate) records: BTreeMap<u64, Entry>,
    /// Quarantined records, with their reasons.
    pub(crate) quarantined: Vec<(Vec<u8>, String)>,
    /// Number of groups written.
    pub(crate) groups: usize,
    /// Number of records ever written.
    pub(crate) written: usize,
    /// Number of times everything was synced at a stop.
    pub(crate) synced: usize,
    /// Makes every operation fail.
    pub(crate) broken: bool,
    /// Size limit in bytes.
    pub(crate) limit: Option<u64>,
    /// Runs once, at the end of the next write.
    pub(crate) meanwhile: Option<Box<dyn FnOnce() + Send>>,
    next_token: u64,
    owners: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
    owner: u64,
    /// True while it is in its owner's memory.
    pub(crate) held: bool,
}

impl Shelf {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("whole")
    }

    /// The opener for `AgentBuilder::store`.
    pub(crate) fn opener(
        &self,
    ) -> impl Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync + 'static {
        let shelf = self.clone();
        move || {
            let mut state = shelf.state();
            state.check()?;
            state.owners += 1;
            let owner = state.owners;
            drop(state);
            Ok(Box::new(ShelfStore {
                shelf: shelf.clone(),
                owner,
            }))
        }
    }

    /// The reasons of its events, in order.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let reason = |entry: &Entry| {
            let event: serde_json::Value = serde_json::from_slice(&entry.bytes).expect("JSON");
            event["reason"].as_str().expect("a reason").to_owned()
        };
        self.state().records.values().map(reason).collect()
    }
}

impl State {
    fn check(&self) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Failed("the shelf is broken: mend it".into()));
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        let lengths = self.records.values().map(|entry| entry.bytes.len() as u64);
        lengths.sum()
    }
}

struct ShelfStore {
    shelf: Shelf,
    owner: u64,
}

impl Drop for ShelfStore {
    fn drop(&mut self) {
        let mut state = self.shelf.state();
        let owned = state.records.values_mut();
        owned
            .filter(|entry| entry.owner == self.owner)
            .for_each(|entry| entry.held = false);
    }
}

impl Store for ShelfStore {
    fn append(&mut self, records: &[(Kind, &[u8])]) -> Result<Vec<u64>, StoreError> {
        let mut state = self.shelf.state();
        state.check()?;
        let more: u64 = records.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let (used, limit) = (state.used(), state.limit.unwrap_or(u64::MAX));
        if used + more > limit {
            return Err(StoreError::Full { used, limit });
        }
        state.groups += 1;
        state.written += records.len();
        let mut tokens = Vec::new();
        for (kind, bytes) in records {
            let entry = Entry {
                kind: *kind,
                bytes: bytes.to_vec(),
                owner: self.owner,
                held: true,
            };
            let token = state.next_token;
            state.next_token += 1;
            state.records.insert(token, entry);
            tokens.push(token);
        }
        let meanwhile = state.meanwhile.take();
        drop(state);
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        Ok(tokens)
    }

    fn remove(&mut self, tokens: &[u64]) -> Result<(), StoreError> {
        let mut state = self.shelf.state();
        state.check()?;
        for token in tokens {
            state.records.remove(token).expect("kept until removed");
        }
        Ok(())
    }

    fn release(&mut self, tokens: &[u64]) {
        let mut state = self.shelf.state();
        for token in tokens {
            state.records.get_mut(token).expect("kept").held = false;
        }
    }

    fn quarantine(
        &mut self,
        token: u64,
        _kind: Kind,
        bytes: &[u8],
        reason: &str,
    ) -> Result<(), StoreError> {
        let mut state = self.shelf.state();
        state.check()?;
        state.records.remove(&token).expect("kept");
        state.quarantined.push((bytes.to_vec(), reason.to_owned()));
        Ok(())
    }

    fn load(&mut self, max_bytes: usize) -> Result<Vec<Stored>, StoreError> {
        let mut state = self.shelf.state();
        state.check()?;
        let (mut loaded, mut bytes) = (Vec::new(), 0);
        for (token, entry) in state.records.iter_mut().rev() {
            if entry.held || (bytes > 0 && bytes + entry.bytes.len() > max_bytes) {
                continue;
            }
            bytes += entry.bytes.len();
            entry.held = true;
            loaded.push(Stored {
                token: *token,
                kind: entry.kind,
                bytes: entry.bytes.clone(),
            });
            entry.owner = self.owner;
        }
        loaded.reverse();
        Ok(loaded)
    }

    fn discard_oldest(&mut self, bytes: u64) -> Result<[u64; 2], StoreError> {
        let mut state = self.shelf.state();
        state.check()?;
        let (mut discarded, mut freed) = ([0, 0], 0);
        state.records.retain(|_, entry| {
            if entry.held || freed >= bytes {
                return true;
            }
            freed += entry.bytes.len() as u64;
            discarded[entry.kind.index()] += 1;
            false
        });
        Ok(discarded)
    }

    fn tick(&mut self, _now: Instant) -> Result<Option<Instant>, StoreError> {
        self.shelf.state().check().map(|()| None)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mut state = self.shelf.state();
        state.check()?;
        state.synced += 1;
        Ok(())
    }

    fn usage(&self) -> Usage {
        let state = self.shelf.state();
        Usage {
            records: state.records.len() as u64,
            bytes: state.used(),
            quarantined: state.quarantined.len() as u64,
            backlog: state.records.values().any(|entry| !entry.held),
            damaged: [0, 0],
            taken: [0, 0],
        }
    }
}
