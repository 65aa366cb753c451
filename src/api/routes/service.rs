//! `GET` and `DELETE /api/v1/services/{id}`.

use http::header::IF_MATCH;

use super::request::RequestContext;
use super::{Answer, deregister};
use crate::api::http::envelope::ok_message;
use crate::api::http::reply;
use crate::api::openapi::schemas;
use crate::model::ports::{Removal, RemovalScope, ServiceRef};

/// Shows a service by id.
#[utoipa::path(
    get,
    operation_id = "get",
    tag = "discovery",
    path = "/api/v1/services/{id}",
    params(("id" = uuid::Uuid, Path, description = "The service's id")),
    security(("token" = [])),
    responses(
        (status = 200, description = "The service", body = schemas::OneService),
        (status = 304, description = "Nothing changed since the `ETag` of `If-None-Match`"),
        (status = 404, description = "`service_not_found`", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) fn get(request: &RequestContext<'_>) -> Answer {
    request.query()?.end(&[])?;
    let snapshot = request.state.catalog.snapshot();
    let entry = request.readable_service(&snapshot)?;
    let owners = request.principal.sees_owners(entry.service().key.namespace());
    Ok(reply::found(&request.state.catalog, &snapshot, &entry, owners, &request.head.headers))
}

/// Deregisters a service by id.
#[utoipa::path(
    delete,
    operation_id = "deregister",
    tag = "registration",
    path = "/api/v1/services/{id}",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id"),
        ("all" = Option<bool>, Query, description = "Also when it has several instances"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "Removed, durably", body = schemas::Done),
        (status = 403, description = "`not_owner` or `namespace_forbidden`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found`", body = schemas::Refusal),
        (status = 409, description = "`has_instances` or `manifest_owned`, or `terminating` in a cluster", body = schemas::Refusal),
        (status = 503, description = "`busy`, or `unavailable`: in a cluster the Kubernetes API does not answer; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn delete(request: &RequestContext<'_>) -> Answer {
    let mut query = request.query()?;
    let all = query.flag("all")?;
    query.end(&["all"])?;
    if request.head.headers.contains_key(IF_MATCH) {
        let instead =
            "is about one instance, and this removes the service: DELETE /api/v1/services/{id}/instances/{name}";
        return Err(deregister::bad_if_match(instead));
    }
    let id = deregister::writable(request)?;
    let (service, scope) = (ServiceRef::Id(id), RemovalScope::Service);
    let removal = Removal { service, scope, all, if_generation: None, why: None };
    deregister::remove(request, removal).await?;
    Ok(ok_message(deregister::MESSAGE))
}
