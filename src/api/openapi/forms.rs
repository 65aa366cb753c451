//! How the document describes texts other than names: with the patterns that requests are checked against.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{AdditionalProperties, Array, ArrayItems, Schema};
use utoipa::openapi::{OpenApi as Document, RefOr};

use crate::model::availability::WINDOW_PATTERN;
use crate::model::text;
use crate::model::version::{MAX_RANGE, RANGE_PATTERN};
use crate::model::wait_time::WAIT_PATTERN;

/// The fields of requests in which no hostile character may stand. The note of a heartbeat may contain some: they are escaped.
const TEXTS: &[(&str, &[&str])] = &[
    ("Registration", &["version", "description", "zone", "external_id", "tags", "metadata"]),
    ("DrainRequest", &["reason"]),
    ("AcknowledgementRequest", &["note"]),
];

/// Adds the pattern of text without control characters to the fields of requests.
pub(super) fn describe_fields(document: &mut Document) {
    let components = document.components.get_or_insert_default();
    for (request, fields) in TEXTS {
        let Some(RefOr::T(Schema::Object(request))) = components.schemas.get_mut(*request) else { continue };
        for field in *fields {
            if let Some(RefOr::T(schema)) = request.properties.get_mut(*field) {
                require_printable(schema);
            }
        }
    }
}

/// Adds the form of ranges, windows and waits to the parameters of a route.
pub(super) fn describe_parameters(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let Some(RefOr::T(Schema::Object(text))) = &mut parameter.schema else { continue };
        match parameter.name.as_str() {
            "version" => (text.pattern, text.max_length) = (Some(RANGE_PATTERN.to_owned()), Some(MAX_RANGE)),
            "wait" => text.pattern = Some(WAIT_PATTERN.to_owned()),
            "window" => text.pattern = Some(WINDOW_PATTERN.to_owned()),
            _ => {}
        }
    }
}

/// A text, every text of a list, or the keys and values of a map.
fn require_printable(schema: &mut Schema) {
    match schema {
        Schema::Array(Array { items: ArrayItems::RefOrSchema(item), .. }) => {
            if let RefOr::T(item) = &mut **item {
                require_printable(item);
            }
        }
        Schema::Object(map) if map.property_names.is_some() => {
            map.property_names.as_deref_mut().map(require_printable);
            if let Some(AdditionalProperties::RefOr(RefOr::T(value))) = map.additional_properties.as_deref_mut() {
                require_printable(value);
            }
        }
        Schema::Object(text) => text.pattern = Some(text::PATTERN.to_owned()),
        _ => {}
    }
}
