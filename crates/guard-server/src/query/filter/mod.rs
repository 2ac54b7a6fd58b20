//! The filter language: which records a query is about.
//!
//! ```text
//! event_type:ip_banned                  equal, case-sensitive
//! reason:"rate limit"                   a quoted value; \" and \\ escape
//! endpoint:/api/*                       * matches any text; \* is a star
//! ip_address:10.0.0.0/8                 a network, IPv4 or IPv6
//! status_code:>=400  response_time:0.1..2   comparison, inclusive range
//! metadata.guard.rule.id:block-1        a key of the metadata
//! country:*  -country:*                 present, absent
//! sqlmap                                part of reason, endpoint, user_agent or pattern_matched
//! a b   a AND b   a OR b   NOT (a)   -a
//! ```
//!
//! Adjacent terms are joined by AND, which binds tighter than OR. Keywords are written in
//! capitals. A filter is parsed once, by [`Filter::parse`], and then asked about each record
//! by [`Filter::matches`]. Its [`Display`](std::fmt::Display) form parses to an equal filter.

mod evaluate;
mod field;
mod needles;
mod parse;
mod pattern;
mod print;

#[cfg(test)]
mod properties;

use ipnet::IpNet;
use jiff::Timestamp;

pub use evaluate::Subject;
pub(crate) use evaluate::is_text;
pub use field::{Field, FieldType};
pub(crate) use needles::Needles;
pub use parse::FilterError;
pub(crate) use parse::read_bound;
pub use pattern::Pattern;

/// Longest filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 4096;
/// Most terms in a filter.
pub const MAX_TERMS: usize = 200;
/// Deepest nesting of parentheses and negations.
pub const MAX_NESTING: usize = 32;

/// A condition on records. The empty filter matches every record.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    pub(crate) root: Node,
}

/// A part of a filter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Every one of them holds.
    All(Vec<Node>),
    /// At least one of them holds.
    Any(Vec<Node>),
    /// It does not hold.
    Not(Box<Node>),
    /// A condition on one field.
    Field(Field, Test),
    /// Text in one of the [searched fields](Field::SEARCHED), ignoring ASCII case.
    Word(Pattern),
}

impl Node {
    fn other_field(&self, known: &[&str]) -> Option<String> {
        match self {
            Self::All(nodes) | Self::Any(nodes) => {
                nodes.iter().find_map(|node| node.other_field(known))
            }
            Self::Not(node) => node.other_field(known),
            Self::Field(Field::Named(name), _) if known.contains(name) => None,
            Self::Field(field, _) => Some(field.to_string()),
            Self::Word(_) => Some(Field::SEARCHED.join(", ")),
        }
    }
}

/// What is asked of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    /// The field has a value other than null.
    Present,
    /// It is this text, number or address.
    Equals(String),
    /// Its text matches.
    Matches(Pattern),
    /// It is an address in this network.
    Within(IpNet),
    /// It is in this order to the bound.
    Compare(Order, Bound),
    /// It is between two bounds, both included.
    Between(Bound, Bound),
}

/// The side of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// What a value is compared with.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Bound {
    /// A number.
    Number(f64),
    /// A moment.
    Time(Timestamp),
}

impl Filter {
    /// The filter that matches every record.
    pub fn everything() -> Self {
        Self {
            root: Node::All(Vec::new()),
        }
    }

    /// A field that it names, other than these; a bare word counts as the fields it searches.
    pub fn other_field(&self, known: &[&str]) -> Option<String> {
        self.root.other_field(known)
    }

    /// Whether it matches every record.
    pub fn is_everything(&self) -> bool {
        matches!(&self.root, Node::All(nodes) if nodes.is_empty())
    }
}
