//! The schemas of operations, made from the fields of each kind: see [`Operation::SCHEMAS`].

use utoipa::openapi::schema::{AnyOfBuilder, SchemaType};
use utoipa::openapi::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, RefOr, Schema, SchemaFormat, Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::answers::EntryAnswer;
use super::bodies::OperationBody;
use super::in_force::RuleAnswer;
use crate::rules::operation::{Field, Need, Operation, Schema as Kind, Takes};

impl PartialSchema for OperationBody {
    fn schema() -> RefOr<Schema> {
        let bodies = Operation::SCHEMAS.iter().map(|kind| {
            of_kind(kind, kind.collection)
                .property("reason", text("Why: one line of at most 1,000 characters."))
                .property(
                    "confirm",
                    of(Type::Boolean, "True, to do what may do harm."),
                )
                .property(
                    "duration_s",
                    of(
                        Type::Integer,
                        "How many seconds it lasts: at least 60 for a block.",
                    )
                    .minimum(Some(1))
                    .maximum(Some(316_224_000)),
                )
        });
        any_of(
            bodies,
            "An operation to add. Its fields depend on the collection.",
        )
    }
}

impl ToSchema for OperationBody {}

impl PartialSchema for EntryAnswer {
    fn schema() -> RefOr<Schema> {
        entries(
            text,
            "An operation in force. Its fields depend on its kind.",
        )
    }
}

impl ToSchema for EntryAnswer {}

impl PartialSchema for RuleAnswer {
    fn schema() -> RefOr<Schema> {
        let of_document = |about: &str| {
            let about = format!("{about} Null for a ban of the published document.");
            or_null(Type::String, &about)
        };
        entries(
            of_document,
            "An operation in force, or a ban of the published document. Its fields depend on its kind.",
        )
    }
}

impl ToSchema for RuleAnswer {}

/// Operations in force, one schema for each kind. `of_entry` describes what only entries have.
fn entries(of_entry: impl Fn(&str) -> ObjectBuilder, about: &str) -> RefOr<Schema> {
    let entries = Operation::SCHEMAS.iter().map(|kind| {
        let required = ["id", "kind", "created_at"];
        let entry = of_kind(kind, kind.kind)
            .property("id", of_entry("Identifies it."))
            .property("kind", text("Its kind.").enum_values(Some([kind.kind])))
            .property("reason", or_null(Type::String, "Why."))
            .property("author", or_null(Type::String, "Who made it."))
            .property("created_at", time(of_entry("When it began.")))
            .property(
                "ends_at",
                time(or_null(
                    Type::String,
                    "When it ends; null if it has no end.",
                )),
            );
        required.into_iter().fold(entry, ObjectBuilder::required)
    });
    any_of(entries, about)
}

fn any_of(kinds: impl Iterator<Item = ObjectBuilder>, about: &str) -> RefOr<Schema> {
    kinds
        .fold(AnyOfBuilder::new(), |all, kind| all.item(kind))
        .description(Some(about))
        .into()
}

/// An object with the fields of a kind.
fn of_kind(kind: &Kind, title: &str) -> ObjectBuilder {
    let object = ObjectBuilder::new()
        .title(Some(title))
        .description(Some(kind.help));
    kind.fields.iter().fold(object, |object, field| {
        let object = object.property(field.name, schema_of(field));
        match field.need {
            Need::Optional => object,
            Need::Key | Need::ToAdd => object.required(field.name),
        }
    })
}

fn schema_of(field: &Field) -> RefOr<Schema> {
    let (about, is_optional) = (field.help, field.need == Need::Optional);
    let single = |kind| {
        if is_optional {
            or_null(kind, about)
        } else {
            of(kind, about)
        }
    };
    match field.takes {
        Takes::Text => single(Type::String).into(),
        Takes::Number | Takes::Seconds => single(Type::Integer).into(),
        Takes::Switch => single(Type::Boolean).into(),
        Takes::OneOf(texts) => single(Type::String)
            .enum_values(Some(texts.iter().copied()))
            .into(),
        Takes::List => ArrayBuilder::new()
            .items(Object::with_type(Type::String))
            .description(Some(about))
            .into(),
    }
}

fn of(kind: Type, about: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(kind)
        .description(Some(about))
}

fn or_null(kind: Type, about: &str) -> ObjectBuilder {
    let types = SchemaType::from_iter([kind, Type::Null]);
    text(about).schema_type(types)
}

fn text(about: &str) -> ObjectBuilder {
    of(Type::String, about)
}

fn time(text: ObjectBuilder) -> ObjectBuilder {
    text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}
