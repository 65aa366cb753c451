//! How the document describes names: with the pattern and the length that [`name`](crate::model::name) enforces.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{OpenApi as Document, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::model::name::{LABEL_PATTERN, MAX_LABEL};

/// Fields and parameters of these names hold a name.
const NAMES: &[&str] = &["name", "namespace", "instance", "picked"];

/// A namespace, or `*` for all.
pub struct Namespaces;

impl PartialSchema for Namespaces {
    fn schema() -> RefOr<Schema> {
        let one = LABEL_PATTERN.trim_start_matches('^').trim_end_matches('$');
        let pattern = format!(r"^(\*|{one})$");
        let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        RefOr::T(Schema::Object(text.pattern(Some(pattern)).max_length(Some(MAX_LABEL)).build()))
    }
}

impl ToSchema for Namespaces {}

/// Adds pattern and length to every field of the schemas that holds a name.
pub(super) fn describe_fields(document: &mut Document) {
    let components = document.components.get_or_insert_default();
    for schema in components.schemas.values_mut() {
        let RefOr::T(Schema::Object(object)) = schema else { continue };
        let fields = object.properties.iter_mut().filter(|(name, _)| NAMES.contains(&name.as_str()));
        fields.for_each(|(_, schema)| describe(schema));
    }
}

/// Does the same for the parameters of a route. None of them can be null, which JSON alone knows.
pub(super) fn describe_parameters(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let Some(schema) = &mut parameter.schema else { continue };
        if let RefOr::T(Schema::Object(object)) = schema {
            not_null(&mut object.schema_type);
        }
        if NAMES.contains(&parameter.name.as_str()) {
            describe(schema);
        }
    }
}

fn describe(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(text)) = schema
        && text.pattern.is_none()
    {
        text.pattern = Some(LABEL_PATTERN.to_owned());
        text.max_length = Some(MAX_LABEL);
    }
}

fn not_null(kind: &mut SchemaType) {
    if let SchemaType::Array(kinds) = kind {
        kinds.retain(|kind| *kind != Type::Null);
        if let [only] = kinds.as_slice() {
            *kind = SchemaType::Type(only.clone());
        }
    }
}
