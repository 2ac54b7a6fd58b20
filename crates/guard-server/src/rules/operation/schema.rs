//! How a kind of operation looks from outside: to the API and to the command line.

use serde_json::{Map, Value, json};

/// How the interfaces name a kind of operation, and which fields it has.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Its name in the entries of the policy.
    pub kind: &'static str,
    /// Its name in the API: `/api/v1/rules/{collection}`.
    pub collection: &'static str,
    /// Its command under `guard-server rules`. Kinds that share a command differ by their keys.
    pub command: Option<&'static str>,
    /// What the command does.
    pub help: &'static str,
    /// Its fields, in the order of the command's arguments.
    pub fields: &'static [Field],
}

impl Schema {
    /// Adds what need not be given to take an operation back: any value of the right type.
    pub(super) fn complete(&self, fields: &mut Map<String, Value>) {
        for field in self.fields.iter().filter(|it| it.need == Need::ToMake) {
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
    /// What the command line says about it.
    pub help: &'static str,
    /// Which values it takes.
    pub takes: Takes,
    /// When it has to be given.
    pub need: Need,
    /// The command line's option for it; without one it is a positional argument.
    pub option: Option<&'static str>,
    /// What stands for it in the command's usage, such as `PATH`.
    pub placeholder: &'static str,
}

/// Which values a field takes.
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

/// When a field has to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Always: it says what the operation is about.
    Key,
    /// To make the operation, but not to take it back.
    ToMake,
    /// Never.
    Optional,
}

impl Field {
    /// A text that says what the operation is about.
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

    /// A field that has to be given to make the operation.
    pub(super) const fn value(
        name: &'static str,
        placeholder: &'static str,
        help: &'static str,
        takes: Takes,
    ) -> Self {
        Self {
            takes,
            need: Need::ToMake,
            ..Self::key(name, placeholder, help)
        }
    }

    /// Is an option of the command line, not a positional argument.
    pub(super) const fn option(mut self, option: &'static str) -> Self {
        self.option = Some(option);
        self
    }

    /// May be left out.
    pub(super) const fn optional(mut self) -> Self {
        self.need = Need::Optional;
        self
    }

    /// Takes one of these texts.
    pub(super) const fn one_of(mut self, texts: &'static [&'static str]) -> Self {
        self.takes = Takes::OneOf(texts);
        self
    }
}
