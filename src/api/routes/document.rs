//! `GET /openapi.json`: the handlers' descriptions in one document, which is also checked in at the repository's root.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{Response, StatusCode};
use utoipa::OpenApi;

use super::Described;
use crate::api::http::body::Body;
use crate::api::http::envelope::json_reply;
use crate::api::openapi::{Document, describe_common};

/// The document, indented, as it is checked in.
pub fn json() -> String {
    let mut document = Document::openapi();
    document.merge(Described::openapi());
    describe_common(&mut document);
    // A document of plain strings and maps always serialises.
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Describes the API.
#[utoipa::path(
    get,
    operation_id = "openapi",
    tag = "operations",
    path = "/openapi.json",
    responses((status = 200, description = "This document", body = Object))
)]
pub(super) fn document() -> Response<Body> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    json_reply(StatusCode::OK, DOCUMENT.get_or_init(|| json().into()).clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::name::MAX_LABEL;

    #[test]
    fn every_reference_leads_somewhere() {
        let text = json();
        let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for reference in text.split("\"$ref\": \"#").skip(1) {
            let pointer = reference.split('"').next().expect("a pointer");
            assert!(document.pointer(pointer).is_some(), "{pointer} is not there");
        }
    }

    #[test]
    fn names_and_generations_have_their_form() {
        let document: serde_json::Value = serde_json::from_str(&json()).expect("JSON");
        let is_label = |schema: &serde_json::Value| {
            schema["maxLength"] == MAX_LABEL
                && schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("[a-z0-9])?"))
        };
        let mut checked = BTreeSet::new();
        let mut check = |name: &str, schema: &serde_json::Value, at: &str| match name {
            "name" | "namespace" | "instance" => {
                assert!(is_label(schema), "{at}: {schema}");
                checked.insert(format!("{at} {name}"));
            }
            "If-Match" => {
                assert!(schema["pattern"].as_str().is_some_and(|form| form.contains("[0-9]")), "{at}: {schema}");
            }
            _ => {}
        };
        for (path, item) in document["paths"].as_object().expect("paths") {
            for operation in item.as_object().expect("operations").values() {
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    check(parameter["name"].as_str().expect("a name"), &parameter["schema"], path);
                }
            }
        }
        for (schema, described) in document["components"]["schemas"].as_object().expect("schemas") {
            for (name, property) in described["properties"].as_object().into_iter().flatten() {
                check(name, property, schema);
            }
        }
        for expected in [
            "Registration instance",
            "Registration namespace",
            "Service name",
            "/api/v1/services namespace",
            "/api/v1/services/deregister instance",
            "/api/v1/services/{id}/history instance",
            "/api/v1/services/{id}/instances/{name} name",
        ] {
            assert!(checked.contains(expected), "{expected}");
        }
    }
}
