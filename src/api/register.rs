//! `POST /api/v1/services/register`.

use std::sync::Arc;

use http::Response;

use super::call::Call;
use super::conn::RequestBody;
use super::dispatch::NotCounted;
use super::envelope::ApiError;
use super::openapi::schemas;
use super::refusal::refused;
use super::registration::{self, Rules};
use super::{Body, json, reply};
use crate::catalog::{Entry, LastCheck};
use crate::model::name::InstanceName;
use crate::model::ports::{Registered, ReplacedUrl};

const MESSAGE: &str = "Service registered successfully";

/// Registers an instance, changes it, or renews it when nothing differs.
#[utoipa::path(
    post,
    operation_id = "register",
    tag = "registration",
    path = "/api/v1/services/register",
    request_body = schemas::Registration,
    security(("token" = [])),
    responses(
        (status = 200, description = "Registered, and durable", body = schemas::OneService),
        (status = 400, description = "`invalid_payload` or `address_denied`; `details` name each field", body = schemas::Refusal),
        (status = 403, description = "`not_owner`, `namespace_forbidden` or `cross_origin`", body = schemas::Refusal),
        (status = 404, description = "`namespace_not_found`, in a cluster", body = schemas::Refusal),
        (status = 409, description = "`manifest_owned`, or `terminating` in a cluster", body = schemas::Refusal),
        (status = 413, description = "Over 64 KiB", body = schemas::Refusal),
        (status = 415, description = "Not declared as JSON", body = schemas::Refusal),
        (status = 422, description = "`too_many_services`, `too_many_instances` or `service_full`", body = schemas::Refusal),
        (status = 503, description = "`busy`, `read_only`: the store's file cannot be written now, or `unavailable`: in a cluster the Kubernetes API does not answer; `Retry-After` says when to ask again", body = schemas::Refusal),
        (status = 507, description = "`disk_full`", body = schemas::Refusal),
    )
)]
pub(super) async fn register(call: &Call<'_>, body: RequestBody) -> Result<Response<Body>, ApiError> {
    call.query()?.end(&[])?;
    let bytes = json::read(&call.head.headers, body).await?;
    let settings = &call.api.settings;
    let rules = Rules {
        namespace: &settings.default_namespace,
        interval: settings.default_interval,
        addresses: &*call.api.addresses,
    };
    let registration = registration::read(&bytes, rules)?;
    call.who.require_write(registration.namespace.as_str())?;
    let instance = registration.instance.clone();
    let (registrar, caller) = (&call.api.registrar, call.who.caller());
    let done = if call.renewals_only {
        registrar.renewed(&registration, &caller).ok_or_else(ApiError::rate_limited)?
    } else {
        registrar.register(registration, caller).await.map_err(|error| refused(&error))?
    };
    let warnings = done.replaced.iter().map(|url| replaced(&instance, url)).collect();
    let mut response = answer(call, &done, warnings);
    if done.renewed {
        response.extensions_mut().insert(NotCounted);
    }
    Ok(response)
}

/// Two programs that register as the same instance take its place in turns, so whoever registers hears of each.
fn replaced(instance: &InstanceName, url: &ReplacedUrl) -> String {
    let ReplacedUrl { field, old, new, was_healthy } = url;
    let state = if *was_healthy { ", which was healthy" } else { "" };
    let new = new.as_ref().map_or_else(|| "none".to_owned(), |new| new.redacted().to_string());
    let both = if *field == "base_url" { "; give `instance` to keep both" } else { "" };
    format!("this replaced the {field} of instance {instance}{state}: {} is now {new}{both}", old.redacted())
}

/// The catalog's entry, which shows the newest probe; rendered here only if the service went away in between.
fn answer(call: &Call<'_>, done: &Registered, warnings: Vec<String>) -> Response<Body> {
    let extra = (!warnings.is_empty()).then_some(("warnings", warnings));
    let snapshot = call.api.catalog.read();
    let gone = || Arc::new(Entry::new((*done.service).clone(), LastCheck::default()));
    let entry = snapshot.by_id(&done.service.id).cloned().unwrap_or_else(gone);
    reply::entry_with(&call.api.catalog, MESSAGE, &entry, extra)
}
