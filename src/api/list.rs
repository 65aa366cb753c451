//! `GET /api/v1/services`.

use std::sync::Arc;

use http::Response;

use super::Body;
use super::call::Call;
use super::cursor::PageCursor;
use super::envelope::ApiError;
use super::openapi::{labels, params, schemas};
use super::scope::{Reach, elsewhere};
use super::{etag, reply, select};
use crate::catalog::snapshot::Order;
use crate::catalog::{Entry, Snapshot};
use crate::model::selection::Selection;

const MESSAGE: &str = "Services retrieved successfully";
/// Most services of one page; without `limit` all come at once.
const MAX_LIMIT: usize = 1000;

struct Wanted {
    reach: Reach,
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
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of an earlier answer"),
    ),
    responses(
        (status = 200, description = "The services", body = schemas::ManyServices, headers(("ETag", description = "Moves with every change of the catalog"))),
        (status = 304, description = "Nothing changed"),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) fn list(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let wanted = read(call)?;
    let pin = call.api.catalog.pin();
    let snapshot = call.api.catalog.snapshot();
    // A list that leaves out what this caller may not see has no tag: it would be another caller's too.
    let tag = call.who.reads_all().then(|| snapshot.tag());
    if let Some(unchanged) = tag.as_ref().and_then(|tag| etag::not_modified(tag, &call.head.headers)) {
        return Ok(unchanged);
    }
    let (page, next) = page(call, &snapshot, &wanted);
    let hint = if page.is_empty() && wanted.after.is_none() {
        elsewhere(&snapshot, call.who, &wanted.reach, |entry| selects(&wanted.selection, entry))
    } else {
        None
    };
    let mut response = reply::list(MESSAGE, page, pin, next, hint);
    if let Some(tag) = tag {
        etag::put(&tag, &mut response);
    }
    Ok(response)
}

fn read(call: &Call<'_>) -> Result<Wanted, ApiError> {
    let mut query = call.query()?;
    let wanted = Wanted {
        reach: Reach::take(&mut query, &call.api.settings.default_namespace)?,
        selection: select::take(&mut query)?,
        limit: query.limit(MAX_LIMIT)?,
        after: query.parse::<PageCursor>("cursor")?.map(|cursor| cursor.0),
    };
    let [status, version, zone, meta] = select::PARAMETERS;
    query.end(&["namespace", status, version, zone, meta, "limit", "cursor"])?;
    Ok(wanted)
}

fn selects(selection: &Selection, entry: &Entry) -> bool {
    selection.is_empty() || selection.matches_service(entry.service())
}

/// The services of this page, and the cursor of the next one when there is one.
fn page(call: &Call<'_>, snapshot: &Snapshot, wanted: &Wanted) -> (Vec<Arc<Entry>>, Option<String>) {
    let mut found = snapshot.newest_first(wanted.after).filter(|entry| {
        wanted.reach.covers(call.who, entry.service().key.namespace()) && selects(&wanted.selection, entry)
    });
    let Some(limit) = wanted.limit else { return (found.cloned().collect(), None) };
    let page: Vec<_> = found.by_ref().take(limit).cloned().collect();
    let last = page.last().map(|entry| (entry.service().registered_at, entry.service().id));
    let next = last.filter(|_| found.next().is_some());
    (page, next.map(|last| PageCursor(last).to_string()))
}
