//! Describes a kind of operation to the API and the command line.

use serde_json::{Map, Value, json};

/// The names of a kind of operation, and its fields.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Its name in the entries of the policy.
    pub kind: &'static str,
    /// Its name in the API: `/api/v1/rules/{collection}`.
    pub collection: &'static str,
    /// Its command under `guard-server rules`. Kinds that share a command differ by their keys.
    pub command: Option<&'static str>,
    /// The help of the command.
    pub help: &'static str,
    /// Its fields, in the order of the command's arguments.
    pub fields: &'static [Field],
}

impl Schema {
    /// Adds the fields that an operation to remove need not name, with any value of the right type.
    pub(super) fn complete(&self, fields: &mut Map<String, Value>) {
        for field in self.fields.iter().filter(|it| it.need == Need::ToAdd) {
            fields
                .entry(field.name)
                .or_insert_with(|| field.takes.example());
        }
    }
}

/// A field of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its help on the command line.
    pub help: &'static str,
    /// The values it takes.
    pub takes: Takes,
    /// When it must be given.
    pub need: Need,
    /// The command line's option for it; without one it is a positional argument.
    pub option: Option<&'static str>,
    /// Its placeholder in the command's usage, such as `PATH`.
    pub placeholder: &'static str,
}

/// The values that a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// A duration in seconds.
    Seconds,
    /// On or off.
    Switch,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A list of texts.
    List,
}

impl Takes {
    fn example(self) -> Value {
        match self {
            Self::Number | Self::Seconds => json!(1),
            Self::Switch => json!(true),
            Self::List => json!([]),
            Self::Text | Self::OneOf(_) => json!(""),
        }
    }
}

/// When a field must be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Always: it identifies the operation.
    Key,
    /// To add the operation, but not to remove it.
    ToAdd,
    /// Never.
    Optional,
}

impl Field {
    /// A text that identifies the operation.
    pub(super) const fn key(
        name: &'static str,
        placeholder: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            help,
            takes: Takes::Text,
            need: Need::Key,
            option: None,
            placeholder,
        }
    }

    /// A field that is needed to add the operation.
    pub(super) const fn value(
        name: &'static str,
        placeholder: &'static str,
        help: &'static str,
        takes: Takes,
    ) -> Self {
        Self {
            takes,
            need: Need::ToAdd,
            ..Self::key(name, placeholder, help)
        }
    }

    /// Makes it an option of the command line, not a positional argument.
    pub(super) const fn option(mut self, option: &'static str) -> Self {
        self.option = Some(option);
        self
    }

    /// Makes it optional.
    pub(super) const fn optional(mut self) -> Self {
        self.need = Need::Optional;
        self
    }

    /// Restricts it to these texts.
    pub(super) const fn one_of(mut self, texts: &'static [&'static str]) -> Self {
        self.takes = Takes::OneOf(texts);
        self
    }
}
