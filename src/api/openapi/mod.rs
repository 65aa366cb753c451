//! `/openapi.json`: made from the routes' own annotations, and checked in at the repository's root.

pub mod labels;
pub mod params;
pub mod schemas;

use std::sync::OnceLock;

use bytes::Bytes;
use http::{Response, StatusCode};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr, ResponseBuilder, content::ContentBuilder};
use utoipa::{Modify, OpenApi};

use super::Body;
use super::envelope::json_reply;
use super::{check, deregister, discover, history, list, operations, probes, register, root, service, stats, watch};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Portolan",
        description = "A service registry that proves what it lists. Unknown fields and parameters are refused. In a cluster, while the Kubernetes API is silent, a read's answer carries `Portolan-Stale-Seconds`: the age of what it shows. In a cluster one replica probes; an answer of another one carries `Portolan-Probed-Elsewhere: true`, and `last_health_check` is null in it: `GET /api/v1/probes` asks the one that probes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "http://localhost:8080", description = "Where `portolan serve` listens by default")),
    tags(
        (name = "discovery", description = "Where services are, and whether they are up"),
        (name = "registration", description = "What there is to discover"),
        (name = "operations", description = "For those who run Portolan")
    ),
    paths(
        register::register, list::list, stats::stats, discover::discover, deregister::by_name, service::get, service::delete,
        check::check, history::by_name, history::history, watch::watch, probes::probes, deregister::instance, root::root, root::health, operations::healthz, operations::readyz,
        operations::metrics, document
    ),
    components(schemas(schemas::HttpJson)),
    modifiers(&Common)
)]
struct Api;

/// What every route shares: the token, the form of names, and the envelope of refusals that it does not list.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        let token = token.description(Some("Needed when ENABLE_AUTH is on; `portolan token` makes one."));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
        labels::describe_fields(document);
        let refusal = ContentBuilder::new().schema(Some(Ref::from_schema_name("Refusal"))).build();
        let other =
            ResponseBuilder::new().description("Any other refusal").content("application/json", refusal).build();
        for path in document.paths.paths.values_mut() {
            for operation in [&mut path.get, &mut path.post, &mut path.delete].into_iter().flatten() {
                operation.responses.responses.insert("default".to_owned(), RefOr::T(other.clone()));
                labels::describe_parameters(operation);
            }
        }
    }
}

/// The document, indented, as it is checked in.
pub fn json() -> String {
    // A document made of plain strings and maps always serialises.
    let mut text = Api::openapi().to_pretty_json().unwrap_or_default();
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
    use crate::api::router::{ALL, Verb};

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
            schema["maxLength"] == 63
                && schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("[a-z0-9])?"))
        };
        let mut seen = BTreeSet::new();
        let mut look = |name: &str, schema: &serde_json::Value, at: &str| match name {
            "name" | "namespace" | "instance" => {
                assert!(is_label(schema), "{at}: {schema}");
                seen.insert(format!("{at} {name}"));
            }
            "If-Match" => assert_eq!(schema["type"], "integer", "{at}"),
            _ => {}
        };
        for (path, item) in document["paths"].as_object().expect("paths") {
            for operation in item.as_object().expect("operations").values() {
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    look(parameter["name"].as_str().expect("a name"), &parameter["schema"], path);
                }
            }
        }
        for (schema, described) in document["components"]["schemas"].as_object().expect("schemas") {
            for (name, property) in described["properties"].as_object().into_iter().flatten() {
                look(name, property, schema);
            }
        }
        for held in [
            "Registration instance",
            "Registration namespace",
            "Service name",
            "/api/v1/services namespace",
            "/api/v1/services/deregister instance",
            "/api/v1/services/{id}/history instance",
            "/api/v1/services/{id}/instances/{name} name",
        ] {
            assert!(seen.contains(held), "{held}");
        }
    }

    #[test]
    fn it_describes_every_route_and_no_other() {
        let document = Api::openapi();
        let mut described = BTreeSet::new();
        for (path, item) in &document.paths.paths {
            for (verb, operation) in [("GET", &item.get), ("POST", &item.post), ("DELETE", &item.delete)] {
                described.extend(operation.as_ref().map(|_| format!("{verb} {path}")));
            }
        }
        let word = |verb: &Verb| match verb {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
        };
        let routed = ALL.iter().flat_map(|r| r.verbs().0.iter().map(move |v| format!("{} {}", word(v), r.pattern())));
        assert_eq!(described, routed.collect());
    }
}
