//! `GET /api/v1/services/discover`: finds a service, with all its instances or those that the query selects.

use std::future;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderValue};

use super::request::RequestContext;
use super::{Answer, hints};
use crate::api::access::NamespaceFilter;
use crate::api::http::envelope::{ApiError, Code};
use crate::api::http::query::bad_parameter;
use crate::api::http::{etag, reply, selection};
use crate::api::openapi::{params, schemas};
use crate::api::watch::{AnswerCursor, CursorOf, LongPoll};
use crate::catalog::{Batch, Entry, Snapshot, render};
use crate::model::name::{Namespace, ServiceKey};
use crate::model::outcome::Health;
use crate::model::ports::EmptyServices;
use crate::model::selection::{Selection, pick_weighted};
use crate::model::service::{Instance, front_of};
use crate::model::text::escape;
use crate::model::value_error::ValueError;
use crate::wire;

const FOUND: &str = "Service found";

struct DiscoverQuery {
    name: String,
    namespace: Namespace,
    selection: Selection,
    healthy: bool,
    pick: bool,
    poll: Option<LongPoll>,
}

/// Finds a service by name. With a selection it shows only the instances that match. With `wait`, the answer waits until it differs from the one
/// that `cursor` identifies: until another instance is shown, or one of them differently. A refusal, such as 404, waits alike.
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
        ("wait" = Option<String>, Query, description = "How long to wait for a change at most, such as `30s`; `5m` at most. Without `cursor` the answer comes at once"),
        ("cursor" = Option<String>, Query, pattern = "^[0-9a-f]{16}$", description = "With `wait`: `Portolan-Cursor` of the answer that you have"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of an earlier answer"),
    ),
    responses(
        (status = 200, description = "The service", body = schemas::OneService, headers(("ETag", description = "Changes whenever the service changes; not sent with `pick`"), ("Portolan-Cursor", description = "With `wait`: identifies what the answer says"))),
        (status = 304, description = "Nothing changed"),
        (status = 400, description = "`name_required` or `invalid_parameter`", body = schemas::Refusal),
        (status = 401, description = "With `wait`: `token_expired` or `token_invalid`, which it became meanwhile", body = schemas::Refusal),
        (status = 404, description = "`service_not_found`; `hint` may say where else it is", body = schemas::Refusal),
        (status = 429, description = "With `wait`: `too_many_watches`: the server or this client waits with as many requests as it may; `rate_limited`", body = schemas::Refusal),
        (status = 503, description = "`no_healthy_instance`, also while a service in a cluster adopts endpoints and there are none; or `unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn discover(request: &RequestContext<'_>) -> Answer {
    let query = read(request)?;
    let Some(poll) = query.poll else { return answer(request, &request.state.catalog.snapshot(), &query) };
    let concerns = |batch: &Batch| {
        let is_it = |key: &ServiceKey| key.name() == query.name && key.namespace() == query.namespace.as_str();
        batch.upserts.iter().any(|entry| is_it(&entry.service().key)) || batch.removed.iter().any(|(key, _)| is_it(key))
    };
    let news = || match empty_services(request, &query) {
        Some((services, key)) => services.reason_changed(&key),
        None => Box::pin(future::pending()),
    };
    request.wait(poll, |snapshot| cursor(request, snapshot, &query), concerns, news).await?;
    let snapshot = request.state.catalog.snapshot();
    let cursor = cursor(request, &snapshot, &query);
    let mut answer = answer(request, &snapshot, &query);
    match &mut answer {
        Ok(answer) => cursor.put(answer.headers_mut()),
        Err(refusal) => cursor.put(refusal.headers_mut()),
    }
    answer
}

fn answer(request: &RequestContext<'_>, snapshot: &Snapshot, query: &DiscoverQuery) -> Answer {
    let entry = find(request, snapshot, query)?;
    if query.shows_all() {
        let owners = query.shows_owners(request);
        return Ok(reply::found(&request.state.catalog, snapshot, entry, owners, &request.head.headers));
    }
    if query.pick { picked(request, entry, query) } else { selected(request, snapshot, entry, query) }
}

/// Identifies the answer that a snapshot gives: which service it is, and what it shows of the instances. A refusal is identified by its code
/// and its message; its hint is about other services.
fn cursor(request: &RequestContext<'_>, snapshot: &Snapshot, query: &DiscoverQuery) -> AnswerCursor {
    let mut cursor = CursorOf::default();
    let found = find(request, snapshot, query).and_then(|entry| Ok((entry, shown(entry, query)?)));
    let (entry, shown) = match found {
        Ok(found) => found,
        Err(refusal) => {
            cursor.bytes(refusal.code.as_str().as_bytes());
            cursor.bytes(refusal.message.as_bytes());
            return cursor.finish();
        }
    };
    cursor.bytes(entry.service().id.as_bytes());
    for instance in shown {
        let mut shown = wire::Instance::from(instance);
        shown.owner = shown.owner.filter(|_| query.shows_owners(request));
        cursor.json(&shown);
    }
    cursor.finish()
}

impl DiscoverQuery {
    fn shows_owners(&self, request: &RequestContext<'_>) -> bool {
        request.principal.sees_owners(self.namespace.as_str())
    }

    fn shows_all(&self) -> bool {
        self.selection.is_empty() && !self.healthy && !self.pick
    }
}

fn read(request: &RequestContext<'_>) -> Result<DiscoverQuery, ApiError> {
    let mut query = request.query_repeating(selection::TAG)?;
    let name = query.take("name").unwrap_or_default().into_owned();
    let namespace = NamespaceFilter::take_one(&mut query, &request.state.settings.default_namespace)?;
    let selection = selection::take(&mut query)?;
    let healthy = query.flag("healthy")?;
    let pick = match query.take("pick").as_deref() {
        None => false,
        Some("weighted") => true,
        Some(other) => {
            let wrong = format!("is \"{}\"; the only value is weighted", escape(other, 100));
            return Err(bad_parameter("pick", ValueError::new(wrong).expecting("weighted")));
        }
    };
    let poll = LongPoll::take(&mut query)?;
    if query.take("cursor").is_some() {
        return Err(bad_parameter("cursor", "is for a request that waits: add wait, such as wait=30s"));
    }
    let [status, version, zone, meta, tag, warning] = selection::PARAMETERS;
    query.end(&[
        "name",
        "namespace",
        status,
        version,
        zone,
        meta,
        tag,
        warning,
        "healthy",
        "pick",
        "wait",
        "cursor",
    ])?;
    if poll.is_some() && pick {
        return Err(bad_parameter(
            "pick",
            "each draw is another answer, so there is no change to wait for; leave out wait",
        ));
    }
    if name.is_empty() {
        return Err(ApiError::name_required());
    }
    Ok(DiscoverQuery { name, namespace, selection, healthy, pick, poll })
}

fn find<'a>(
    request: &RequestContext<'_>,
    snapshot: &'a Snapshot,
    query: &DiscoverQuery,
) -> Result<&'a Arc<Entry>, ApiError> {
    let namespace = query.namespace.as_str();
    let entry = snapshot.find(namespace, &query.name).filter(|_| request.principal.may_read(namespace));
    entry.ok_or_else(|| not_found(request, snapshot, query))
}

/// The answer for a service that is not in the catalog: it may exist without an instance. A client should then ask again, and not conclude
/// that nobody registered it.
fn not_found(request: &RequestContext<'_>, snapshot: &Snapshot, query: &DiscoverQuery) -> ApiError {
    let namespace = query.namespace.as_str();
    if let Some(why) = empty_services(request, query).and_then(|(services, key)| services.why_empty(&key)) {
        let message = format!("{namespace}/{} has no instance now: {why}", query.name);
        return ApiError::new(Code::NoHealthyInstance, message);
    }
    match hints::other_namespaces(snapshot, request.principal, namespace, &query.name) {
        Some(hint) => ApiError::service_not_found().hint(hint),
        None => ApiError::service_not_found(),
    }
}

/// Who knows whether the service exists without an instance, if the caller may learn that.
fn empty_services<'a>(
    request: &RequestContext<'a>,
    query: &DiscoverQuery,
) -> Option<(&'a dyn EmptyServices, ServiceKey)> {
    let services = request.state.empty_services.as_deref()?;
    let key = ServiceKey::new(&query.namespace, &query.name.parse().ok()?);
    request.principal.may_read(query.namespace.as_str()).then_some((services, key))
}

/// The service as if it had only the selected instances. Every change of these changes the service's tag too.
fn selected(request: &RequestContext<'_>, snapshot: &Snapshot, entry: &Entry, query: &DiscoverQuery) -> Answer {
    let shown = matching(entry, query)?;
    let Some(front) = front_of(shown.iter().copied()) else { return Err(none_usable(entry, query)) };
    let owners = query.shows_owners(request);
    let tag = entry.tag(snapshot.epoch(), owners);
    if let Some(unchanged) = etag::not_modified(&tag, &request.head.headers) {
        return Ok(unchanged);
    }
    let mut response = reply::rendered(FOUND, &render::view(entry.service(), &shown, Some(front)), entry, owners);
    etag::put(&tag, &mut response);
    Ok(response)
}

/// The service as if it had only the instance that is drawn now. Each answer may name another, so none may be cached.
fn picked(request: &RequestContext<'_>, entry: &Entry, query: &DiscoverQuery) -> Answer {
    let candidates = matching(entry, query)?;
    let drawn = pick_weighted(&candidates, rand::random()).ok_or_else(|| none_usable(entry, query))?;
    let shown = render::picked(entry.service(), drawn);
    let mut response = reply::rendered(FOUND, &shown, entry, query.shows_owners(request));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The instances that the answer shows.
fn shown<'a>(entry: &'a Entry, query: &DiscoverQuery) -> Result<Vec<&'a Instance>, ApiError> {
    if query.shows_all() { Ok(entry.service().instances.iter().collect()) } else { matching(entry, query) }
}

/// The selected instances; with `healthy=true` possibly none.
fn matching<'a>(entry: &'a Entry, query: &DiscoverQuery) -> Result<Vec<&'a Instance>, ApiError> {
    let instances = entry.service().instances.iter();
    let mut matching: Vec<&Instance> = instances.filter(|i| query.selection.matches_instance(i)).collect();
    if matching.is_empty() {
        let hint = format!("{} exists, but this selects none of its instances", query.name);
        return Err(ApiError::service_not_found().hint(hint));
    }
    if query.healthy {
        matching.retain(|instance| usable(instance));
    }
    Ok(matching)
}

/// Healthy, and not drained.
fn usable(instance: &Instance) -> bool {
    instance.health == Health::Healthy && !instance.is_drained()
}

fn none_usable(entry: &Entry, query: &DiscoverQuery) -> ApiError {
    let mut healthy = entry.service().instances.iter().filter(|i| query.selection.matches_instance(i));
    let drained = healthy.any(|instance| instance.health == Health::Healthy && instance.is_drained());
    let state = if drained { "healthy and not drained" } else { "healthy" };
    let name = &query.name;
    let message = format!("no selected instance of {name} is {state}; retry, or ask without healthy=true and pick");
    ApiError::new(Code::NoHealthyInstance, message)
}
