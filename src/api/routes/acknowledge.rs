//! `PUT` and `DELETE /api/v1/services/{id}/acknowledgement`: a note that a failure is known.

use bytes::Bytes;

use super::note::{Note, Words};
use super::request::RequestContext;
use super::{Answer, deregister, leader};
use crate::api::conn::RequestBody;
use crate::api::http::envelope::{ApiError, ok_message};
use crate::api::http::write_error::refused;
use crate::api::openapi::schemas;
use crate::model::acknowledgement::MAX_ACKNOWLEDGEMENT_NOTE;
use crate::model::name::InstanceName;
use crate::model::ports::{AcknowledgementChange, AcknowledgementOrder, ClusterError, ServiceRef, WriteError};
use crate::model::service::Owner;
use crate::model::time::UnixMs;

const ACKNOWLEDGED: &str = "Failure acknowledged";
const WITHDRAWN: &str = "Acknowledgement withdrawn";

/// Acknowledges what fails or warns now: of each instance of the service, or of one. It changes nothing but what is shown, and ends with the
/// failure, after `for_seconds`, or once withdrawn. One given for the service also ends with any new failure. A repeat replaces
/// it.
#[utoipa::path(
    put,
    operation_id = "acknowledge",
    tag = "registration",
    path = "/api/v1/services/{id}/acknowledgement",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id"),
        ("instance" = Option<String>, Query, description = "Only this instance"),
    ),
    request_body = schemas::AcknowledgementRequest,
    security(("token" = [])),
    responses(
        (status = 200, description = "The service, with what fails acknowledged, durably", body = schemas::AcknowledgedService),
        (status = 400, description = "`invalid_payload`; `details` name each field; `invalid_parameter`", body = schemas::Refusal),
        (status = 403, description = "`namespace_forbidden` or `cross_origin`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found` or `instance_not_found`", body = schemas::Refusal),
        (status = 409, description = "`nothing_to_acknowledge`: nothing fails; in a cluster also `other_install`: another install of Portolan writes the service's status", body = schemas::Refusal),
        (status = 413, description = "Over 8 KiB", body = schemas::Refusal),
        (status = 415, description = "Not declared as JSON", body = schemas::Refusal),
        (status = 503, description = "`busy`, or `read_only`: the store's file cannot be written now; in a cluster `unavailable`: no replica leads, or the Kubernetes API does not answer; `Retry-After` says when to ask again", body = schemas::Refusal),
        (status = 507, description = "`disk_full`", body = schemas::Refusal),
    )
)]
pub(super) async fn acknowledge(request: &RequestContext<'_>, body: RequestBody) -> Answer {
    let instance = instance(request)?;
    let bytes = request.json(body).await?;
    let order = read(&bytes, &request.principal.owner, UnixMs::wall())?;
    request.audit.note(&order.note);
    change(request, bytes, instance, AcknowledgementChange::Start(order), ACKNOWLEDGED).await
}

/// Withdraws the acknowledgements of a service, or of one instance; without one, nothing changes.
#[utoipa::path(
    delete,
    operation_id = "unacknowledge",
    tag = "registration",
    path = "/api/v1/services/{id}/acknowledgement",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id"),
        ("instance" = Option<String>, Query, description = "Only this instance"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "The service, without acknowledgement, durably", body = schemas::AcknowledgedService),
        (status = 400, description = "`invalid_parameter`", body = schemas::Refusal),
        (status = 403, description = "`namespace_forbidden` or `cross_origin`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found` or `instance_not_found`", body = schemas::Refusal),
        (status = 409, description = "In a cluster `other_install`: another install of Portolan writes the service's status", body = schemas::Refusal),
        (status = 503, description = "`busy`, or `read_only`: the store's file cannot be written now; in a cluster `unavailable`: no replica leads, or the Kubernetes API does not answer; `Retry-After` says when to ask again", body = schemas::Refusal),
        (status = 507, description = "`disk_full`", body = schemas::Refusal),
    )
)]
pub(super) async fn withdraw(request: &RequestContext<'_>) -> Answer {
    let instance = instance(request)?;
    change(request, Bytes::new(), instance, AcknowledgementChange::End, WITHDRAWN).await
}

fn instance(request: &RequestContext<'_>) -> Result<Option<InstanceName>, ApiError> {
    let mut query = request.query()?;
    let instance = query.parse::<InstanceName>("instance")?;
    query.end(&["instance"])?;
    Ok(instance)
}

async fn change(
    request: &RequestContext<'_>,
    body: Bytes,
    instance: Option<InstanceName>,
    change: AcknowledgementChange,
    message: &'static str,
) -> Answer {
    let service = ServiceRef::Id(deregister::writable(request)?);
    if let Some(instance) = &instance {
        request.audit.instance(instance.as_str());
    }
    let (registrar, caller) = (&request.state.registrar, request.principal.caller());
    match registrar.acknowledge(service, instance.clone(), change, caller).await {
        Ok(_) => {
            let entry = request.service(&request.state.catalog.read())?;
            if request.may_see(entry.service()) {
                Ok(request.shown(message, &entry, None::<(_, ())>))
            } else {
                Ok(ok_message(message))
            }
        }
        Err(WriteError::Cluster(ClusterError::NotLeading)) => leader::forward(request, body).await,
        Err(error) => Err(refused(&error)),
    }
}

/// Reads the body of a call that comes at `now`.
fn read(bytes: &[u8], owner: &Owner, now: UnixMs) -> Result<AcknowledgementOrder, ApiError> {
    const NOTE: Words = Words {
        field: "note",
        missing: "say what is known, for those who see the failure",
        most: MAX_ACKNOWLEDGEMENT_NOTE,
    };
    let Note { words: note, by, until } = Note::read(bytes, &NOTE, owner, now)?;
    Ok(AcknowledgementOrder { note, by, until })
}
