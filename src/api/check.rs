//! `POST /api/v1/services/{id}/health-check`.

use http::Response;

use super::call::{Call, not_found};
use super::conn::RequestBody;
use super::envelope::{ApiError, Code};
use super::openapi::schemas;
use super::{Body, json, pass_on, reply};
use crate::model::ports::{OnDemandError, WriteError};
use crate::model::service::Service;
use crate::wire::Checked;

const MESSAGE: &str = "Health check completed";

/// Probes every instance of a service now. The outcome counts at once, whatever the thresholds; only a flap hold is kept.
#[utoipa::path(
    post,
    operation_id = "check",
    tag = "registration",
    path = "/api/v1/services/{id}/health-check",
    params(("id" = uuid::Uuid, Path, description = "The service's id")),
    security(("token" = [])),
    responses(
        (status = 200, description = "The service with its new health", body = schemas::OneService),
        (status = 400, description = "`invalid_payload`: the request takes no field", body = schemas::Refusal),
        (status = 403, description = "`not_owner` (each instance must be yours), `namespace_forbidden` or `cross_origin`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found`", body = schemas::Refusal),
        (status = 415, description = "A body that is not declared as JSON", body = schemas::Refusal),
        (status = 429, description = "`probe_budget`: the address is probed as often as it may be", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: the prober does not run, or in a cluster no replica leads; `busy`: too many wait for the leader", body = schemas::Refusal),
    )
)]
pub(super) async fn check(call: &Call<'_>, id: &str, body: RequestBody) -> Result<Response<Body>, ApiError> {
    call.query()?.end(&[])?;
    json::read_nothing(&call.head.headers, body).await?;
    let service = {
        let snapshot = call.api.catalog.snapshot();
        call.by_id(&snapshot, id)?.service().clone()
    };
    let namespace = service.key.namespace();
    call.who.require_write(namespace)?;
    require_owner(call, &service)?;
    let checked = match call.api.on_demand.check_now(service.id).await {
        Ok(checked) => checked,
        Err(error) => {
            let passed_on = if error == OnDemandError::Unavailable { pass_on::to_leader(call).await } else { None };
            return passed_on.unwrap_or_else(|| Err(refused(&error)));
        }
    };
    let evidence = call.who.sees_evidence(namespace);
    let checks: Vec<Checked> = checked.into_iter().map(|result| Checked::new(result, evidence)).collect();
    let snapshot = call.api.catalog.snapshot();
    let entry = call.by_id(&snapshot, id)?;
    Ok(reply::entry_with(&call.api.catalog, MESSAGE, &entry, Some(("checks", checks))))
}

/// A check may change the health of every instance, so each must be the caller's.
fn require_owner(call: &Call<'_>, service: &Service) -> Result<(), ApiError> {
    let caller = call.who.caller();
    if caller.admin || service.instances.iter().all(|i| i.owner == caller.owner) {
        return Ok(());
    }
    Err(super::refusal::refused(&WriteError::NotOwner))
}

pub(super) fn refused(error: &OnDemandError) -> ApiError {
    match error {
        OnDemandError::NotFound => not_found(),
        OnDemandError::OverBudget { retry_after_seconds } => {
            ApiError::new(Code::ProbeBudget, error.to_string()).retry_after(*retry_after_seconds)
        }
        OnDemandError::Unavailable => ApiError::new(Code::Unavailable, error.to_string()).retry_after(1),
    }
}
