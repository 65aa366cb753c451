//! `GET /api/v1/probes`: what the prober knows now, for those who look at it.

use http::Response;
use uuid::Uuid;

use super::call::{Call, read_id};
use super::check;
use super::dispatch::NotCounted;
use super::envelope::{ApiError, ok};
use super::openapi::schemas;
use super::query::{Query, bad_parameter};
use super::{Body, pass_on};
use crate::model::ports::OnDemandError;
use crate::model::value_error::ValueError;
use crate::wire::{Probing, ProbingOfService};

/// Services of one request.
const MOST: usize = 256;
/// Instances of one answer, about 5 kB each.
const MOST_INSTANCES: usize = 1024;
/// Instances that the prober is asked for at once.
const AT_ONCE: usize = 256;

/// Tells how it stands with the probing of services: streaks, the next probe, the newest outcomes and times. Probes nothing. Services that
/// are gone, or whose evidence the token does not cover, are missing from the answer.
#[utoipa::path(
    get,
    operation_id = "probes",
    tag = "discovery",
    path = "/api/v1/probes",
    params(("id" = Vec<Uuid>, Query, explode, max_items = 256, description = "A service's id; may come 256 times")),
    security(("token" = [])),
    responses(
        (status = 200, description = "What is known", body = Probing),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 429, description = "`probe_budget`: too many ask at once", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: the prober does not run, or in a cluster no replica leads; `busy`: too many wait for the leader", body = schemas::Refusal),
    )
)]
pub(super) async fn probes(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let (query, values) = Query::read_many(call.head.uri.query(), "id", MOST)?;
    query.end(&["id"])?;
    let ids = values
        .iter()
        .map(|text| read_id(text).ok_or_else(|| bad_parameter("id", ValueError::is_not("a service's id"))));
    let wanted = wanted(call, ids.collect::<Result<_, _>>()?);
    let mut data = Vec::new();
    for part in wanted.parts {
        match call.api.probing.probing(part).await {
            Ok(known) => {
                data.extend(known.into_iter().map(|(id, instances)| {
                    let instances = instances.into_iter().map(Into::into).collect();
                    ProbingOfService { id, live: true, instances }
                }));
            }
            Err(error) => {
                let passed_on = if error == OnDemandError::Unavailable { pass_on::to_leader(call).await } else { None };
                return passed_on.unwrap_or_else(|| Err(check::refused(&error))).map(uncounted);
            }
        }
    }
    let message = "Probing retrieved successfully".into();
    Ok(uncounted(ok(&Probing { success: true, message, data, left_out: wanted.left_out })))
}

/// It changes nothing, and who looks asks often: the larger quota counts it.
fn uncounted(mut response: Response<Body>) -> Response<Body> {
    if response.status().is_success() {
        response.extensions_mut().insert(NotCounted);
    }
    response
}

#[derive(Default)]
struct Wanted {
    parts: Vec<Vec<Uuid>>,
    left_out: Vec<Uuid>,
}

/// What may be told, in parts that do not keep the prober from its work for long.
fn wanted(call: &Call<'_>, ids: Vec<Uuid>) -> Wanted {
    let snapshot = call.api.catalog.read();
    let (mut wanted, mut all, mut room) = (Wanted::default(), 0, 0);
    for id in ids {
        let Some(entry) = snapshot.by_id(&id) else { continue };
        let service = entry.service();
        let namespace = service.key.namespace();
        if !call.who.may_read(namespace) || !call.who.sees_evidence(namespace) {
            continue;
        }
        let instances = service.instances.len();
        if all + instances > MOST_INSTANCES {
            wanted.left_out.push(id);
            continue;
        }
        all += instances;
        if let Some(part) = wanted.parts.last_mut().filter(|_| instances <= room) {
            part.push(id);
        } else {
            wanted.parts.push(vec![id]);
            room = AT_ONCE;
        }
        room = room.saturating_sub(instances);
    }
    wanted
}
