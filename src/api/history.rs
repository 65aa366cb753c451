//! `GET /api/v1/services/{id}/history`, and the same by name: what became of a service, also of one that was removed.

use http::Response;

use super::Body;
use super::call::{Call, not_found, read_id};
use super::cursor::NOT_A_CURSOR;
use super::envelope::{ApiError, Code, ok};
use super::openapi::{params, schemas};
use super::query::{Query, bad_parameter};
use super::scope::{Reach, other_places};
use crate::model::name::{InstanceName, ServiceKey, ServiceName};
use crate::model::ports::ServiceRef;
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
        (status = 404, description = "`service_not_found`", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn history(call: &Call<'_>, id: &str) -> Result<Response<Body>, ApiError> {
    let mut query = call.query()?;
    let wanted = Wanted::take(&mut query)?;
    query.end(&PARAMETERS)?;
    let service = ServiceRef::Id(read_id(id).ok_or_else(not_found)?);
    page(call, service, wanted).await
}

/// Shows the history of the service that has a name now, or else of the one that had it last.
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
        (status = 404, description = "`service_not_found`; `hint` may say where else it is", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn by_name(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let mut query = call.query()?;
    let name = query.take("name").unwrap_or_default();
    let namespace = Reach::take_one(&mut query, &call.api.settings.default_namespace)?;
    let wanted = Wanted::take(&mut query)?;
    let [instance, limit, cursor] = PARAMETERS;
    query.end(&["name", "namespace", instance, limit, cursor])?;
    if name.is_empty() {
        return Err(ApiError::new(Code::NameRequired, "Service name is required"));
    }
    let elsewhere = || match other_places(&call.api.catalog.read(), call.who, namespace.as_str(), &name) {
        Some(hint) => not_found().hint(hint),
        None => not_found(),
    };
    let service: ServiceName = name.parse().map_err(|_| elsewhere())?;
    let page = page(call, ServiceRef::Key(ServiceKey::new(&namespace, &service)), wanted).await;
    page.map_err(|error| if error.code == Code::ServiceNotFound { elsewhere() } else { error })
}

/// The parameters that [`Wanted`] reads.
const PARAMETERS: [&str; 3] = ["instance", "limit", "cursor"];

/// Which entries are wanted.
struct Wanted {
    instance: Option<InstanceName>,
    limit: usize,
    before: Option<i64>,
}

impl Wanted {
    fn take(query: &mut Query<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            instance: query.parse("instance")?,
            limit: query.limit(MAX_PAGE)?.unwrap_or(DEFAULT_LIMIT),
            before: query.take("cursor").map(|text| cursor(&text)).transpose()?,
        })
    }
}

async fn page(call: &Call<'_>, service: ServiceRef, wanted: Wanted) -> Result<Response<Body>, ApiError> {
    let Wanted { instance, limit, before } = wanted;
    let page = call.api.history.history(HistoryQuery { service, instance, before, limit }).await;
    let page = page.map_err(|error| refused(&error))?;
    judge(call, &page)?;
    Ok(ok(&History {
        success: true,
        message: "History retrieved successfully".into(),
        data: page.entries.into_iter().map(Into::into).collect(),
        id: page.service,
        registered: call.api.catalog.read().by_id(&page.service).is_some(),
        next_cursor: page.next.map(|next| next.to_string()),
        history_since: call.api.history.history_since(),
    }))
}

fn cursor(text: &str) -> Result<i64, ApiError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    let id = plain.then(|| text.parse().ok()).flatten();
    id.ok_or_else(|| bad_parameter("cursor", NOT_A_CURSOR))
}

fn judge(call: &Call<'_>, page: &HistoryPage) -> Result<(), ApiError> {
    let namespace = page.key.namespace();
    if !call.who.may_read(namespace) {
        return Err(not_found());
    }
    if !call.who.sees_evidence(namespace) {
        return Err(call.who.outside(namespace));
    }
    Ok(())
}

fn refused(error: &StoreError) -> ApiError {
    match error {
        StoreError::ServiceNotFound => not_found(),
        StoreError::Busy => ApiError::new(Code::Busy, error.to_string()).retry_after(1),
        StoreError::Closed => ApiError::new(Code::ShuttingDown, error.to_string()),
        other => {
            tracing::error!(error = %other, "history could not be read");
            ApiError::new(Code::StoreFailed, "the store could not be read; the server's log says why")
        }
    }
}
