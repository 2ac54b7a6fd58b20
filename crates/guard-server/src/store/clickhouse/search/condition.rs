//! A filter as SQL.
//!
//! Columns do not tell everything: some values are only in the body. So a filter becomes two
//! conditions. `maybe` holds for every row that may match, and is used to search. `surely` holds
//! for rows that match whatever the body says; the body of the others decides.

use std::net::IpAddr;

use guard_wire::Kind;
use ipnet::IpNet;

use super::super::Untyped;
use super::super::rows::key_of;
use super::columns::{Kept, kept};
use super::json::Json;
use super::params::Params;
use crate::query::filter::{
    Bound, Field, FieldType, Filter, Node, Order, Pattern, Test, read_bound,
};

/// The time of a record as text, with as many digits as it needs.
pub(super) const TIME_TEXT: &str = "concat(\
     formatDateTime(timestamp, '%Y-%m-%dT%H:%i:%S', 'UTC'), \
     if(toUnixTimestamp64Micro(timestamp) % 1000000 = 0, '', \
     concat('.', trim(TRAILING '0' FROM leftPad(toString(\
     positiveModulo(toUnixTimestamp64Micro(timestamp), 1000000)), 6, '0')))), 'Z')";

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
    fn body(possible: impl Into<String>) -> Self {
        Self {
            maybe: possible.into(),
            surely: "0".to_owned(),
        }
    }

    /// One of both.
    fn or(self, other: Self) -> Self {
        Self {
            maybe: format!("({} OR {})", self.maybe, other.maybe),
            surely: format!("({} OR {})", self.surely, other.surely),
        }
    }

    /// Whether it needs no bodies.
    pub(super) fn is_exact(&self) -> bool {
        self.maybe == self.surely
    }
}

/// Turns filters into SQL over the columns of a table.
pub(super) struct Compiler<'a> {
    pub(super) kind: Kind,
    pub(super) params: &'a mut Params,
}

impl Compiler<'_> {
    pub(super) fn filter(&mut self, filter: &Filter) -> Condition {
        self.node(&filter.root)
    }

    fn node(&mut self, node: &Node) -> Condition {
        match node {
            Node::All(nodes) => self.joined(nodes, " AND ", "1"),
            Node::Any(nodes) => self.joined(nodes, " OR ", "0"),
            Node::Not(node) => {
                let Condition { maybe, surely } = self.node(node);
                Condition {
                    maybe: format!("(NOT {surely})"),
                    surely: format!("(NOT {maybe})"),
                }
            }
            Node::Field(field, test) => self.field(field, test),
            Node::Word(pattern) => self.word(pattern),
        }
    }

    fn joined(&mut self, nodes: &[Node], with: &str, none: &str) -> Condition {
        if nodes.is_empty() {
            return Condition::exact(none.to_owned());
        }
        let parts: Vec<_> = nodes.iter().map(|node| self.node(node)).collect();
        let joined = |of: fn(&Condition) -> &str| {
            let parts: Vec<_> = parts.iter().map(of).collect();
            format!("({})", parts.join(with))
        };
        Condition {
            maybe: joined(|part| &part.maybe),
            surely: joined(|part| &part.surely),
        }
    }

    fn field(&mut self, field: &Field, test: &Test) -> Condition {
        let (typed, untyped) = match kept(self.kind, field) {
            Some(Kept::Time) => return self.time(test),
            Some(Kept::Address) => return self.address(test),
            Some(Kept::Text(column, untyped)) => (self.text(column, test), untyped),
            Some(Kept::Whole(column, untyped)) => (self.whole(column, test), Some(untyped)),
            Some(Kept::Real(column, untyped)) => (self.real(column, test), untyped),
            None => return self.without_column(field, test),
        };
        match untyped {
            None => typed,
            Some(number) => {
                typed.or(Json::untyped(number).test(field.field_type(), test, self.params))
            }
        }
    }

    fn without_column(&mut self, field: &Field, test: &Test) -> Condition {
        match (field, test) {
            (Field::Key { object, key }, _) => {
                Json::key(object, key, self.params).test(FieldType::Any, test, self.params)
            }
            // A record with this key has the hash of it; the body tells whether it has the key.
            (Field::Named("idempotency_key"), Test::Equals(key)) if !key.is_empty() => {
                Condition::body(format!("(key = {})", self.params.record_key(key_of(key))))
            }
            _ => Condition::body("1"),
        }
    }

    fn text(&mut self, column: &str, test: &Test) -> Condition {
        Condition::exact(match test {
            Test::Present => format!("isNotNull({column})"),
            Test::Equals(text) => format!("ifNull({column} = {}, 0)", self.params.text(text)),
            Test::Matches(pattern) => self.like(column, pattern),
            // Text may be the digits of a number.
            _ => return Condition::body(format!("isNotNull({column})")),
        })
    }

    /// The whole text matches.
    fn like(&mut self, text: &str, pattern: &Pattern) -> String {
        format!("ifNull({text} LIKE {}, 0)", self.params.text(like(pattern)))
    }

    /// Rows in which the pattern is found in one of the searched fields.
    fn word(&mut self, pattern: &Pattern) -> Condition {
        if self.kind == Kind::Metric {
            // Only a field of the metric itself is searched, not one of its tags.
            return Condition::body("1");
        }
        let within = format!("%{}%", like(pattern).to_ascii_lowercase());
        let within = self.params.text(within);
        // Only texts are searched, so `untyped` has nothing to search.
        let found = Field::SEARCHED.map(|name| format!("ifNull(lower({name}) LIKE {within}, 0)"));
        Condition::exact(format!("({})", found.join(" OR ")))
    }

    fn address(&mut self, test: &Test) -> Condition {
        Condition::exact(match test {
            Test::Present => "isNotNull(ip_address)".to_owned(),
            Test::Equals(text) => {
                let canonical = match text.parse::<IpAddr>() {
                    Ok(address) => address.to_string(),
                    Err(_) => text.clone(),
                };
                format!("ifNull(ip_address = {}, 0)", self.params.text(canonical))
            }
            Test::Matches(pattern) => {
                // As it was sent.
                let sent = Json::untyped(Untyped::Address as u8).group();
                self.like(&format!("ifNull({sent}, ip_address)"), pattern)
            }
            Test::Within(network) => return self.within(*network),
            _ => return Condition::body("isNotNull(ip_address)"),
        })
    }

    fn within(&mut self, network: IpNet) -> Condition {
        let first = self.params.text(network.network().to_string());
        let last = self.params.text(network.broadcast().to_string());
        if network.network().is_ipv4() {
            let address = "toIPv4OrNull(ip_address)";
            // Text in another form than the canonical one is no address.
            return Condition::exact(format!(
                "ifNull({address} >= toIPv4({first}) AND {address} <= toIPv4({last}) \
                 AND toString({address}) = ip_address, 0)"
            ));
        }
        let address = "toIPv6OrNull(ip_address)";
        let maybe = format!(
            "{address} >= toIPv6({first}) AND {address} <= toIPv6({last}) \
             AND position(ip_address, ':') > 0"
        );
        Condition {
            // Both ways of writing differ for a few addresses.
            surely: format!("ifNull({maybe} AND toString({address}) = ip_address, 0)"),
            maybe: format!("ifNull({maybe}, 0)"),
        }
    }

    fn whole(&mut self, column: &str, test: &Test) -> Condition {
        match (test, self.number(column, test)) {
            (Test::Matches(pattern), _) => {
                Condition::exact(self.like(&format!("toString({column})"), pattern))
            }
            (_, Some(holds)) => Condition::exact(holds),
            (_, None) => Condition::exact("0".to_owned()),
        }
    }

    fn real(&mut self, column: &str, test: &Test) -> Condition {
        match self.number(column, test) {
            Some(holds) => Condition::exact(holds),
            // The body tells how the number is written.
            None => Condition::body(format!("isNotNull({column})")),
        }
    }

    /// A test of a number. `None` if it is one of its text.
    fn number(&mut self, column: &str, test: &Test) -> Option<String> {
        let holds = match test {
            Test::Present => return Some(format!("isNotNull({column})")),
            Test::Equals(text) => match text.parse::<f64>() {
                Ok(number) => format!("{column} = {}", self.params.real(number)),
                Err(_) => return Some("0".to_owned()),
            },
            Test::Compare(order, Bound::Number(number)) => {
                format!("{column} {order} {}", self.params.real(*number))
            }
            Test::Between(Bound::Number(from), Bound::Number(to)) => {
                let (from, to) = (self.params.real(*from), self.params.real(*to));
                format!("{column} >= {from} AND {column} <= {to}")
            }
            _ => return None,
        };
        Some(format!("ifNull({holds}, 0)"))
    }

    fn time(&mut self, test: &Test) -> Condition {
        // Records have whole microseconds, so a bound between two of them is moved to one.
        let time = |bound: &Bound| match bound {
            Bound::Time(at) => Some(at.as_nanosecond()),
            Bound::Number(_) => None,
        };
        let (floor, ceil) = (
            |ns: i128| ns.div_euclid(1000),
            |ns: i128| -(-ns).div_euclid(1000),
        );
        let mut at = |micros: i128| {
            let micros =
                i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX });
            self.params.whole(micros)
        };
        let column = "toUnixTimestamp64Micro(timestamp)";
        let holds = match test {
            Test::Present => Some("1".to_owned()),
            Test::Matches(pattern) => return Condition::exact(self.like(TIME_TEXT, pattern)),
            Test::Equals(text) => read_bound(FieldType::Time, text)
                .as_ref()
                .and_then(time)
                .map(|ns| {
                    if floor(ns) == ceil(ns) {
                        format!("({column} = {})", at(floor(ns)))
                    } else {
                        "0".to_owned()
                    }
                }),
            Test::Compare(order, bound) => time(bound).map(|ns| {
                let micros = match order {
                    Order::Below | Order::AtLeast => ceil(ns),
                    Order::AtMost | Order::Above => floor(ns),
                };
                format!("({column} {order} {})", at(micros))
            }),
            Test::Between(from, to) => time(from).zip(time(to)).map(|(from, to)| {
                format!(
                    "({column} BETWEEN {} AND {})",
                    at(ceil(from)),
                    at(floor(to))
                )
            }),
            _ => None,
        };
        holds.map_or_else(|| Condition::body("1"), Condition::exact)
    }
}

/// A pattern in the language of LIKE.
pub(super) fn like(pattern: &Pattern) -> String {
    let escaped = |part: &String| {
        let mut text = String::with_capacity(part.len());
        for character in part.chars() {
            if matches!(character, '%' | '_' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text
    };
    let parts: Vec<_> = pattern.parts().iter().map(escaped).collect();
    parts.join("%")
}
