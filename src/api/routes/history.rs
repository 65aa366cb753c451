//! `GET /api/v1/services/{id}/history`, and the same by name: the history of a service, also of one that was removed.

use super::request::{RequestContext, read_id};
use super::{Answer, hints};
use crate::api::access::NamespaceFilter;
use crate::api::http::envelope::{ApiError, Code, ok};
use crate::api::http::page_cursor::NOT_A_CURSOR;
use crate::api::http::query::{Query, bad_parameter};
use crate::api::openapi::{params, schemas};
use crate::model::name::{InstanceName, ServiceKey, ServiceName};
use crate::model::ports::{AccessVerb, ServiceRef};
use crate::store::{HistoryPage, HistoryQuery, MAX_PAGE, StoreError};
use crate::wire::History;

/// Entries of a page where no limit is given.
const DEFAULT_LIMIT: usize = 100;

/// Shows changes of health and removals, newest first, each with the probe that decided it.
#[utoipa::path(
    get,
    operation_id = "history",
    tag = "discovery",
    path = "/api/v1/services/{id}/history",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id, also of one that was removed"),
        params::Entries,
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "The entries", body = History),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 403, description = "`namespace_forbidden`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found`, or `instance_not_found`: `instance` is neither registered nor in the history", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn history(request: &RequestContext<'_>) -> Answer {
    let mut query = request.query()?;
    let page = PageQuery::take(&mut query)?;
    query.end(&PARAMETERS)?;
    let service = ServiceRef::Id(read_id(request.params.id).ok_or_else(ApiError::service_not_found)?);
    read(request, service, page).await
}

/// Shows the history of the service that has the name now, or else of the one that had it last.
#[utoipa::path(
    get,
    operation_id = "history_by_name",
    tag = "discovery",
    path = "/api/v1/services/history",
    params(
        ("name" = String, Query, description = "The service's name, also of one that was removed"),
        ("namespace" = Option<String>, Query, description = "Its namespace; the default one when absent"),
        params::Entries,
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "The entries", body = History),
        (status = 400, description = "`name_required` or `invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 403, description = "`namespace_forbidden`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found`; `hint` may say where else it is. `instance_not_found`: `instance` is neither registered nor in the history", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn by_name(request: &RequestContext<'_>) -> Answer {
    let mut query = request.query()?;
    let name = query.take("name").unwrap_or_default();
    let namespace = NamespaceFilter::take_one(&mut query, &request.state.settings.default_namespace)?;
    let page = PageQuery::take(&mut query)?;
    let [instance, limit, cursor] = PARAMETERS;
    query.end(&["name", "namespace", instance, limit, cursor])?;
    if name.is_empty() {
        return Err(ApiError::name_required());
    }
    let elsewhere =
        || match hints::other_namespaces(&request.state.catalog.read(), request.principal, namespace.as_str(), &name) {
            Some(hint) => ApiError::service_not_found().hint(hint),
            None => ApiError::service_not_found(),
        };
    let service: ServiceName = name.parse().map_err(|_| elsewhere())?;
    let answer = read(request, ServiceRef::Key(ServiceKey::new(&namespace, &service)), page).await;
    answer.map_err(|error| if error.code == Code::ServiceNotFound { elsewhere() } else { error })
}

/// The parameters that [`PageQuery`] reads.
const PARAMETERS: [&str; 3] = ["instance", "limit", "cursor"];

/// Which entries to show.
struct PageQuery {
    instance: Option<InstanceName>,
    limit: usize,
    before: Option<i64>,
}

impl PageQuery {
    fn take(query: &mut Query<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            instance: query.parse("instance")?,
            limit: query.limit(MAX_PAGE)?.unwrap_or(DEFAULT_LIMIT),
            before: query.take("cursor").map(|text| row_cursor(&text)).transpose()?,
        })
    }
}

async fn read(request: &RequestContext<'_>, service: ServiceRef, page: PageQuery) -> Answer {
    let PageQuery { instance, limit, before } = page;
    let wanted = instance.clone().filter(|_| before.is_none());
    let page = request.state.history.history(HistoryQuery { service, instance, before, limit }).await;
    let page = page.map_err(|error| refused(&error))?;
    require_evidence(request, &page)?;
    if let Some(wanted) = wanted.filter(|_| page.entries.is_empty()) {
        require_registered(request, &page, &wanted)?;
    }
    Ok(ok(&History {
        success: true,
        message: "History retrieved successfully".into(),
        data: page.entries.into_iter().map(Into::into).collect(),
        id: page.service,
        registered: request.state.catalog.read().by_id(&page.service).is_some(),
        next_cursor: page.next.map(|next| next.to_string()),
        history_since: request.state.history.history_since(),
    }))
}

/// Reads a cursor that is the number of a row.
pub(super) fn row_cursor(text: &str) -> Result<i64, ApiError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    let id = plain.then(|| text.parse().ok()).flatten();
    id.ok_or_else(|| bad_parameter("cursor", NOT_A_CURSOR))
}

fn require_evidence(request: &RequestContext<'_>, page: &HistoryPage) -> Result<(), ApiError> {
    let namespace = page.key.namespace();
    if !request.principal.may_read(namespace) {
        return Err(ApiError::service_not_found());
    }
    if !request.principal.sees_evidence(namespace) {
        return Err(request.principal.outside(namespace, AccessVerb::List));
    }
    Ok(())
}

/// An instance without history is unknown unless it is registered: the name may be mistyped.
fn require_registered(request: &RequestContext<'_>, page: &HistoryPage, wanted: &InstanceName) -> Result<(), ApiError> {
    let snapshot = request.state.catalog.read();
    let registered =
        snapshot.by_id(&page.service).and_then(|entry| entry.service().instance(wanted.as_str())).is_some();
    if registered { Ok(()) } else { Err(ApiError::new(Code::InstanceNotFound, "Instance not found")) }
}

/// The answer where the store cannot be asked, or has no answer.
pub(super) fn refused(error: &StoreError) -> ApiError {
    match error {
        StoreError::ServiceNotFound => ApiError::service_not_found(),
        StoreError::Busy => ApiError::new(Code::Busy, error.to_string()).retry_after(1),
        StoreError::Closed => ApiError::new(Code::ShuttingDown, error.to_string()),
        other => {
            tracing::error!(error = %other, "history could not be read");
            ApiError::new(Code::StoreFailed, "the store could not be read; the server's log says why")
        }
    }
}
