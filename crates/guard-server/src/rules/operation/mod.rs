//! Operations: changes that people make to the published document.
//!
//! `kinds` has one file for each kind, or for a pair of them. The API's collections, the commands of
//! `guard-server rules`, the history's texts and the composed document follow from it.
//! To add a kind, add a file to `kinds` and its name to the list in `kinds/mod.rs`.

mod kinds;
mod schema;

use std::fmt::{self, Display, Formatter};

use guard_wire::rules::{DynamicRules, RulesError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use self::kinds::*;
pub use self::schema::{Field, Need, Schema, Takes};
use super::document::check;
use super::fields;
use crate::fingerprint::fingerprint;

/// A kind of operation.
trait Kind: Serialize + DeserializeOwned {
    /// Its names in the interfaces, and its fields.
    const SCHEMA: Schema;
    /// Operations of the same topic on the same subject replace each other.
    const TOPIC: &'static str = Self::SCHEMA.kind;

    /// What it is about; empty if there can be only one of its kind.
    fn subject(&self) -> &str {
        ""
    }

    /// Puts its fields in canonical form, so that equal operations are equal.
    fn normalize(&mut self) -> Result<(), RulesError> {
        Ok(())
    }

    /// Checks what only has to hold for a new operation, not to remove one.
    fn check_new(&self) -> Result<(), RulesError> {
        Ok(())
    }

    /// Writes it into a document.
    fn apply(&self, rules: &mut DynamicRules);

    /// Which of its fields a wrong field of the document comes from.
    fn field_of(_document_field: &str) -> String {
        let first = Self::SCHEMA.fields.first();
        first.map(|field| field.name.to_owned()).unwrap_or_default()
    }

    /// The history text when it is added.
    fn describe(&self) -> String;

    /// The history text when it is removed.
    fn describe_removal(&self) -> String;
}

impl Operation {
    /// The kind that a collection of the API holds.
    pub fn in_collection(collection: &str) -> Option<&'static Schema> {
        let mut all = Self::SCHEMAS.iter();
        all.find(|schema| schema.collection == collection)
    }

    /// Reads an operation that is to be added.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] for a field that is missing, unknown or of another type.
    pub fn read(schema: &Schema, fields: Map<String, Value>) -> Result<Self, RulesError> {
        Self::of_kind(schema.kind, Value::Object(fields))
    }

    /// Reads an operation that is to be removed: only the fields that say what it is about
    /// have to be given.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] for a field that is missing, unknown or of another type.
    pub fn read_to_remove(
        schema: &Schema,
        mut fields: Map<String, Value>,
    ) -> Result<Self, RulesError> {
        schema.complete(&mut fields);
        Self::read(schema, fields)
    }

    /// The id of its entry: the same for all operations about the same thing.
    pub fn id(&self) -> String {
        fingerprint(&[self.topic(), self.subject()])
    }

    /// Whether both are about the same thing, so that the later one replaces the earlier.
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        self.topic() == other.topic() && self.subject() == other.subject()
    }

    /// Whether it bans a block of addresses, which guards cannot unban.
    pub(crate) fn is_block(&self) -> bool {
        matches!(self, Self::Ban(ban) if ban.ip.contains('/'))
    }

    /// Puts it in canonical form, so that equal operations are equal: such as `192.0.2.0/24` for
    /// `192.0.2.7/24`.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] naming the field that guards could not use.
    pub(crate) fn normalize(&mut self) -> Result<(), RulesError> {
        self.normalize_fields()?;
        let mut rules = DynamicRules::default();
        self.apply(&mut rules);
        check(&rules).map_err(|error| match error {
            RulesError::Field { field, problem } => RulesError::Field {
                field: self.field_of(&field),
                problem,
            },
            other => other,
        })
    }
}

/// The history text when it is added.
impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// Makes the enum of all kinds, and has each do what its kind says.
macro_rules! operations {
    ($($kind:ident),* $(,)?) => {
        /// One change to the published document.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum Operation {
            $(
                #[doc = concat!("See [`", stringify!($kind), "`].")]
                $kind($kind),
            )*
        }

        impl Operation {
            /// All kinds, as the interfaces name them.
            pub const SCHEMAS: &[Schema] = &[$(<$kind as Kind>::SCHEMA),*];

            /// How the interfaces name its kind.
            pub fn schema(&self) -> &'static Schema {
                match self {
                    $(Self::$kind(_) => const { &<$kind as Kind>::SCHEMA },)*
                }
            }

            pub(super) fn of_kind(kind: &str, fields: Value) -> Result<Self, RulesError> {
                $(
                    if kind == <$kind as Kind>::SCHEMA.kind {
                        return super::fields::read(fields).map(Self::$kind);
                    }
                )*
                Err(problem("kind", format!("there is no kind {kind:?}")))
            }

            pub(super) fn topic(&self) -> &'static str {
                match self { $(Self::$kind(_) => <$kind as Kind>::TOPIC,)* }
            }

            pub(super) fn subject(&self) -> &str {
                match self { $(Self::$kind(it) => it.subject(),)* }
            }

            pub(super) fn normalize_fields(&mut self) -> Result<(), RulesError> {
                match self { $(Self::$kind(it) => it.normalize(),)* }
            }

            /// Checks what only has to hold for a new operation, not to remove one.
            pub(crate) fn check_new(&self) -> Result<(), RulesError> {
                match self { $(Self::$kind(it) => it.check_new(),)* }
            }

            pub(super) fn field_of(&self, document_field: &str) -> String {
                match self { $(Self::$kind(_) => $kind::field_of(document_field),)* }
            }

            /// Writes it into a document.
            pub(crate) fn apply(&self, rules: &mut DynamicRules) {
                match self { $(Self::$kind(it) => it.apply(rules),)* }
            }

            pub(super) fn describe(&self) -> String {
                match self { $(Self::$kind(it) => it.describe(),)* }
            }

            /// The history text when it is removed.
            pub(crate) fn describe_removal(&self) -> String {
                match self { $(Self::$kind(it) => it.describe_removal(),)* }
            }
        }
    };
}
use operations;
