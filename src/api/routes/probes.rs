//! `GET /api/v1/probes`: the prober's current state of services: streaks, next probes, samples.

use http::Response;
use uuid::Uuid;

use super::request::{RequestContext, read_id};
use super::{Answer, leader};
use crate::api::access::NotCounted;
use crate::api::http::body::Body;
use crate::api::http::envelope::ok;
use crate::api::http::query::{Query, bad_parameter};
use crate::api::openapi::schemas;
use crate::model::value_error::ValueError;
use crate::wire::{Probing, ProbingOfService};

/// Most services of one request.
pub(super) const MAX_SERVICES: usize = 256;
/// Most instances of one answer, about 5 kB each.
const MAX_INSTANCES: usize = 1024;
/// Instances of one question to the prober.
const BATCH: usize = 256;

/// Reports the probing of services: streaks, the next probe, the newest outcomes and times. Probes nothing. Services that do not exist, or
/// whose evidence the token does not cover, are missing from the answer.
#[utoipa::path(
    get,
    operation_id = "probes",
    tag = "discovery",
    path = "/api/v1/probes",
    params(("id" = Vec<Uuid>, Query, explode, max_items = 256, description = "A service's id; may come 256 times")),
    security(("token" = [])),
    responses(
        (status = 200, description = "What the prober knows", body = Probing),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 429, description = "`probe_budget`: too many requests at once", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: the prober does not run, or in a cluster no replica leads; `busy`: too many wait for the leader", body = schemas::Refusal),
    )
)]
pub(super) async fn probes(request: &RequestContext<'_>) -> Answer {
    let (query, values) = Query::read_many(request.head.uri.query(), "id", MAX_SERVICES)?;
    query.end(&["id"])?;
    let ids = values
        .iter()
        .map(|text| read_id(text).ok_or_else(|| bad_parameter("id", ValueError::is_not("a service's id"))));
    let batches = batches(request, ids.collect::<Result<_, _>>()?);
    let mut data = Vec::new();
    for batch in batches.batches {
        match request.state.probing.probing(batch).await {
            Ok(known) => {
                data.extend(known.into_iter().map(|(id, instances)| {
                    let instances = instances.into_iter().map(Into::into).collect();
                    ProbingOfService { id, live: true, instances }
                }));
            }
            Err(error) => return leader::forward_or_refuse(request, &error).await.map(uncounted),
        }
    }
    let message = "Probing retrieved successfully".into();
    Ok(uncounted(ok(&Probing { success: true, message, data, left_out: batches.left_out })))
}

/// It changes nothing, and consoles ask often, so the larger quota counts it.
fn uncounted(mut response: Response<Body>) -> Response<Body> {
    if response.status().is_success() {
        response.extensions_mut().insert(NotCounted);
    }
    response
}

#[derive(Default)]
struct Batches {
    batches: Vec<Vec<Uuid>>,
    left_out: Vec<Uuid>,
}

/// The services whose evidence the caller may see, in batches that occupy the prober only briefly.
fn batches(request: &RequestContext<'_>, ids: Vec<Uuid>) -> Batches {
    let snapshot = request.state.catalog.read();
    let (mut batches, mut all, mut room) = (Batches::default(), 0, 0);
    for id in ids {
        let Some(entry) = snapshot.by_id(&id) else { continue };
        let service = entry.service();
        let namespace = service.key.namespace();
        if !request.principal.may_read(namespace) || !request.principal.sees_evidence(namespace) {
            continue;
        }
        let instances = service.instances.len();
        if all + instances > MAX_INSTANCES {
            batches.left_out.push(id);
            continue;
        }
        all += instances;
        if let Some(batch) = batches.batches.last_mut().filter(|_| instances <= room) {
            batch.push(id);
        } else {
            batches.batches.push(vec![id]);
            room = BATCH;
        }
        room = room.saturating_sub(instances);
    }
    batches
}
