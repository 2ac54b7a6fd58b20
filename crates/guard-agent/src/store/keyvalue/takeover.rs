//! Taking over the records of dead processes.

use guard_wire::Kind;

use super::client::{Key, KeyValue};
use super::found::{self, Found};
use super::{GROUPS_IN_CALL, KEYS_IN_CALL, KeyValueStore};
use crate::store::StoreError;

impl<C: KeyValue> KeyValueStore<C> {
    /// Takes over the newest records that dead processes left.
    pub(super) fn take_over(&mut self) -> Result<(), StoreError> {
        let Some(newest) = self.left.last() else {
            return Ok(());
        };
        let (single, kind) = (newest.single, newest.key.kind);
        let limit = if single { KEYS_IN_CALL } else { GROUPS_IN_CALL };
        let alike = |found: &&Found| found.single == single && found.key.kind == kind;
        let left = self.left.iter().rev().take_while(alike).take(limit);
        let found: Vec<Found> = left.cloned().collect();
        if single {
            self.take_singles(kind, &found)?;
        } else {
            self.take_groups(&found)?;
        }
        self.left.truncate(self.left.len() - found.len());
        Ok(())
    }

    fn take_groups(&mut self, found: &[Found]) -> Result<(), StoreError> {
        let old: Vec<Key> = found.iter().map(|found| found.key.clone()).collect();
        let values = self.client.get(&old)?;
        let (mut taken, mut entries) = (Vec::new(), Vec::new());
        for (found, value) in found.iter().zip(values) {
            // A value that is not a group is foreign and stays.
            if let Some(value) = value
                && let Some(records) = found::records(&value).map(|records| records.len())
            {
                let key = self.group_key(found.key.kind, found.nanos);
                taken.push((found, key.clone(), records, value.len()));
                entries.push((key, value));
            }
        }
        self.client.set(entries, None)?;
        let old: Vec<Key> = taken.iter().map(|(found, ..)| found.key.clone()).collect();
        let existed = self.delete(&old)?;
        let mut needless = Vec::new();
        for ((found, key, records, bytes), existed) in taken.into_iter().zip(existed) {
            if existed && records > 0 {
                let places: Vec<usize> = (0..records).collect();
                self.groups.add_found(key, found.nanos, &places, bytes);
            } else {
                needless.push(key);
            }
        }
        self.delete(&needless).map(drop)
    }

    /// Builds one group from single records of other versions of the agent.
    fn take_singles(&mut self, kind: Kind, found: &[Found]) -> Result<(), StoreError> {
        let keys: Vec<Key> = found.iter().map(|found| found.key.clone()).collect();
        let values = self.client.get(&keys)?;
        let (mut old, mut records, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        // The oldest record comes first, as in all groups.
        for (key, value) in keys.into_iter().zip(values).rev() {
            let Some(value) = value else { continue };
            match found::rewrite(&key, &value, &self.options.encoder) {
                Ok(record) => {
                    records.push(record);
                    old.push(key);
                }
                Err(error) => refused.push((key, value, error)),
            }
        }
        for (key, value, error) in refused {
            self.set_aside(kind, &value, &error.to_string())?;
            self.delete(&[key])?;
        }
        let Some(newest) = found.first().filter(|_| !records.is_empty()) else {
            return Ok(());
        };
        let key = self.group_key(kind, newest.nanos);
        let value = found::group_value(records.iter().map(String::as_str));
        let bytes = value.len();
        self.client.set(vec![(key.clone(), value)], None)?;
        let existed = self.delete(&old)?;
        let places = existed.iter().enumerate();
        let places: Vec<usize> = places
            .filter_map(|(place, existed)| existed.then_some(place))
            .collect();
        if places.is_empty() {
            return self.delete(&[key]).map(drop);
        }
        self.groups.add_found(key, newest.nanos, &places, bytes);
        Ok(())
    }
}
