//! `GET /api/v1/services/{id}/history`: what became of a service, also of one that was removed.

use http::Response;
use serde::Serialize;

use super::Body;
use super::call::{Call, not_found, read_id};
use super::envelope::{ApiError, Code, ok_beside};
use super::openapi::schemas;
use super::query::bad_parameter;
use crate::model::name::InstanceName;
use crate::model::ports::ServiceRef;
use crate::model::time::UnixMs;
use crate::store::{HistoryPage, HistoryQuery, MAX_PAGE, StoreError};

/// Entries of a page where no limit is given.
const DEFAULT_LIMIT: usize = 100;

/// What stands beside the entries.
#[derive(Serialize)]
struct Beside {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_since: Option<UnixMs>,
}

/// Shows changes of health and removals, newest first, each with the probe that decided it.
#[utoipa::path(
    get,
    operation_id = "history",
    tag = "discovery",
    path = "/api/v1/services/{id}/history",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id, also of one that was removed"),
        ("instance" = Option<String>, Query, description = "Only this instance"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Most entries of this page; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "The entries", body = schemas::History),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 403, description = "`namespace_forbidden`", body = schemas::Refusal),
        (status = 404, description = "`service_not_found`", body = schemas::Refusal),
    )
)]
pub(super) async fn history(call: &Call<'_>, id: &str) -> Result<Response<Body>, ApiError> {
    let mut query = call.query()?;
    let instance = query.parse::<InstanceName>("instance")?;
    let limit = query.limit(MAX_PAGE)?.unwrap_or(DEFAULT_LIMIT);
    let before = query.take("cursor").map(|text| cursor(&text)).transpose()?;
    query.end(&["instance", "limit", "cursor"])?;
    let service = ServiceRef::Id(read_id(id).ok_or_else(not_found)?);
    let page = call.api.history.history(HistoryQuery { service, instance, before, limit }).await;
    let page = page.map_err(|error| refused(&error))?;
    judge(call, &page)?;
    let next_cursor = page.next.map(|next| next.to_string());
    let beside = Beside { next_cursor, history_since: call.api.history.history_since() };
    Ok(ok_beside("History retrieved successfully", &page.entries, &beside))
}

fn cursor(text: &str) -> Result<i64, ApiError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    let id = plain.then(|| text.parse().ok()).flatten();
    id.ok_or_else(|| bad_parameter("cursor", "expected next_cursor of an earlier answer, as it came"))
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
