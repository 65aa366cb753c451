//! `POST /api/v1/services/register`.

use std::sync::Arc;

use http::Response;

use super::registration::{self, Rules};
use super::request::RequestContext;
use super::{Answer, leader};
use crate::api::access::NotCounted;
use crate::api::conn::RequestBody;
use crate::api::http::body::Body;
use crate::api::http::envelope::{ApiError, Code};
use crate::api::http::write_error::refused;
use crate::api::openapi::schemas;
use crate::catalog::{Entry, LastCheck};
use crate::model::name::InstanceName;
use crate::model::ports::{AccessVerb, BeatError, Heard, PASSED_ON, Registered, Registration, ReplacedUrl, WriteError};
use crate::model::registration::renewal as as_shown;

const MESSAGE: &str = "Service registered successfully";

/// Registers an instance, changes it, or renews it when nothing differs. Each call also renews the lease of an instance with a heartbeat check.
#[utoipa::path(
    post,
    operation_id = "register",
    tag = "registration",
    path = "/api/v1/services/register",
    request_body = schemas::Registration,
    security(("token" = [])),
    responses(
        (status = 200, description = "Registered, and durable", body = schemas::OneService),
        (status = 400, description = "`invalid_payload` or `address_denied`; `details` name each field. In a cluster also for what a NamespacePolicy does not allow", body = schemas::Refusal),
        (status = 403, description = "`not_owner`, `namespace_forbidden` or `cross_origin`", body = schemas::Refusal),
        (status = 404, description = "`namespace_not_found`, in a cluster", body = schemas::Refusal),
        (status = 409, description = "`manifest_owned`, `external_id_taken`, or `terminating` in a cluster", body = schemas::Refusal),
        (status = 413, description = "Over 64 KiB", body = schemas::Refusal),
        (status = 415, description = "Not declared as JSON", body = schemas::Refusal),
        (status = 422, description = "`too_many_services`, `too_many_instances` or `service_full`", body = schemas::Refusal),
        (status = 503, description = "`busy`, `read_only`: the store's file cannot be written now, or `unavailable`: in a cluster the Kubernetes API does not answer, or no file descriptor is left to find out whether a URL leads to this server itself; `Retry-After` says when to ask again", body = schemas::Refusal),
        (status = 507, description = "`disk_full`", body = schemas::Refusal),
    )
)]
pub(super) async fn register(request: &RequestContext<'_>, body: RequestBody) -> Answer {
    request.query()?.end(&[])?;
    let bytes = request.json(body).await?;
    let settings = &request.state.settings;
    let rules = Rules { namespace: &settings.default_namespace, addresses: &*request.state.addresses };
    let registration = registration::read(&bytes, rules)?;
    let (namespace, service) = (registration.namespace.as_str(), registration.service.as_str());
    request.audit.names(namespace, service, registration.instance.as_str());
    let has_lease = registration.spec.heartbeat().is_some();
    let (done, heard) = match renewal(request, &registration).await? {
        Some(renewed) => renewed,
        None if request.head.headers.contains_key(&PASSED_ON) => return Err(no_renewal(request, &registration).await),
        None => write(request, registration).await?,
    };
    request.audit.is(&done.service, done.instance.as_str());
    if heard.is_err() && has_lease && done.renewed {
        leader::pass_renewal(request, done.service.id, done.instance.clone(), bytes)?;
    }
    let warnings = done.replaced.iter().map(|url| replaced(&done.instance, url)).collect();
    let mut response = answer(request, &done, warnings);
    if done.renewed {
        response.extensions_mut().insert(NotCounted);
    }
    Ok(response)
}

/// What was registered, and whether its lease was renewed here.
type Done = (Registered, Result<Heard, BeatError>);

/// Renews what is registered already. None if the call changes something, or if its instance is being removed: then it has to go through the
/// registrar's queue, behind the removal.
async fn renewal(request: &RequestContext<'_>, registration: &Registration) -> Result<Option<Done>, ApiError> {
    let renewed = request.state.registrar.renewed(registration, &request.principal.caller());
    let Some(done) = renewed else { return Ok(None) };
    authorize(request, registration, true).await?;
    let heard = request.state.heartbeats.registered(done.service.id, &done.instance);
    let is_gone = matches!(heard, Err(BeatError::NotFound | BeatError::Leaving));
    Ok((!is_gone).then_some((done, heard)))
}

/// The refusal of a call that another replica passed on, for what it repeats has gone or changed since its program made it: to write that again
/// would undo a later call.
async fn no_renewal(request: &RequestContext<'_>, registration: &Registration) -> ApiError {
    if let Err(error) = authorize(request, registration, true).await {
        return error;
    }
    if let Err(error) = request.require_complete() {
        return error;
    }
    let snapshot = request.state.catalog.read();
    let entry = snapshot.find(registration.namespace.as_str(), registration.service.as_str());
    let shown = entry.and_then(|entry| as_shown(entry.service(), registration, &request.principal.caller()));
    if shown.is_none() {
        return refused(&WriteError::InstanceNotFound);
    }
    let message = "another call about this service, or the removal of the instance, is on its way; try again";
    ApiError::new(Code::Busy, message).retry_after(1)
}

async fn write(request: &RequestContext<'_>, registration: Registration) -> Result<Done, ApiError> {
    authorize(request, &registration, false).await?;
    if request.renewals_only {
        return Err(ApiError::rate_limited());
    }
    let ruling = request.state.policies.of(registration.namespace.as_str());
    registration::accept_policy(&registration.spec, &ruling)?;
    let registered = request.state.registrar.register(registration, request.principal.caller()).await;
    let done = registered.map_err(|error| refused(&error))?;
    let heard = request.state.heartbeats.registered(done.service.id, &done.instance);
    match heard {
        // The removal was decided before this call, and may be queued behind it.
        Err(error @ BeatError::Leaving) => Err(ApiError::new(Code::Busy, error.to_string()).retry_after(1)),
        heard => Ok((done, heard)),
    }
}

/// Requires that the caller may register there.
async fn authorize(request: &RequestContext<'_>, registration: &Registration, renews: bool) -> Result<(), ApiError> {
    let Registration { namespace, service, .. } = registration;
    let exists = request.state.catalog.read().find(namespace.as_str(), service.as_str()).is_some();
    let verb = if exists { AccessVerb::Update } else { AccessVerb::Create };
    let access = &request.state.access;
    access.authorize_registration(request.head, request.principal, (namespace, verb), renews).await
}

/// Two programs that register as the same instance replace each other, so each of them gets a warning.
fn replaced(instance: &InstanceName, url: &ReplacedUrl) -> String {
    let ReplacedUrl { field, old, new, was_healthy } = url;
    let state = if *was_healthy { ", which was healthy" } else { "" };
    let new = new.as_ref().map_or_else(|| "none".to_owned(), |new| new.redacted().to_string());
    let both = if *field == "base_url" { "; to keep both, give each its own `instance`" } else { "" };
    format!("this replaced the {field} of instance {instance}{state}: {} is now {new}{both}", old.redacted())
}

/// The catalog's entry, which shows the newest probe; rendered here only if the service was removed meanwhile.
fn answer(request: &RequestContext<'_>, done: &Registered, warnings: Vec<String>) -> Response<Body> {
    let extra = (!warnings.is_empty()).then_some(("warnings", warnings));
    let snapshot = request.state.catalog.read();
    let removed = || Arc::new(Entry::new((*done.service).clone(), LastCheck::default()));
    let entry = snapshot.by_id(&done.service.id).cloned().unwrap_or_else(removed);
    request.shown(MESSAGE, &entry, extra)
}
