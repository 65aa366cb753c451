//! `GET /sd/prometheus`.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::Answer;
use super::request::RequestContext;
use crate::api::access::NamespaceFilter;
use crate::api::http::body::{Body, PIECE};
use crate::api::http::envelope::{ApiError, Code, json_reply};
use crate::api::http::selection;
use crate::api::openapi::{labels, params, schemas};
use crate::catalog::Catalog;
use crate::model::selection::Selection;
use crate::model::service::Service;
use crate::wire::TargetGroup;

/// Lists instances as targets for Prometheus (`http_sd_configs`): also unhealthy ones, since Prometheus would otherwise lose sight of what is
/// down. Services by namespace and name, instances by name. An error is an error's status, never an empty list, so that Prometheus keeps its targets.
#[utoipa::path(
    get,
    operation_id = "prometheus",
    tag = "discovery",
    path = "/sd/prometheus",
    security((), ("token" = [])),
    params(
        ("namespace" = inline(Option<labels::Namespaces>), Query, description = "One namespace; all that you may see when absent"),
        params::Selection,
    ),
    responses(
        (status = 200, description = "The targets; `[]` if there are none", body = Vec<TargetGroup>),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `busy`: other answers of this size are being prepared; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn targets(request: &RequestContext<'_>) -> Answer {
    request.require_complete()?;
    let mut query = request.query_repeating(selection::TAG)?;
    let namespaces = NamespaceFilter::take_or_all(&mut query)?;
    let selection = selection::take(&mut query)?;
    let [status, version, zone, meta, tag, warning] = selection::PARAMETERS;
    query.end(&["namespace", status, version, zone, meta, tag, warning])?;
    let turn = request.renderings.turn(request.principal.client).await?;
    let (catalog, principal) = (Arc::clone(&request.state.catalog), request.principal.clone());
    // Thousands of instances take milliseconds, which other requests of this thread should not wait for.
    let listed =
        turn.run(move || list(&catalog, selection, |service| namespaces.covers(&principal, service.key.namespace())));
    let body = listed.await.map_err(|error| {
        tracing::error!(%error, "the targets could not be listed");
        ApiError::new(Code::Internal, "the targets could not be listed; the server's log says why")
    })?;
    Ok(json_reply(StatusCode::OK, body))
}

/// The list of the services that are `wanted`, with its length.
fn list(catalog: &Catalog, selection: Selection, wanted: impl Fn(&Service) -> bool) -> Body {
    let pin = catalog.pin();
    let snapshot = catalog.snapshot();
    let services = snapshot.newest_first(None).map(|entry| entry.service());
    let services = services.filter(|service| wanted(service)).map(Arc::clone).collect();
    let list = List::new(services, selection);
    let len = list.clone().map(|piece| piece.len()).sum();
    let maker_bytes = list.services.len() * size_of::<Arc<Service>>();
    Body::made(len, maker_bytes, list, pin)
}

/// The list as JSON, piece by piece.
#[derive(Debug, Clone)]
struct List {
    services: Arc<[Arc<Service>]>,
    selection: Selection,
    /// The next service, and the next of its instances.
    next: (usize, usize),
    begun: bool,
    ended: bool,
}

impl List {
    fn new(mut services: Vec<Arc<Service>>, selection: Selection) -> Self {
        services.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Self { services: services.into(), selection, next: (0, 0), begun: false, ended: false }
    }

    /// The next instance that is selected.
    fn next_group(&mut self) -> Option<TargetGroup> {
        while let Some(service) = self.services.get(self.next.0) {
            let Some(instance) = service.instances.get(self.next.1) else {
                self.next = (self.next.0 + 1, 0);
                continue;
            };
            self.next.1 += 1;
            if self.selection.matches_instance(instance) {
                return Some(TargetGroup::of(&service.key, instance));
            }
        }
        None
    }
}

impl Iterator for List {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = Vec::with_capacity(PIECE);
        while !self.ended && piece.len() < PIECE {
            let Some(group) = self.next_group() else {
                piece.extend_from_slice(if self.begun { b"]" } else { b"[]" });
                self.ended = true;
                break;
            };
            piece.push(if std::mem::replace(&mut self.begun, true) { b',' } else { b'[' });
            // Our own types always serialise, and writing to a Vec cannot fail.
            let _ = serde_json::to_writer(&mut piece, &group);
        }
        (!piece.is_empty()).then(|| piece.into())
    }
}
