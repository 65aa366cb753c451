//! `DELETE /api/v1/services/deregister` by name, and `DELETE /api/v1/services/{id}/instances/{name}`.

use http::header::{HeaderMap, IF_MATCH};
use uuid::Uuid;

use super::Answer;
use super::request::RequestContext;
use crate::api::access::NamespaceFilter;
use crate::api::http::envelope::{ApiError, Code, Detail, ok_message};
use crate::api::http::query::bad_parameter;
use crate::api::http::write_error::refused;
use crate::api::openapi::schemas;
use crate::model::name::{InstanceName, ServiceKey, ServiceName};
use crate::model::ports::{Removal, RemovalScope, ServiceRef};
use crate::model::value_error::ValueError;

/// The legacy gateway's message.
pub(super) const MESSAGE: &str = "Service deregistered successfully";

/// Deregisters a service, or one instance of it, by name.
#[utoipa::path(
    delete,
    operation_id = "deregister_by_name",
    tag = "registration",
    path = "/api/v1/services/deregister",
    params(
        ("name" = String, Query, description = "The service's name"),
        ("namespace" = Option<String>, Query, description = "Its namespace; the default one when absent"),
        ("instance" = Option<String>, Query, description = "Only this instance"),
        ("external_id" = Option<String>, Query, description = "Only the instance with this external id; with `all`, also when it has several addresses"),
        ("all" = Option<bool>, Query, description = "Also when it has several instances"),
        ("If-Match" = Option<String>, Header, pattern = r#"^([0-9]{1,19}|"[0-9]{1,19}"|\*)$"#, description = "With `instance` or `external_id`: only this generation of it"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "Removed, durably", body = schemas::Done),
        (status = 400, description = "`name_required` or `invalid_parameter`", body = schemas::Refusal),
        (status = 403, description = "`not_owner` or `namespace_forbidden`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found` or `instance_not_found`", body = schemas::Refusal),
        (status = 409, description = "`has_instances` or `manifest_owned`, or `terminating` in a cluster", body = schemas::Refusal),
        (status = 412, description = "`stale_generation`: the instance has another generation than `If-Match` asks for; `error` names both", body = schemas::Refusal),
        (status = 503, description = "`busy`, `read_only`: the store's file cannot be written now, or `unavailable`: in a cluster the Kubernetes API does not answer; `Retry-After` says when to ask again", body = schemas::Refusal),
        (status = 507, description = "`disk_full`", body = schemas::Refusal),
    )
)]
pub(super) async fn by_name(request: &RequestContext<'_>) -> Answer {
    let mut query = request.query()?;
    let name = query.take("name").unwrap_or_default();
    let namespace = NamespaceFilter::take_one(&mut query, &request.state.settings.default_namespace)?;
    let instance = query.parse::<InstanceName>("instance")?;
    let external_id = query.take("external_id");
    let all = query.flag("all")?;
    query.end(&["name", "namespace", "instance", "external_id", "all"])?;
    if name.is_empty() {
        return Err(ApiError::name_required());
    }
    let scope = match (instance, external_id) {
        (Some(_), Some(_)) => return Err(bad_parameter("external_id", "is given beside instance; give one of them")),
        (Some(instance), None) => RemovalScope::Instance(instance),
        (None, Some(id)) => RemovalScope::ExternalId(id.into_owned()),
        (None, None) => RemovalScope::Service,
    };
    let whole = scope == RemovalScope::Service;
    let if_generation = if_match(&request.head.headers, !whole)?;
    let instance = if let RemovalScope::Instance(instance) = &scope { instance.as_str() } else { "" };
    let known = request.state.catalog.snapshot().find(namespace.as_str(), &name).cloned();
    match known {
        Some(entry) => request.audit.is(entry.service(), instance),
        None => request.audit.names(namespace.as_str(), &name, instance),
    }
    request.principal.require_write(namespace.as_str())?;
    let name: ServiceName = name.parse().map_err(|_| ApiError::service_not_found())?;
    let service = ServiceRef::Key(ServiceKey::new(&namespace, &name));
    remove(request, Removal { service, scope, all, if_generation, why: None }).await?;
    Ok(ok_message(if whole { MESSAGE } else { INSTANCE_MESSAGE }))
}

const INSTANCE_MESSAGE: &str = "Instance deregistered successfully";

/// Deregisters one instance, and the service with its last one.
#[utoipa::path(
    delete,
    operation_id = "deregister_instance",
    tag = "registration",
    path = "/api/v1/services/{id}/instances/{name}",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id"),
        ("name" = String, Path, description = "The instance's name"),
        ("If-Match" = Option<String>, Header, pattern = r#"^([0-9]{1,19}|"[0-9]{1,19}"|\*)$"#, description = "Only this generation, so that a late shutdown cannot remove a successor at another address or with another check. A registration that changes nothing only renews: a process restarted at the same address has its predecessor's generation"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "Removed, durably", body = schemas::Done),
        (status = 403, description = "`not_owner` or `namespace_forbidden`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found` or `instance_not_found`", body = schemas::Refusal),
        (status = 409, description = "`manifest_owned`, or `terminating` in a cluster", body = schemas::Refusal),
        (status = 412, description = "`stale_generation`: the instance has another generation than `If-Match` asks for; `error` names both", body = schemas::Refusal),
        (status = 503, description = "`busy`, `read_only`: the store's file cannot be written now, or `unavailable`: in a cluster the Kubernetes API does not answer; `Retry-After` says when to ask again", body = schemas::Refusal),
        (status = 507, description = "`disk_full`", body = schemas::Refusal),
    )
)]
pub(super) async fn instance(request: &RequestContext<'_>) -> Answer {
    request.query()?.end(&[])?;
    let if_generation = if_match(&request.head.headers, true)?;
    let id = writable(request)?;
    let name = request.params.name.parse::<InstanceName>();
    let name = name.map_err(|_| ApiError::new(Code::InstanceNotFound, "Instance not found"))?;
    let (service, scope) = (ServiceRef::Id(id), RemovalScope::Instance(name));
    let removal = Removal { service, scope, all: false, if_generation, why: None };
    remove(request, removal).await?;
    Ok(ok_message(INSTANCE_MESSAGE))
}

/// The id of the path, when the service exists and the caller may write in its namespace.
pub(super) fn writable(request: &RequestContext<'_>) -> Result<Uuid, ApiError> {
    let snapshot = request.state.catalog.snapshot();
    let entry = request.service(&snapshot)?;
    request.audit.is(entry.service(), request.params.name);
    request.principal.require_write(entry.service().key.namespace())?;
    Ok(entry.service().id)
}

/// Removes through the registrar.
pub(super) async fn remove(request: &RequestContext<'_>, removal: Removal) -> Result<(), ApiError> {
    request.state.registrar.deregister(removal, request.principal.caller()).await.map_err(|error| refused(&error))
}

/// The generation of `If-Match`, with or without quotes; `*` means any.
pub(super) fn if_match(headers: &HeaderMap, one_instance: bool) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    if !one_instance {
        return Err(bad_if_match("is about one instance, and the request names none: add instance=NAME"));
    }
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let digits = bare.bytes().all(|b| b.is_ascii_digit()) && headers.get_all(IF_MATCH).iter().count() == 1;
    let generation = digits.then(|| bare.parse().ok()).flatten();
    let expected = "the instance's generation, a whole number as register returned it";
    generation.map(Some).ok_or_else(|| bad_if_match(ValueError::is_not(expected)))
}

/// 400: `If-Match` cannot be applied.
pub(super) fn bad_if_match(wrong: impl Into<ValueError>) -> ApiError {
    ApiError::new(Code::InvalidParameter, "Invalid header").detail(Detail::new("If-Match", wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_read_strictly() {
        let read = |text: &str| if_match(&HeaderMap::from_iter([(IF_MATCH, text.parse().expect("a value"))]), true);
        assert_eq!(read("7"), Ok(Some(7)));
        assert_eq!(read("\"7\""), Ok(Some(7)));
        assert_eq!(read("*"), Ok(None));
        for wrong in ["", "-1", "+1", "W/\"7\"", "7, 8", "x", "99999999999999999999"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
