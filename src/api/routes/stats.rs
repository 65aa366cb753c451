//! `GET /api/v1/services/stats`.

use super::Answer;
use super::request::RequestContext;
use crate::api::access::NamespaceFilter;
use crate::api::http::envelope::ok;
use crate::api::openapi::{labels, schemas};
use crate::catalog::Counts;
use crate::wire::{Counted, Stats};

/// Counts services by health.
#[utoipa::path(
    get,
    operation_id = "stats",
    tag = "discovery",
    path = "/api/v1/services/stats",
    security((), ("token" = [])),
    params(
        ("namespace" = inline(Option<labels::Namespaces>), Query, description = "One namespace, or `*` for all that you may see; the default one when absent"),
    ),
    responses(
        (status = 200, description = "The counts", body = Counted),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) fn stats(request: &RequestContext<'_>) -> Answer {
    request.require_complete()?;
    let mut query = request.query()?;
    let namespaces = NamespaceFilter::take(&mut query, &request.state.settings.default_namespace)?;
    query.end(&["namespace"])?;
    let snapshot = request.state.catalog.read();
    let counts = match &namespaces {
        NamespaceFilter::All if request.principal.reads_all() => snapshot.total(),
        _ => snapshot
            .namespaces()
            .filter(|(namespace, _)| namespaces.covers(request.principal, namespace))
            .fold(Counts::default(), |sum, (_, counts)| sum.plus(counts)),
    };
    let data = Stats {
        total_services: counts.total(),
        healthy_services: counts.healthy,
        unhealthy_services: counts.unhealthy,
        unknown_services: counts.unknown,
        not_checked_services: counts.not_checked,
    };
    Ok(ok(&Counted { success: true, message: "Stats retrieved successfully".into(), data }))
}
