//! `GET /api/v1/services/{id}/availability`, the same for many services, and their outages.

use uuid::Uuid;

use super::Answer;
use super::history::{refused, row_cursor};
use super::request::{RequestContext, read_id};
use crate::api::access::NamespaceFilter;
use crate::api::http::envelope::{ApiError, Code, ok};
use crate::api::http::page_cursor::{self, PageCursor};
use crate::api::http::query::{Query, bad_parameter};
use crate::api::openapi::{labels, schemas};
use crate::model::availability::{MAX_CELLS, Subject, Window};
use crate::model::name::InstanceName;
use crate::model::value_error::ValueError;
use crate::store::{AvailabilityQuery, OutageQuery};
use crate::wire::{Availability, ManyAvailabilities, OneAvailability, Outages};

/// Outages that the answer about one service lists.
const LISTED: usize = 50;
/// Most services or outages of one answer.
const MAX_PAGE: usize = 500;
/// How many there are without `limit`.
const DEFAULT_PAGE: usize = 100;
/// Most ids of one request.
pub(super) const MAX_IDS: usize = 100;

/// Reports how long a service, or one of its instances, was proved up or down, and its outages. Time that was not proved, or in which no
/// server ran, is unknown; time in which it was drained is left out.
#[utoipa::path(
    get,
    operation_id = "availability",
    tag = "discovery",
    path = "/api/v1/services/{id}/availability",
    params(
        ("id" = Uuid, Path, description = "The service's id"),
        ("window" = Option<String>, Query, description = "How far back: `90m`, `24h`, `7d`, at most `30d`; `24h` when absent"),
        ("instance" = Option<String>, Query, description = "Only this instance"),
        ("cells" = Option<u8>, Query, minimum = 1, maximum = 96, description = "Cells of a strip of the window; no strip when absent"),
    ),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The availability", body = OneAvailability),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 404, description = "`service_not_found` or `instance_not_found`", body = schemas::Refusal),
        (status = 503, description = "`busy`: too many wait for the store; `unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn one(request: &RequestContext<'_>) -> Answer {
    let mut query = request.query()?;
    let span = Span::take(&mut query)?;
    let instance: Option<InstanceName> = query.parse("instance")?;
    query.end(&["window", "instance", "cells"])?;
    let id = read_id(request.params.id).ok_or_else(ApiError::service_not_found)?;
    let subject = subject(request, id, instance.as_ref())?;
    let known = ask(request, vec![subject], &span, LISTED).await?.pop();
    let data = Availability::of(known.ok_or_else(ApiError::service_not_found)?, true);
    Ok(ok(&OneAvailability { success: true, message: "Availability retrieved successfully".into(), data }))
}

fn subject(request: &RequestContext<'_>, id: Uuid, instance: Option<&InstanceName>) -> Result<Subject, ApiError> {
    let snapshot = request.state.catalog.read();
    let entry = snapshot.by_id(&id).filter(|entry| request.principal.may_read(entry.service().key.namespace()));
    let Some(entry) = entry else {
        request.require_complete()?;
        return Err(ApiError::service_not_found());
    };
    let service = entry.service();
    let Some(name) = instance else { return Ok(Subject::service(service)) };
    let found = service.instance(name.as_str());
    let missing = || ApiError::new(Code::InstanceNotFound, "Instance not found");
    found.map(|found| Subject::instance(service, found)).ok_or_else(missing)
}

/// Reports the availability of many services, without their outages: of those with the ids, or of a namespace's, newest registration first.
/// Services that do not exist, or that you may not see, are missing from the answer.
#[utoipa::path(
    get,
    operation_id = "availabilities",
    tag = "discovery",
    path = "/api/v1/availability",
    params(
        ("window" = Option<String>, Query, description = "How far back: `90m`, `24h`, `7d`, at most `30d`; `24h` when absent"),
        ("cells" = Option<u8>, Query, minimum = 1, maximum = 96, description = "Cells of a strip of the window; no strip when absent"),
        ("id" = Option<Vec<Uuid>>, Query, explode, max_items = 100, description = "A service's id; may come 100 times, and then not with `namespace`, `limit` or `cursor`"),
        ("namespace" = inline(Option<labels::Namespaces>), Query, description = "One namespace, or `*` for all that you may see; the default one when absent"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Most services of this page; 100 when absent"),
        ("cursor" = Option<String>, Query, pattern = "^[0-9a-fA-F]{48}$", description = "`next_cursor` of the previous page"),
    ),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The availability of each", body = ManyAvailabilities),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 503, description = "`busy`: too many wait for the store; `unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn many(request: &RequestContext<'_>) -> Answer {
    let (mut query, ids) = Query::read_many(request.head.uri.query(), "id", MAX_IDS)?;
    let span = Span::take(&mut query)?;
    let (subjects, next_cursor) = if ids.is_empty() {
        request.require_complete()?;
        page(request, &mut query)?
    } else {
        let read = |text: &str| read_id(text).ok_or_else(|| bad_parameter("id", ValueError::is_not("a service's id")));
        let ids = ids.iter().map(|text| read(text)).collect::<Result<Vec<_>, _>>()?;
        let of_a_page = PAGE.into_iter().find(|parameter| query.take(parameter).is_some());
        if let Some(parameter) = of_a_page {
            return Err(bad_parameter(parameter, "is given beside id; give one of them"));
        }
        // A replica that does not know every service yet cannot tell which are missing.
        let found = ids.into_iter().map(|id| subject(request, id, None));
        let known = found.filter(|found| !matches!(found, Err(error) if error.code() == Code::ServiceNotFound));
        (known.collect::<Result<_, _>>()?, None)
    };
    let [namespace, limit, cursor] = PAGE;
    query.end(&["window", "cells", "id", namespace, limit, cursor])?;
    let known = ask(request, subjects, &span, 0).await?;
    let data = known.into_iter().map(|one| Availability::of(one, false)).collect();
    let message = "Availability retrieved successfully".into();
    Ok(ok(&ManyAvailabilities { success: true, message, data, next_cursor }))
}

/// The parameters of [`page`].
const PAGE: [&str; 3] = ["namespace", "limit", "cursor"];

/// The services of a page, as the list has them.
fn page(request: &RequestContext<'_>, query: &mut Query<'_>) -> Result<(Vec<Subject>, Option<String>), ApiError> {
    let namespaces = NamespaceFilter::take(query, &request.state.settings.default_namespace)?;
    let limit = query.limit(MAX_PAGE)?.unwrap_or(DEFAULT_PAGE);
    let after = query.parse::<PageCursor>("cursor")?.map(|cursor| cursor.0);
    let snapshot = request.state.catalog.read();
    let covers = |namespace: &str| namespaces.covers(request.principal, namespace);
    let found = snapshot.newest_first(after).filter(|entry| covers(entry.service().key.namespace()));
    let (page, next) = page_cursor::page(found, limit);
    Ok((page.into_iter().map(|entry| Subject::service(entry.service())).collect(), next))
}

/// Lists outages of all services, newest first, also of services that were removed since.
#[utoipa::path(
    get,
    operation_id = "outages",
    tag = "discovery",
    path = "/api/v1/outages",
    params(
        ("window" = Option<String>, Query, description = "How far back: `90m`, `24h`, `7d`, at most `30d`; `24h` when absent"),
        ("namespace" = inline(Option<labels::Namespaces>), Query, description = "One namespace, or `*` for all that you may see; the default one when absent"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Most outages of this page; 100 when absent"),
        ("cursor" = Option<String>, Query, pattern = "^[0-9]{1,18}$", description = "`next_cursor` of the previous page"),
    ),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The outages", body = Outages),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 503, description = "`busy`: too many wait for the store", body = schemas::Refusal),
    )
)]
pub(super) async fn outages(request: &RequestContext<'_>) -> Answer {
    let mut query = request.query()?;
    let window = query.parse::<Window>("window")?.unwrap_or_default();
    let namespaces = NamespaceFilter::take(&mut query, &request.state.settings.default_namespace)?;
    let limit = query.limit(MAX_PAGE)?.unwrap_or(DEFAULT_PAGE);
    let before = query.take("cursor").map(|text| row_cursor(&text)).transpose()?;
    query.end(&["window", "namespace", "limit", "cursor"])?;
    let principal = request.principal.clone();
    let query = OutageQuery {
        window: request.state.history.window(window),
        namespaces: Box::new(move |namespace| namespaces.covers(&principal, namespace)),
        before,
        limit,
    };
    let page = request.state.history.outages(query).await.map_err(|error| refused(&error))?;
    Ok(ok(&Outages {
        success: true,
        message: "Outages retrieved successfully".into(),
        data: page.outages.into_iter().map(Into::into).collect(),
        since: page.since,
        next_cursor: page.next.map(|next| next.to_string()),
    }))
}

/// Which time is asked for.
struct Span {
    window: Window,
    cells: usize,
}

impl Span {
    fn take(query: &mut Query<'_>) -> Result<Self, ApiError> {
        let window = query.parse("window")?.unwrap_or_default();
        let wrong = || bad_parameter("cells", ValueError::is_not(format!("a whole number from 1 to {MAX_CELLS}")));
        let cells = match query.take("cells") {
            None => 0,
            Some(text) => text.parse().ok().filter(|n| (1..=MAX_CELLS).contains(n)).ok_or_else(wrong)?,
        };
        Ok(Self { window, cells })
    }
}

async fn ask(
    request: &RequestContext<'_>,
    subjects: Vec<Subject>,
    span: &Span,
    listed: usize,
) -> Result<Vec<crate::model::availability::Availability>, ApiError> {
    let window = request.state.history.window(span.window);
    let query = AvailabilityQuery { subjects, window, cells: span.cells, listed };
    request.state.history.availability(query).await.map_err(|error| refused(&error))
}
