//! `GET /api/v1/services`.

use std::sync::Arc;

use super::request::RequestContext;
use super::{Answer, hints};
use crate::api::access::NamespaceFilter;
use crate::api::http::envelope::ApiError;
use crate::api::http::page_cursor::PageCursor;
use crate::api::http::{etag, reply, selection};
use crate::api::openapi::{labels, params, schemas};
use crate::catalog::snapshot::Order;
use crate::catalog::{Entry, Snapshot};
use crate::model::selection::Selection;

const MESSAGE: &str = "Services retrieved successfully";
/// Largest page; without `limit`, all services are returned at once.
const MAX_LIMIT: usize = 1000;

struct ListQuery {
    namespaces: NamespaceFilter,
    selection: Selection,
    limit: Option<usize>,
    after: Option<Order>,
}

/// Lists services, newest registration first.
#[utoipa::path(
    get,
    operation_id = "list",
    tag = "discovery",
    path = "/api/v1/services",
    security((), ("token" = [])),
    params(
        ("namespace" = inline(Option<labels::Namespaces>), Query, description = "One namespace, or `*` for all that you may see; the default one when absent"),
        params::Selection,
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Most services of this page; all when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of an earlier answer"),
    ),
    responses(
        (status = 200, description = "The services", body = schemas::ManyServices, headers(("ETag", description = "Changes whenever the catalog changes"))),
        (status = 304, description = "Nothing changed"),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) fn list(request: &RequestContext<'_>) -> Answer {
    request.require_complete()?;
    let query = read(request)?;
    let pin = request.state.catalog.pin();
    let snapshot = request.state.catalog.snapshot();
    // A list that leaves out what this caller may not see has no tag: another caller's list would have the same.
    let tag = request.principal.reads_all().then(|| snapshot.tag());
    if let Some(unchanged) = tag.as_ref().and_then(|tag| etag::not_modified(tag, &request.head.headers)) {
        return Ok(unchanged);
    }
    let (page, next) = page(request, &snapshot, &query);
    let hint = if page.is_empty() && query.after.is_none() {
        hints::matches_elsewhere(&snapshot, request.principal, &query.namespaces, |entry| {
            selects(&query.selection, entry)
        })
    } else {
        None
    };
    let mut response = reply::list(MESSAGE, page, pin, next, hint);
    if let Some(tag) = tag {
        etag::put(&tag, &mut response);
    }
    Ok(response)
}

fn read(request: &RequestContext<'_>) -> Result<ListQuery, ApiError> {
    let mut query = request.query()?;
    let list = ListQuery {
        namespaces: NamespaceFilter::take(&mut query, &request.state.settings.default_namespace)?,
        selection: selection::take(&mut query)?,
        limit: query.limit(MAX_LIMIT)?,
        after: query.parse::<PageCursor>("cursor")?.map(|cursor| cursor.0),
    };
    let [status, version, zone, meta] = selection::PARAMETERS;
    query.end(&["namespace", status, version, zone, meta, "limit", "cursor"])?;
    Ok(list)
}

fn selects(selection: &Selection, entry: &Entry) -> bool {
    selection.is_empty() || selection.matches_service(entry.service())
}

/// The services of this page, and the cursor of the next one when there is one.
fn page(request: &RequestContext<'_>, snapshot: &Snapshot, query: &ListQuery) -> (Vec<Arc<Entry>>, Option<String>) {
    let mut found = snapshot.newest_first(query.after).filter(|entry| {
        query.namespaces.covers(request.principal, entry.service().key.namespace()) && selects(&query.selection, entry)
    });
    let Some(limit) = query.limit else { return (found.cloned().collect(), None) };
    let page: Vec<_> = found.by_ref().take(limit).cloned().collect();
    let last = page.last().map(|entry| (entry.service().registered_at, entry.service().id));
    let next = last.filter(|_| found.next().is_some());
    (page, next.map(|last| PageCursor(last).to_string()))
}
