//! The commands that add an operation, such as `guard-server rules ban`: one command per kind,
//! built from its [`Schema`].

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, Error, FromArgMatches, Subcommand};
use clap::{builder::ValueParser, value_parser};
use guard_wire::rules::RulesError;
use serde_json::{Map, Value, json};

use super::rules_command::{Term, number, seconds};
use crate::rules::operation::{Field, Need, Operation, Schema, Takes};

/// An operation on the published rules.
#[derive(Debug)]
pub struct OperationCommand {
    /// The kind.
    pub schema: &'static Schema,
    /// The given fields.
    pub fields: Map<String, Value>,
    /// The duration and the note for the history.
    pub term: Term,
}

impl OperationCommand {
    /// The operation to add or remove.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] for an invalid field.
    pub fn operation(&self) -> Result<Operation, RulesError> {
        let fields = self.fields.clone();
        if self.term.remove {
            Operation::read_to_remove(self.schema, fields)
        } else {
            Operation::read(self.schema, fields)
        }
    }
}

/// The kinds that share a command.
fn kinds(command: &str) -> impl Iterator<Item = &'static Schema> {
    let of_command = move |schema: &&Schema| schema.command == Some(command);
    Operation::SCHEMAS.iter().filter(of_command)
}

/// The command of a kind, and of other kinds that share it.
fn command(name: &'static str, first: &'static Schema) -> Command {
    let mut command = Command::new(name);
    let mut fields: Vec<&Field> = Vec::new();
    for field in kinds(name).flat_map(|schema| schema.fields) {
        if fields.iter().all(|known| known.name != field.name) {
            fields.push(field);
        }
    }
    for field in fields {
        let mut schemas = kinds(name);
        let is_shared = schemas.all(|it| it.fields.iter().any(|other| other.name == field.name));
        command = command.arg(argument(field, is_shared));
    }
    // Adding the arguments also sets an about text.
    Term::augment_args(command).about(first.help)
}

fn argument(field: &Field, is_shared: bool) -> Arg {
    let parser: ValueParser = match field.takes {
        Takes::Text | Takes::List => value_parser!(String),
        Takes::Number => number.into(),
        Takes::Seconds => seconds.into(),
        Takes::Switch => PossibleValuesParser::new(["on", "off"]).into(),
        Takes::OneOf(texts) => PossibleValuesParser::new(texts).into(),
    };
    let arg = Arg::new(field.name)
        .help(field.help)
        .value_name(field.placeholder)
        .value_parser(parser);
    let arg = match field.option {
        Some(option) => arg.long(option),
        None => arg,
    };
    match (field.need, field.takes) {
        (_, Takes::List) => arg.action(ArgAction::Append),
        (Need::Key, _) => arg.required(is_shared),
        (Need::ToAdd, _) => arg.required_unless_present("remove"),
        (Need::Optional, _) => arg,
    }
}

fn value(matches: &ArgMatches, field: &Field) -> Option<Value> {
    let text = || matches.get_one::<String>(field.name);
    match field.takes {
        Takes::Text | Takes::OneOf(_) => text().map(|it| json!(it)),
        Takes::Switch => text().map(|it| json!(it == "on")),
        Takes::Number | Takes::Seconds => matches.get_one::<i64>(field.name).map(|it| json!(it)),
        Takes::List => {
            let items = matches.get_many::<String>(field.name).unwrap_or_default();
            Some(items.map(String::as_str).collect())
        }
    }
}

impl FromArgMatches for OperationCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let missing = || Error::new(ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let has_its_keys = |schema: &&Schema| {
            let mut keys = schema.fields.iter().filter(|it| it.need == Need::Key);
            keys.all(|key| matches.contains_id(key.name))
        };
        let schema = kinds(name).find(has_its_keys).ok_or_else(missing)?;
        let given = schema
            .fields
            .iter()
            .filter_map(|field| Some((field.name.to_owned(), value(matches, field)?)));
        Ok(Self {
            schema,
            fields: given.collect(),
            term: Term::from_arg_matches(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for OperationCommand {
    fn augment_subcommands(mut all: Command) -> Command {
        for schema in Operation::SCHEMAS {
            if let Some(name) = schema.command
                && all.find_subcommand(name).is_none()
            {
                all = all.subcommand(command(name, schema));
            }
        }
        all
    }

    fn augment_subcommands_for_update(all: Command) -> Command {
        Self::augment_subcommands(all)
    }

    fn has_subcommand(name: &str) -> bool {
        kinds(name).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_description() {
        let all = OperationCommand::augment_subcommands(Command::new("rules"));
        for schema in Operation::SCHEMAS {
            let Some(name) = schema.command else { continue };
            let about = all.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string);
            assert_eq!(about.as_deref(), Some(schema.help), "{name}");
        }
        all.debug_assert();
    }
}
