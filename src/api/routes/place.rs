//! Which services a request is about, as far as its head says, and what it wants to do with them. For callers whose rights the cluster decides.

use std::borrow::Cow;
use std::collections::BTreeSet;

use http::request::Parts;

use super::availability::MAX_IDS;
use super::probes::MAX_SERVICES;
use super::request::read_id;
use super::{Match, RouteId};
use crate::api::access::Place;
use crate::api::http::query::Query;
use crate::api::state::ApiState;
use crate::model::ports::AccessVerb;

/// The place of a request, and the verb. A namespace that is not a name, and an id that does not exist, are refused by the handler.
pub(in crate::api) fn place(state: &ApiState, matched: &Match<'_>, head: &Parts) -> (Place, AccessVerb) {
    let Some(route) = matched.route else { return (Place::Unknown, AccessVerb::List) };
    let mut query = Query::read_repeating(head.uri.query(), "tag").ok();
    let given = query.as_mut().and_then(|query| query.take("namespace"));
    let one_instance = ["instance", "external_id"];
    let one_instance = query.is_some_and(|mut query| one_instance.iter().any(|name| query.take(name).is_some()));
    let verb = verb(route.id, one_instance);
    let ids = match route.id {
        RouteId::Probes => ids(head, MAX_SERVICES),
        RouteId::Availabilities => ids(head, MAX_IDS),
        _ => Vec::new(),
    };
    let place = match (given.as_deref(), route.id) {
        _ if !matched.params.id.is_empty() => of_services(state, &[matched.params.id]),
        (_, RouteId::Register) => Place::Unknown,
        (_, RouteId::Probes) => of_services(state, &ids),
        (None, RouteId::Availabilities) if !ids.is_empty() => of_services(state, &ids),
        // The metrics name every service, whatever the query says.
        (Some("*"), _) | (None, RouteId::Prometheus) | (_, RouteId::Metrics) => Place::All,
        (Some(name), _) => name.parse().map_or(Place::Unknown, |one| Place::In(vec![one])),
        (None, _) => Place::In(vec![state.settings.default_namespace.clone()]),
    };
    (place, verb)
}

/// The place of the services with these ids, as far as they exist.
fn of_services(state: &ApiState, ids: &[impl AsRef<str>]) -> Place {
    let snapshot = state.catalog.read();
    let entries = ids.iter().filter_map(|id| snapshot.by_id(&read_id(id.as_ref())?));
    let namespaces: BTreeSet<&str> = entries.map(|entry| entry.service().key.namespace()).collect();
    Place::In(namespaces.into_iter().filter_map(|one| one.parse().ok()).collect())
}

/// The ids in a query; none if it is one that the handler refuses.
fn ids(head: &Parts, most: usize) -> Vec<Cow<'_, str>> {
    Query::read_many(head.uri.query(), "id", most).map_or_else(|_| Vec::new(), |(_, ids)| ids)
}

fn verb(route: RouteId, one_instance: bool) -> AccessVerb {
    match route {
        RouteId::Register => AccessVerb::Create,
        RouteId::Deregister => AccessVerb::Delete,
        RouteId::DeregisterByName if !one_instance => AccessVerb::Delete,
        RouteId::DeregisterByName
        | RouteId::Instance
        | RouteId::Check
        | RouteId::Acknowledge
        | RouteId::Unacknowledge
        | RouteId::Heartbeat
        | RouteId::Drain
        | RouteId::Undrain => AccessVerb::Update,
        _ => AccessVerb::List,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes::{ROUTES, Verb};

    #[test]
    fn every_route_that_writes_needs_a_right_to_write() {
        let reads = |route: RouteId| verb(route, false) == AccessVerb::List;
        let wrong = ROUTES.iter().filter(|route| (route.verb == Verb::Get) != reads(route.id));
        assert_eq!(wrong.map(|route| route.path).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
