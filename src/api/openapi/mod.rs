//! Descriptions for `/openapi.json` that several routes share. A route's own description is next to its handler.
//!
//! In: the types of requests and answers. Out: [`Document`], to which the routes' descriptions are added, and `describe_common`, which
//! completes the document. Read in this order: this file, [`schemas`] (types), [`params`] (query parameters), [`labels`] (names), [`forms`] (other
//! texts).

mod forms;
pub mod labels;
pub mod params;
pub mod schemas;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, ResponseBuilder, content::ContentBuilder};

/// The document without routes.
#[derive(utoipa::OpenApi)]
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
    components(schemas(crate::model::check::HttpSchema))
)]
pub struct Document;

/// Adds what all routes share: the token, the form of names, and the envelope of refusals that they do not list.
pub(super) fn describe_common(document: &mut OpenApi) {
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    let token = token.description(Some("Needed when ENABLE_AUTH is on; `portolan token` makes one."));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    labels::describe_fields(document);
    forms::describe_fields(document);
    let refusal = ContentBuilder::new().schema(Some(Ref::from_schema_name("Refusal"))).build();
    let other = ResponseBuilder::new().description("Any other refusal").content("application/json", refusal).build();
    for path in document.paths.paths.values_mut() {
        for operation in [&mut path.get, &mut path.post, &mut path.put, &mut path.delete].into_iter().flatten() {
            operation.responses.responses.insert("default".to_owned(), RefOr::T(other.clone()));
            labels::describe_parameters(operation);
            forms::describe_parameters(operation);
        }
    }
}
