//! `PUT` and `DELETE /api/v1/services/{id}/instances/{name}/drain`: takes an instance out of selection, and back.

use super::note::{Note, Words};
use super::request::RequestContext;
use super::{Answer, deregister};
use crate::api::conn::RequestBody;
use crate::api::http::envelope::{ApiError, Code};
use crate::api::http::write_error::refused;
use crate::api::openapi::schemas;
use crate::model::name::InstanceName;
use crate::model::ports::{DrainChange, DrainOrder, InstanceRef, ServiceRef};
use crate::model::service::{MAX_DRAIN_REASON, Owner};
use crate::model::time::UnixMs;

const DRAINED: &str = "Instance drained";
const UNDRAINED: &str = "Drain ended";

/// Takes an instance out of selection on purpose: it is probed and shown, and `pick`, `healthy=true` and `base_url` leave it out. Its weight
/// stays, and registering it again does not end it. A repeat changes reason and end.
#[utoipa::path(
    put,
    operation_id = "drain",
    tag = "registration",
    path = "/api/v1/services/{id}/instances/{name}/drain",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id"),
        ("name" = String, Path, description = "The instance's name"),
    ),
    request_body = schemas::DrainRequest,
    security(("token" = [])),
    responses(
        (status = 200, description = "The service, with the instance drained, durably", body = schemas::OneService),
        (status = 400, description = "`invalid_payload`; `details` name each field", body = schemas::Refusal),
        (status = 403, description = "`not_owner`, `namespace_forbidden` or `cross_origin`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found` or `instance_not_found`", body = schemas::Refusal),
        (status = 409, description = "`manifest_owned`, or `terminating` in a cluster", body = schemas::Refusal),
        (status = 413, description = "Over 8 KiB", body = schemas::Refusal),
        (status = 415, description = "Not declared as JSON", body = schemas::Refusal),
        (status = 503, description = "`busy`, `read_only`: the store's file cannot be written now, or `unavailable`: in a cluster the Kubernetes API does not answer; `Retry-After` says when to ask again", body = schemas::Refusal),
        (status = 507, description = "`disk_full`", body = schemas::Refusal),
    )
)]
pub(super) async fn drain(request: &RequestContext<'_>, body: RequestBody) -> Answer {
    request.query()?.end(&[])?;
    let bytes = request.json(body).await?;
    let order = read(&bytes, &request.principal.owner, UnixMs::wall())?;
    request.audit.note(&order.reason);
    change(request, DrainChange::Start(order), DRAINED).await
}

/// Ends the drain of an instance; one that is not drained stays as it is.
#[utoipa::path(
    delete,
    operation_id = "undrain",
    tag = "registration",
    path = "/api/v1/services/{id}/instances/{name}/drain",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id"),
        ("name" = String, Path, description = "The instance's name"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "The service, with the drain ended, durably", body = schemas::OneService),
        (status = 403, description = "`not_owner`, `namespace_forbidden` or `cross_origin`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found` or `instance_not_found`", body = schemas::Refusal),
        (status = 409, description = "`manifest_owned`, or `terminating` in a cluster", body = schemas::Refusal),
        (status = 503, description = "`busy`, `read_only`: the store's file cannot be written now, or `unavailable`: in a cluster the Kubernetes API does not answer; `Retry-After` says when to ask again", body = schemas::Refusal),
        (status = 507, description = "`disk_full`", body = schemas::Refusal),
    )
)]
pub(super) async fn undrain(request: &RequestContext<'_>) -> Answer {
    request.query()?.end(&[])?;
    change(request, DrainChange::End, UNDRAINED).await
}

async fn change(request: &RequestContext<'_>, change: DrainChange, message: &'static str) -> Answer {
    let service = ServiceRef::Id(deregister::writable(request)?);
    let name = request.params.name.parse::<InstanceName>();
    let instance = name.map_err(|_| ApiError::new(Code::InstanceNotFound, "Instance not found"))?;
    let (registrar, caller) = (&request.state.registrar, request.principal.caller());
    let done = registrar.drain(InstanceRef { service, instance }, change, caller).await;
    done.map_err(|error| refused(&error))?;
    let entry = request.service(&request.state.catalog.read())?;
    Ok(request.shown(message, &entry, None::<(_, ())>))
}

/// Reads the body of a drain call that comes at `now`.
fn read(bytes: &[u8], owner: &Owner, now: UnixMs) -> Result<DrainOrder, ApiError> {
    const REASON: Words = Words { field: "reason", missing: "say why it is drained", most: MAX_DRAIN_REASON };
    let Note { words: reason, by, until } = Note::read(bytes, &REASON, owner, now)?;
    Ok(DrainOrder { reason, by, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_says_why_and_how_long() {
        let read = |json: &str| read(json.as_bytes(), &Owner::Anonymous, UnixMs(1000));
        let order = |until| DrainOrder { reason: "kernel".to_owned(), by: "anonymous".to_owned(), until };
        assert_eq!(read(r#"{"reason":"kernel"}"#), Ok(order(None)));
        assert_eq!(read(r#"{"reason":"kernel","for_seconds":3e1}"#), Ok(order(Some(UnixMs(31_000)))));
        for (wrong, problem) in [
            ("{}", "reason: is missing"),
            (r#"{"reason":" "}"#, "reason: is missing"),
            (r#"{"reason":7}"#, "reason: is the number 7, not a string"),
            (r#"{"reason":"a\u001b"}"#, "reason: "),
            (r#"{"reason":"a","for_seconds":0}"#, "for_seconds: is 0, not a whole number from 1 to 2592000"),
            (r#"{"reason":"a","for_seconds":2592001}"#, "for_seconds: is 2592001"),
            (r#"{"reason":"a","for":"30m"}"#, "for: unknown; expected one of reason, for_seconds"),
        ] {
            let error = read(wrong).expect_err(wrong);
            let found: Vec<_> = error.details().iter().map(ToString::to_string).collect();
            assert!(found.len() == 1 && found[0].starts_with(problem), "{found:?}");
        }
    }
}
