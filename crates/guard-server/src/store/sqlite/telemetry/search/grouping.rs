//! The keys of groups, as the tables have them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::{FromSqlError, Value, ValueRef};
use rusqlite::{Connection, params};

use super::super::names::{self, IN_BODY};
use super::super::rollups::ABSENT;
use super::columns::{Kept, kept};
use super::scan::{Hit, Reader};
use crate::query::filter::Field;
use crate::query::group::Key;
use crate::store::{ProjectId, TextField};

/// A key, as a column has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum GroupKey {
    Missing,
    Name(i64),
    Integer(i64),
    Address(IpAddr),
    Text(Box<str>),
}

/// How rows are grouped by a field.
pub(super) struct Grouping {
    pub(super) field: Field,
    kept: Option<Kept>,
}

impl Grouping {
    pub(super) fn new(kind: Kind, field: Field) -> Self {
        let kept = kept(kind, &field);
        Self { field, kept }
    }

    /// The column that has the key; `NULL` if only the body has it.
    pub(super) fn column(&self) -> &'static str {
        match self.kept {
            Some(Kept::Name(column, _) | Kept::Integer(column, _)) => column,
            Some(Kept::Address) => "address",
            _ => "NULL",
        }
    }

    /// Whether only the bodies have the keys.
    pub(super) const fn is_in_body(&self) -> bool {
        matches!(self.kept, None | Some(Kept::Real(..) | Kept::Hash(_)))
    }

    /// The number that stands for a value that only the body tells.
    pub(super) const fn in_body(&self) -> i64 {
        match self.kept {
            Some(Kept::Integer(_, in_body)) => in_body,
            _ => IN_BODY,
        }
    }

    /// The key of a row. `at` is the place of the column among those that were asked for.
    pub(super) fn key(
        &self,
        hit: &Hit<'_>,
        at: usize,
        reader: &mut Reader<'_>,
    ) -> rusqlite::Result<GroupKey> {
        let known = match self.kept {
            Some(Kept::Name(..) | Kept::Integer(..) | Kept::Address) => {
                self.of_column(hit.column(at)?)?
            }
            Some(Kept::Time) => {
                let at = Timestamp::from_microsecond(hit.place.timestamp);
                at.ok().map(|at| GroupKey::Text(at.to_string().into()))
            }
            _ => None,
        };
        if let Some(key) = known {
            return Ok(key);
        }
        let key = reader.key(&self.field, hit)?;
        Ok(key.map_or(GroupKey::Missing, |text| GroupKey::Text(text.into())))
    }

    /// The key in a column. `None` if only the body tells it.
    fn of_column(&self, value: ValueRef<'_>) -> rusqlite::Result<Option<GroupKey>> {
        Ok(match value {
            ValueRef::Null => Some(GroupKey::Missing),
            ValueRef::Integer(number) if number == self.in_body() => None,
            ValueRef::Integer(number) => Some(match self.kept {
                Some(Kept::Integer(..)) => GroupKey::Integer(number),
                _ => GroupKey::Name(number),
            }),
            ValueRef::Blob(bytes) => Some(GroupKey::Address(address(bytes)?)),
            _ => return Err(FromSqlError::InvalidType.into()),
        })
    }

    /// The key in a rollup, where -1 stands for a missing value. `None` if only bodies tell it.
    pub(super) fn of_rollup(&self, value: ValueRef<'_>) -> rusqlite::Result<Option<GroupKey>> {
        match value {
            ValueRef::Integer(ABSENT) => Ok(Some(GroupKey::Missing)),
            value => self.of_column(value),
        }
    }

    /// What a rollup has for a key. `None` if only bodies have such keys.
    pub(super) fn in_rollup(
        &self,
        connection: &Connection,
        project: ProjectId,
        key: &Key,
    ) -> rusqlite::Result<Option<Value>> {
        let Some(text) = key else {
            return Ok(Some(ABSENT.into()));
        };
        let field = match self.kept {
            Some(Kept::Address) => match text.parse() {
                Ok(IpAddr::V4(address)) => return Ok(Some(address.octets().to_vec().into())),
                Ok(IpAddr::V6(address)) => return Ok(Some(address.octets().to_vec().into())),
                Err(_) => TextField::Address,
            },
            Some(Kept::Name(_, field)) => field,
            _ => return Ok(text.parse::<i64>().ok().map(Value::from)),
        };
        Ok(names::id(connection, project, field, text)?.map(Value::from))
    }

    /// Gives keys their text.
    pub(super) fn names(
        &self,
        connection: &Connection,
        project: ProjectId,
    ) -> rusqlite::Result<Names> {
        let field = match self.kept {
            Some(Kept::Name(_, field)) => Some(field),
            Some(Kept::Address) => Some(TextField::Address),
            _ => None,
        };
        let mut texts = HashMap::new();
        if let Some(field) = field {
            let mut statement = connection
                .prepare_cached("SELECT id, text FROM names WHERE project = ?1 AND field = ?2")?;
            let mut rows = statement.query(params![project.0, field as u8])?;
            while let Some(row) = rows.next()? {
                texts.insert(row.get(0)?, row.get(1)?);
            }
        }
        Ok(Names { texts })
    }
}

/// The texts of the names of a field.
pub(super) struct Names {
    texts: HashMap<i64, String>,
}

impl Names {
    pub(super) fn key(&self, key: GroupKey) -> Key {
        match key {
            GroupKey::Missing => None,
            GroupKey::Name(id) => self.texts.get(&id).cloned(),
            GroupKey::Integer(number) => Some(number.to_string()),
            GroupKey::Address(address) => Some(address.to_string()),
            GroupKey::Text(text) => Some(text.into()),
        }
    }
}

fn address(bytes: &[u8]) -> rusqlite::Result<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes);
    let v6 = v6.map_err(|_| FromSqlError::InvalidBlobSize {
        expected_size: 16,
        blob_size: bytes.len(),
    })?;
    Ok(Ipv6Addr::from(v6).into())
}
