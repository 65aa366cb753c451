//! `GET /api/v1/services/discover`: where a service is, of all its instances or of those that were asked for.

use std::sync::Arc;

use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue};

use super::Body;
use super::call::{Call, not_found};
use super::envelope::{ApiError, Code};
use super::openapi::{params, schemas};
use super::query::bad_parameter;
use super::scope::{Reach, other_places};
use super::{etag, reply, select};
use crate::catalog::{Entry, Snapshot, render};
use crate::model::name::Namespace;
use crate::model::outcome::Health;
use crate::model::selection::{Selection, pick_weighted};
use crate::model::service::{Instance, front_of};
use crate::model::value_error::ValueError;

const FOUND: &str = "Service found";

struct Wanted {
    name: String,
    namespace: Namespace,
    selection: Selection,
    healthy: bool,
    pick: bool,
}

/// Finds a service by name. With a selection it shows only the instances that match.
#[utoipa::path(
    get,
    operation_id = "discover",
    tag = "discovery",
    path = "/api/v1/services/discover",
    security((), ("token" = [])),
    params(
        ("name" = String, Query, description = "The service's name"),
        ("namespace" = Option<String>, Query, description = "Its namespace; the default one when absent"),
        params::Selection,
        ("healthy" = Option<bool>, Query, description = "Only healthy instances that are not drained; 503 when there is none"),
        ("pick" = inline(Option<params::Pick>), Query, description = "`weighted`: the answer holds one healthy instance, drawn by weight; `picked` names it"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of an earlier answer"),
    ),
    responses(
        (status = 200, description = "The service", body = schemas::OneService, headers(("ETag", description = "Moves with every change of the service; not sent with `pick`"))),
        (status = 304, description = "Nothing changed"),
        (status = 400, description = "`name_required` or `invalid_parameter`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found`; `hint` may say where else it is", body = schemas::Refusal),
        (status = 503, description = "`no_healthy_instance`, or `unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) fn discover(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let wanted = read(call)?;
    let snapshot = call.api.catalog.snapshot();
    let entry = find(call, &snapshot, &wanted)?;
    if wanted.selection.is_empty() && !wanted.healthy && !wanted.pick {
        return Ok(reply::found(&call.api.catalog, &snapshot, entry, &call.head.headers));
    }
    if wanted.pick { picked(entry, &wanted) } else { selected(call, &snapshot, entry, &wanted) }
}

fn read(call: &Call<'_>) -> Result<Wanted, ApiError> {
    let mut query = call.query()?;
    let name = query.take("name").unwrap_or_default().into_owned();
    let namespace = Reach::take_one(&mut query, &call.api.settings.default_namespace)?;
    let selection = select::take(&mut query)?;
    let healthy = query.flag("healthy")?;
    let pick = match query.take("pick").as_deref() {
        None => false,
        Some("weighted") => true,
        Some(_) => return Err(bad_parameter("pick", ValueError::is_not("weighted"))),
    };
    let [status, version, zone, meta] = select::PARAMETERS;
    query.end(&["name", "namespace", status, version, zone, meta, "healthy", "pick"])?;
    if name.is_empty() {
        return Err(ApiError::new(Code::NameRequired, "Service name is required"));
    }
    Ok(Wanted { name, namespace, selection, healthy, pick })
}

fn find<'a>(call: &Call<'_>, snapshot: &'a Snapshot, wanted: &Wanted) -> Result<&'a Arc<Entry>, ApiError> {
    let namespace = wanted.namespace.as_str();
    let entry = snapshot.find(namespace, &wanted.name).filter(|_| call.who.may_read(namespace));
    entry.ok_or_else(|| match other_places(snapshot, call.who, namespace, &wanted.name) {
        Some(hint) => not_found().hint(hint),
        None => not_found(),
    })
}

/// The service as if it had only the instances that were asked for. Whatever moves these moves the service's tag too.
fn selected(call: &Call<'_>, snapshot: &Snapshot, entry: &Entry, wanted: &Wanted) -> Result<Response<Body>, ApiError> {
    let shown = matching(entry, wanted)?;
    let Some(front) = front_of(shown.iter().copied()) else { return Err(none_healthy(&wanted.name)) };
    let tag = entry.tag(snapshot.epoch());
    if let Some(unchanged) = etag::not_modified(&tag, &call.head.headers) {
        return Ok(unchanged);
    }
    let mut response = reply::rendered(FOUND, &render::view(entry.service(), &shown, Some(front)), entry);
    etag::put(&tag, &mut response);
    Ok(response)
}

/// The service as if it had only the instance that is drawn now. Each answer may name another, so none is kept.
fn picked(entry: &Entry, wanted: &Wanted) -> Result<Response<Body>, ApiError> {
    let candidates = matching(entry, wanted)?;
    let drawn = pick_weighted(&candidates, rand::random()).ok_or_else(|| none_healthy(&wanted.name))?;
    let mut response = reply::rendered(FOUND, &render::picked(entry.service(), drawn), entry);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The instances that were asked for; with `healthy=true` possibly none.
fn matching<'a>(entry: &'a Entry, wanted: &Wanted) -> Result<Vec<&'a Instance>, ApiError> {
    let instances = entry.service().instances.iter();
    let mut matching: Vec<&Instance> = instances.filter(|i| wanted.selection.matches_instance(i)).collect();
    if matching.is_empty() {
        let hint = format!("{} is there, but this selects none of its instances", wanted.name);
        return Err(not_found().hint(hint));
    }
    if wanted.healthy {
        matching.retain(|instance| usable(instance));
    }
    Ok(matching)
}

/// Healthy, and not drained.
fn usable(instance: &Instance) -> bool {
    instance.health == Health::Healthy && instance.spec.weight > 0
}

fn none_healthy(name: &str) -> ApiError {
    let message = format!("no selected instance of {name} is healthy; ask again, or without healthy=true and pick");
    ApiError::new(Code::NoHealthyInstance, message)
}
