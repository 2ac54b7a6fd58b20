//! The fields that filters and groups can name.

use std::fmt::{self, Display, Formatter};

use guard_wire::Kind;

/// What kind of values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Any text.
    Text,
    /// Numbers, which can be compared.
    Number,
    /// Moments, which can be compared.
    Time,
    /// Internet addresses, which networks contain.
    Address,
    /// A key of an object, whose values may be anything.
    Any,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// A field of the record itself.
    Named(&'static str),
    /// `metadata.KEY` of an event, `tags.KEY` of a metric.
    Key {
        /// `metadata` or `tags`.
        object: &'static str,
        /// The key; its dots may be part of the name.
        key: String,
    },
}

const EVENT_FIELDS: &[(&str, FieldType)] = &[
    ("idempotency_key", FieldType::Text),
    ("timestamp", FieldType::Time),
    ("event_type", FieldType::Text),
    ("ip_address", FieldType::Address),
    ("country", FieldType::Text),
    ("user_agent", FieldType::Text),
    ("action_taken", FieldType::Text),
    ("reason", FieldType::Text),
    ("endpoint", FieldType::Text),
    ("method", FieldType::Text),
    ("status_code", FieldType::Number),
    ("response_time", FieldType::Number),
    ("decorator_type", FieldType::Text),
    ("rule_type", FieldType::Text),
    ("pattern_matched", FieldType::Text),
    ("handler_name", FieldType::Text),
    ("install_id", FieldType::Text),
];

const METRIC_FIELDS: &[(&str, FieldType)] = &[
    ("idempotency_key", FieldType::Text),
    ("timestamp", FieldType::Time),
    ("metric_type", FieldType::Text),
    ("value", FieldType::Number),
    ("endpoint", FieldType::Text),
    ("method", FieldType::Text),
    ("status", FieldType::Number),
    ("install_id", FieldType::Text),
];

impl Field {
    /// The fields in which a bare word is looked for.
    pub const SEARCHED: [&'static str; 4] = ["reason", "endpoint", "user_agent", "pattern_matched"];

    /// The names that records of a kind have, without keys of their object.
    pub fn names(kind: Kind) -> impl Iterator<Item = &'static str> {
        table(kind).iter().map(|(name, _)| *name)
    }

    /// The object of a kind whose keys can be named.
    pub const fn object(kind: Kind) -> &'static str {
        match kind {
            Kind::Event => "metadata",
            Kind::Metric => "tags",
        }
    }

    /// The field of this name, and what its values are.
    ///
    /// # Errors
    ///
    /// The nearest known name, if records of this kind have no such field.
    pub fn find(kind: Kind, name: &str) -> Result<(Self, FieldType), String> {
        let object = Self::object(kind);
        if let Some((prefix, key)) = name.split_once('.')
            && prefix == object
            && !key.is_empty()
        {
            let key = key.to_owned();
            return Ok((Self::Key { object, key }, FieldType::Any));
        }
        table(kind)
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(known, kind)| (Self::Named(known), *kind))
            .ok_or_else(|| nearest(kind, name))
    }

    /// What its values are.
    pub(crate) fn field_type(&self) -> FieldType {
        match self {
            Self::Key { .. } => FieldType::Any,
            Self::Named(name) => EVENT_FIELDS
                .iter()
                .chain(METRIC_FIELDS)
                .find(|(known, _)| known == name)
                .map_or(FieldType::Text, |(_, kind)| *kind),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Key { object, key } => write!(f, "{object}.{key}"),
        }
    }
}

const fn table(kind: Kind) -> &'static [(&'static str, FieldType)] {
    match kind {
        Kind::Event => EVENT_FIELDS,
        Kind::Metric => METRIC_FIELDS,
    }
}

fn nearest(kind: Kind, name: &str) -> String {
    let object = Field::object(kind);
    if name.starts_with(object) {
        return format!("{object}.KEY");
    }
    let similarity = |known: &&str| strsim::jaro_winkler(known, name);
    Field::names(kind)
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
        .unwrap_or(object)
        .to_owned()
}
