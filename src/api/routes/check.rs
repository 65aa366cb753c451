//! `POST /api/v1/services/{id}/health-check`.

use serde::Serialize;

use super::request::RequestContext;
use super::{Answer, leader};
use crate::api::conn::RequestBody;
use crate::api::http::envelope::ApiError;
use crate::api::http::reply;
use crate::api::http::write_error::refused;
use crate::api::openapi::schemas;
use crate::model::name::InstanceName;
use crate::model::outcome::{Outcome, Reason, Verdict};
use crate::model::ports::{OnDemandResult, WriteError};
use crate::model::service::Service;
use crate::model::time::UnixMs;

const MESSAGE: &str = "Health check completed";

/// The result of one instance's check.
#[derive(Debug, Serialize)]
struct CheckJson {
    instance: InstanceName,
    outcome: Option<OutcomeJson>,
    held: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum OutcomeJson {
    Full(Outcome),
    /// For a caller who may not see addresses and timings.
    Bare {
        verdict: Verdict,
        reason: Reason,
        at: UnixMs,
    },
}

/// Probes every instance of a service now. The outcomes count at once, whatever the thresholds; only a flap hold stays.
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
        (status = 429, description = "`probe_budget`: the address's probe budget is spent", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: the prober does not run, or in a cluster no replica leads; `busy`: too many wait for the leader", body = schemas::Refusal),
    )
)]
pub(super) async fn check(request: &RequestContext<'_>, body: RequestBody) -> Answer {
    request.query()?.end(&[])?;
    request.no_fields(body).await?;
    let service = {
        let snapshot = request.state.catalog.snapshot();
        request.service(&snapshot)?.service().clone()
    };
    let namespace = service.key.namespace();
    request.principal.require_write(namespace)?;
    require_owner(request, &service)?;
    let checked = match request.state.on_demand.check_now(service.id).await {
        Ok(checked) => checked,
        Err(error) => return leader::forward_or_refuse(request, &error).await,
    };
    let evidence = request.principal.sees_evidence(namespace);
    let checks: Vec<CheckJson> = checked.into_iter().map(|one| shown(one, evidence)).collect();
    let snapshot = request.state.catalog.snapshot();
    let entry = request.service(&snapshot)?;
    Ok(reply::entry_with(&request.state.catalog, MESSAGE, &entry, Some(("checks", checks))))
}

/// A check may change the health of every instance, so the caller must own each.
fn require_owner(request: &RequestContext<'_>, service: &Service) -> Result<(), ApiError> {
    let caller = request.principal.caller();
    if caller.admin || service.instances.iter().all(|i| i.owner == caller.owner) {
        return Ok(());
    }
    Err(refused(&WriteError::NotOwner))
}

fn shown(checked: OnDemandResult, evidence: bool) -> CheckJson {
    let outcome = checked.outcome.map(|outcome| {
        if evidence {
            OutcomeJson::Full(outcome)
        } else {
            OutcomeJson::Bare { verdict: outcome.verdict, reason: outcome.reason, at: outcome.at }
        }
    });
    CheckJson { instance: checked.instance, outcome, held: checked.held }
}
