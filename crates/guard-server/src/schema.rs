//! Describes types that are written as text, for the description of the API.

/// Describes a type that is written as text: what it is, an example, and perhaps its format.
macro_rules! text_schema {
    ($type:ty, $about:literal, $example:literal $(, $format:expr)?) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    $(.format(Some(utoipa::openapi::SchemaFormat::KnownFormat($format))))?
                    .description(Some($about))
                    .examples([$example])
                    .into()
            }
        }

        impl utoipa::ToSchema for $type {}
    };
}
pub(crate) use text_schema;
