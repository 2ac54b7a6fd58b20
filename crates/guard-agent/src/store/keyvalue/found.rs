//! Records that other processes left in the store.

use std::collections::HashSet;

use guard_wire::Kind;
use guard_wire::encode::{EncodeError, Encoder};
use guard_wire::value::Field;
use serde_json::value::RawValue;

use super::client::Key;
use super::name::Name;

/// A key with records that no live process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) nanos: u128,
    pub(super) key: Key,
    /// True for a single record written by another version of the agent.
    pub(super) single: bool,
}

/// All keys in the store, sorted by their meaning for this process.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Keys that no live process holds, newest last.
    pub(super) left: Vec<Found>,
    /// Number of quarantined records.
    pub(super) quarantined: u64,
}

impl Survey {
    /// Sorts the names of all keys, by kind, for the process named `owner`.
    pub(super) fn of(names: &[(Kind, Vec<String>)], owner: &str) -> Self {
        let names = || {
            names.iter().flat_map(|(kind, names)| {
                let kind = *kind;
                names.iter().map(move |name| (kind, name, Name::read(name)))
            })
        };
        let alive: HashSet<&str> = names()
            .filter_map(|(_, _, name)| match name {
                Some(Name::Lease { owner }) => Some(owner),
                _ => None,
            })
            .collect();
        let mut survey = Self::default();
        for (kind, name, meaning) in names() {
            let (nanos, single) = match meaning {
                Some(Name::Group { owner: of, .. }) if of == owner || alive.contains(of) => {
                    continue;
                }
                Some(Name::Group { nanos, .. }) => (nanos, false),
                Some(Name::Single { nanos }) => (nanos, true),
                Some(Name::Quarantine) => {
                    survey.quarantined += 1;
                    continue;
                }
                Some(Name::Lease { .. }) | None => continue,
            };
            let name = name.clone();
            let key = Key { kind, name };
            survey.left.push(Found { nanos, key, single });
        }
        survey.left.sort_by_key(|found| found.nanos);
        survey
    }
}

/// Parses the records in the value of a group. `None` if it is not a group.
pub(super) fn records(value: &str) -> Option<Vec<&str>> {
    let records: Vec<&RawValue> = serde_json::from_str(value).ok()?;
    Some(records.into_iter().map(RawValue::get).collect())
}

/// Builds the value of a group.
pub(super) fn group_value<'a>(records: impl Iterator<Item = &'a str>) -> String {
    let mut value = String::from("[");
    for record in records {
        if value.len() > 1 {
            value.push(',');
        }
        value.push_str(record);
    }
    value.push(']');
    value
}

/// Rewrites a record of another version of the agent in this version's format. A
/// record without an idempotency key gets the name of its key. So it has the same
/// idempotency key in every process that finds it.
pub(super) fn rewrite(key: &Key, value: &str, encoder: &Encoder) -> Result<String, EncodeError> {
    let unreadable = || EncodeError::Missing {
        kind: key.kind,
        field: "timestamp",
    };
    let json: serde_json::Map<_, _> = serde_json::from_str(value).map_err(|_| unreadable())?;
    let mut fields: Vec<Field<'_>> = json
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.into()))
        .collect();
    if json
        .get("idempotency_key")
        .is_none_or(|key| !key.is_string())
    {
        fields.retain(|(name, _)| name != "idempotency_key");
        fields.push(("idempotency_key".into(), key.name.as_str().into()));
    }
    let mut bytes = Vec::new();
    encoder.encode(key.kind, &fields[..], &mut bytes)?;
    String::from_utf8(bytes).map_err(|_| unreadable())
}
