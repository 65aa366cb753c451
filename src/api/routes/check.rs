//! `POST /api/v1/services/{id}/health-check`.

use super::request::RequestContext;
use super::{Answer, leader};
use crate::api::access::Access;
use crate::api::conn::RequestBody;
use crate::api::http::envelope::ApiError;
use crate::api::http::write_error::refused;
use crate::api::openapi::schemas;
use crate::model::name::InstanceName;
use crate::model::ports::WriteError;
use crate::model::service::{Instance, Source};
use crate::wire::Checked;

const MESSAGE: &str = "Health check completed";

/// Probes every instance of a service now, or one. The outcomes count at once, whatever the thresholds; only a hold for flapping remains.
/// With `observe` they are only shown, and change nothing.
#[utoipa::path(
    post,
    operation_id = "check",
    tag = "registration",
    path = "/api/v1/services/{id}/health-check",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id"),
        ("observe" = Option<bool>, Query, description = "Only show the outcomes: no health follows from them, so the instances need not be yours"),
        ("instance" = Option<String>, Query, description = "Only this instance"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "The service with its new health", body = schemas::OneService),
        (status = 400, description = "`invalid_payload`: the request takes no field; `invalid_parameter`", body = schemas::Refusal),
        (status = 403, description = "`not_owner` (each instance that is probed must be yours), `insufficient_scope` (with `observe`, where reads need a token: the scope `read`, or an instance of yours), `namespace_forbidden` or `cross_origin`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found` or `instance_not_found`", body = schemas::Refusal),
        (status = 413, description = "Over 8 KiB", body = schemas::Refusal),
        (status = 415, description = "A body that is not declared as JSON", body = schemas::Refusal),
        (status = 429, description = "`probe_budget`: the address's probe budget is spent", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: the prober does not run, or in a cluster no replica leads; `busy`: too many wait for the leader", body = schemas::Refusal),
    )
)]
pub(super) async fn check(request: &RequestContext<'_>, body: RequestBody) -> Answer {
    let mut query = request.query()?;
    let observe = query.flag("observe")?;
    let wanted = query.parse::<InstanceName>("instance")?;
    query.end(&["observe", "instance"])?;
    request.no_fields(body).await?;
    let service = {
        let snapshot = request.state.catalog.snapshot();
        request.service(&snapshot)?.service().clone()
    };
    request.audit.is(&service, wanted.as_ref().map_or("", InstanceName::as_str));
    if observe {
        request.audit.action("observe");
    }
    let namespace = service.key.namespace();
    request.principal.require_write(namespace)?;
    if observe && !request.may_see(&service) {
        return Err(Access::only_own());
    }
    let is_wanted = |instance: &&Instance| wanted.as_ref().is_none_or(|wanted| *wanted == instance.name);
    let instances: Vec<&Instance> = service.instances.iter().filter(is_wanted).collect();
    if instances.is_empty() {
        return Err(refused(&WriteError::InstanceNotFound));
    }
    let probed = if observe {
        request.state.on_demand.observe_now(service.id, wanted)
    } else {
        require_owner(request, service.source, &instances)?;
        request.state.on_demand.check_now(service.id, wanted)
    };
    let checked = match probed.await {
        Ok(checked) => checked,
        Err(error) => return leader::forward_or_refuse(request, &error).await,
    };
    let evidence = request.principal.sees_evidence(namespace);
    let checks: Vec<Checked> = checked.into_iter().map(|result| Checked::new(result, evidence)).collect();
    let snapshot = request.state.catalog.snapshot();
    let entry = request.service(&snapshot)?;
    Ok(request.shown(MESSAGE, &entry, Some(("checks", checks))))
}

/// A check may change the health of each instance that it probes, so the caller must own each.
fn require_owner(request: &RequestContext<'_>, source: Source, instances: &[&Instance]) -> Result<(), ApiError> {
    let caller = request.principal.caller();
    if caller.admin || instances.iter().all(|i| i.owner == caller.owner) {
        return Ok(());
    }
    let refused = refused(&WriteError::NotOwner);
    Err(match source {
        Source::Manifest => refused
            .hint("a service from a manifest has no owner, so only a token with the admin scope may have it checked"),
        Source::Rest => refused,
    })
}
