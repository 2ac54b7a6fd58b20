//! A filter as SQL.
//!
//! Columns do not tell everything: some values are only in the body. So a filter becomes two
//! conditions. `maybe` holds for every row that may match, and is used to search. `surely` holds
//! for rows that match whatever the body says; the body of the others decides.

use std::fmt::Write as _;
use std::net::IpAddr;

use guard_wire::Kind;
use ipnet::IpNet;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::super::names::{self, IN_BODY};
use super::super::prepare::key_hash;
use super::columns::{Kept, kept};
use crate::query::filter::{
    Bound, Field, FieldType, Filter, Node, Order, Pattern, Test, is_text, read_bound,
};
use crate::store::{ProjectId, TextField};

/// The most names in a condition. A test that more names pass is decided by the body.
const MAX_NAMES: usize = 10_000;

/// Two conditions: neither is ever NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) maybe: String,
    pub(super) surely: String,
}

impl Condition {
    fn exact(condition: String) -> Self {
        Self {
            maybe: condition.clone(),
            surely: condition,
        }
    }

    /// Only the body decides, if `possible` holds.
    fn body(possible: &str) -> Self {
        Self {
            maybe: possible.to_owned(),
            surely: "0".to_owned(),
        }
    }
}

/// Turns filters into SQL over the columns of a table.
pub(super) struct Compiler<'a> {
    pub(super) connection: &'a Connection,
    pub(super) project: ProjectId,
    pub(super) kind: Kind,
    /// Whether the columns are those of rollups, where -1 stands for a missing value.
    pub(super) is_rollup: bool,
    /// The values of the parameters, counted from 1.
    pub(super) params: Vec<Value>,
}

impl Compiler<'_> {
    pub(super) fn filter(&mut self, filter: &Filter) -> rusqlite::Result<Condition> {
        self.node(&filter.root)
    }

    fn node(&mut self, node: &Node) -> rusqlite::Result<Condition> {
        match node {
            Node::All(nodes) => self.joined(nodes, " AND ", "1"),
            Node::Any(nodes) => self.joined(nodes, " OR ", "0"),
            Node::Not(node) => {
                let Condition { maybe, surely } = self.node(node)?;
                Ok(Condition {
                    maybe: format!("(NOT {surely})"),
                    surely: format!("(NOT {maybe})"),
                })
            }
            Node::Field(field, test) => self.field(field, test),
            Node::Word(pattern) => self.word(pattern),
        }
    }

    fn joined(&mut self, nodes: &[Node], with: &str, none: &str) -> rusqlite::Result<Condition> {
        if nodes.is_empty() {
            return Ok(Condition::exact(none.to_owned()));
        }
        let (mut maybe, mut surely) = (Vec::new(), Vec::new());
        for node in nodes {
            let condition = self.node(node)?;
            maybe.push(condition.maybe);
            surely.push(condition.surely);
        }
        let joined = |parts: Vec<String>| format!("({})", parts.join(with));
        Ok(Condition {
            maybe: joined(maybe),
            surely: joined(surely),
        })
    }

    fn field(&mut self, field: &Field, test: &Test) -> rusqlite::Result<Condition> {
        let Some(kept) = kept(self.kind, field) else {
            return Ok(match (field, test) {
                // A record with this key has the hash of it; the body tells whether it has the key.
                (Field::Named("idempotency_key"), Test::Equals(key)) => {
                    Condition::body(&format!("(key = {})", key_hash(key)))
                }
                _ => Condition::body("1"),
            });
        };
        match kept {
            Kept::Time => Ok(self.time(test)),
            Kept::Name(column, names) => self.name(column, names, field.field_type(), test),
            Kept::Address => self.address(test),
            Kept::Integer(column, in_body) => Ok(self.number(column, Some(in_body), test)),
            Kept::Real(column, has_body) => Ok(self.number(column, has_body.then_some(-1), test)),
            Kept::Hash(column) => Ok(self.hash(column, test)),
        }
    }

    fn column(&self, name: &str) -> String {
        if self.is_rollup {
            format!("nullif({name}, -1)")
        } else {
            name.to_owned()
        }
    }

    fn param(&mut self, value: impl Into<Value>) -> String {
        self.params.push(value.into());
        format!("?{}", self.params.len())
    }

    fn name(
        &mut self,
        column: &str,
        names: TextField,
        kind: FieldType,
        test: &Test,
    ) -> rusqlite::Result<Condition> {
        let column = self.column(column);
        if *test == Test::Present {
            return Ok(Condition::exact(format!("({column} IS NOT NULL)")));
        }
        let ids = match test {
            Test::Equals(text) if matches!(kind, FieldType::Text | FieldType::Any) => {
                names::id(self.connection, self.project, names, text)?
                    .into_iter()
                    .collect()
            }
            _ => self.ids(names, |text| is_text(text, kind, test))?,
        };
        Ok(among(&column, &ids))
    }

    /// Rows in which one of the columns has a name in which the pattern is found.
    fn word(&mut self, pattern: &Pattern) -> rusqlite::Result<Condition> {
        let (mut maybe, mut surely) = (Vec::new(), Vec::new());
        for name in Field::SEARCHED {
            let Some(Kept::Name(column, names)) = kept(self.kind, &Field::Named(name)) else {
                continue;
            };
            let ids = self.ids(names, |text| pattern.is_within(text))?;
            let condition = among(&self.column(column), &ids);
            maybe.push(condition.maybe);
            surely.push(condition.surely);
        }
        if self.kind == Kind::Metric {
            // Only a field of the metric itself is searched, not one of its tags.
            return Ok(Condition::body("1"));
        }
        Ok(Condition {
            maybe: format!("({})", maybe.join(" OR ")),
            surely: format!("({})", surely.join(" OR ")),
        })
    }

    /// The ids of the names that pass a test.
    fn ids(&self, names: TextField, passes: impl Fn(&str) -> bool) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, text FROM names WHERE project = ?1 AND field = ?2")?;
        let mut rows = statement.query(params![self.project.0, names as u8])?;
        let mut ids = Vec::new();
        while let Some(row) = rows.next()? {
            if passes(row.get_ref(1)?.as_str()?) {
                ids.push(row.get(0)?);
            }
        }
        Ok(ids)
    }

    fn address(&self, test: &Test) -> rusqlite::Result<Condition> {
        let column = self.column("address");
        let blob = match test {
            Test::Present => return Ok(Condition::exact(format!("({column} IS NOT NULL)"))),
            Test::Equals(text) => match text.parse::<IpAddr>() {
                Ok(address) => Some(format!("ifnull({column} = {}, 0)", literal(address))),
                Err(_) => None,
            },
            Test::Within(network) => Some(within(&column, *network)),
            _ => None,
        };
        if let Some(blob) = blob {
            return Ok(Condition {
                maybe: format!("({blob} OR ifnull({column} = {IN_BODY}, 0))"),
                surely: blob,
            });
        }
        let passes = |text: &str| is_text(text, FieldType::Address, test);
        let names = among(&column, &self.ids(TextField::Address, passes)?);
        Ok(match test {
            Test::Matches(_) => Condition {
                maybe: format!("({} OR typeof({column}) = 'blob')", names.maybe),
                surely: names.surely,
            },
            _ => names,
        })
    }

    fn number(&mut self, column: &str, in_body: Option<i64>, test: &Test) -> Condition {
        let column = self.column(column);
        let holds = match test {
            Test::Present => return Condition::exact(format!("({column} IS NOT NULL)")),
            Test::Equals(text) => match text.parse::<f64>() {
                Ok(number) => format!("{column} = {}", self.param(number)),
                Err(_) => "0".to_owned(),
            },
            Test::Compare(order, Bound::Number(number)) => {
                format!("{column} {} {}", sign(*order), self.param(*number))
            }
            Test::Between(Bound::Number(from), Bound::Number(to)) => {
                let (from, to) = (self.param(*from), self.param(*to));
                format!("{column} BETWEEN {from} AND {to}")
            }
            _ => return Condition::body(&format!("({column} IS NOT NULL)")),
        };
        match in_body {
            None => Condition::exact(format!("ifnull({holds}, 0)")),
            Some(in_body) => Condition {
                maybe: format!("ifnull({column} = {in_body} OR {holds}, 0)"),
                surely: format!("ifnull({column} <> {in_body} AND {holds}, 0)"),
            },
        }
    }

    fn hash(&self, column: &str, test: &Test) -> Condition {
        let column = self.column(column);
        match test {
            Test::Present => Condition::exact(format!("({column} IS NOT NULL)")),
            Test::Equals(text) => among(&column, &[key_hash(text)]),
            _ => Condition::body(&format!("({column} IS NOT NULL)")),
        }
    }

    fn time(&mut self, test: &Test) -> Condition {
        let time = |bound: &Bound| match bound {
            Bound::Time(at) => Some(at.as_nanosecond()),
            Bound::Number(_) => None,
        };
        let (floor, ceil) = (
            |ns: i128| ns.div_euclid(1000),
            |ns: i128| -(-ns).div_euclid(1000),
        );
        let holds = match test {
            Test::Present => Some("1".to_owned()),
            Test::Equals(text) => read_bound(FieldType::Time, text)
                .as_ref()
                .and_then(time)
                .map(|ns| {
                    if floor(ns) == ceil(ns) {
                        format!("(timestamp = {})", floor(ns))
                    } else {
                        "0".to_owned()
                    }
                }),
            Test::Compare(order, bound) => time(bound).map(|ns| match order {
                Order::Below => format!("(timestamp < {})", ceil(ns)),
                Order::AtMost => format!("(timestamp <= {})", floor(ns)),
                Order::Above => format!("(timestamp > {})", floor(ns)),
                Order::AtLeast => format!("(timestamp >= {})", ceil(ns)),
            }),
            Test::Between(from, to) => time(from)
                .zip(time(to))
                .map(|(from, to)| format!("(timestamp BETWEEN {} AND {})", ceil(from), floor(to))),
            _ => None,
        };
        holds.map_or_else(|| Condition::body("1"), Condition::exact)
    }
}

/// The column is one of these ids, or only the body tells.
fn among(column: &str, ids: &[i64]) -> Condition {
    if ids.len() > MAX_NAMES {
        return Condition::body(&format!("({column} IS NOT NULL)"));
    }
    let mut list = String::new();
    for id in ids.iter().filter(|id| **id != IN_BODY) {
        // Writing to a string cannot fail.
        let _ = write!(list, ", {id}");
    }
    let surely = if list.is_empty() {
        "0".to_owned()
    } else {
        format!("ifnull({column} IN ({}), 0)", &list[2..])
    };
    Condition {
        maybe: format!("ifnull({column} IN ({IN_BODY}{list}), 0)"),
        surely,
    }
}

const fn sign(order: Order) -> &'static str {
    match order {
        Order::Below => "<",
        Order::AtMost => "<=",
        Order::Above => ">",
        Order::AtLeast => ">=",
    }
}

fn within(column: &str, network: IpNet) -> String {
    let (first, last) = (network.network(), network.broadcast());
    let length = if first.is_ipv4() { 4 } else { 16 };
    format!(
        "ifnull(typeof({column}) = 'blob' AND length({column}) = {length} \
         AND {column} BETWEEN {} AND {}, 0)",
        literal(first),
        literal(last)
    )
}

/// An address as the literal of its bytes.
fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("x'{:08x}'", address.to_bits()),
        IpAddr::V6(address) => format!("x'{:032x}'", address.to_bits()),
    }
}
