//! What the audit log says of a request: which ones get a line, and what their handlers know about them.

use std::net::SocketAddr;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};

use super::request::{Params, read_id};
use super::subject::{Known, Subject};
use super::{Match, RouteId};
use crate::api::access::{NotCounted, Principal};
use crate::api::http::body::Body;
use crate::api::http::envelope::Code;
use crate::api::state::ApiState;
use crate::model::ports::PASSED_ON;
use crate::model::service::Instance;
use crate::telemetry::audit::{Record, Who};

/// In an answer: the id of its request, as the audit log names it.
const REQUEST_ID: HeaderName = HeaderName::from_static("portolan-request-id");
/// The id that a client or a proxy gave the request.
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The status in the line of a request whose client left before the answer: the write may have been carried out.
const CLIENT_LEFT: u16 = 499;

/// A request for a write. It leaves its line when it is answered, or else when it is dropped.
pub(in crate::api) struct Audited<'a> {
    state: &'a ApiState,
    matched: &'a Match<'a>,
    head: &'a Parts,
    peer: SocketAddr,
    action: &'static str,
    /// None where the caller is not known.
    principal: Option<Principal>,
    /// What the handler says of it.
    pub(in crate::api) subject: Subject,
    is_over: bool,
}

impl<'a> Audited<'a> {
    /// None where the request is not a write.
    pub(in crate::api) fn begin(
        state: &'a ApiState,
        (matched, head): (&'a Match<'a>, &'a Parts),
        peer: SocketAddr,
        principal: Option<&Principal>,
    ) -> Option<Self> {
        let action = action(matched.route.filter(|_| matched.class.is_change())?.id)?;
        let (principal, subject) = (principal.cloned(), Subject::default());
        Some(Self { state, matched, head, peer, action, principal, subject, is_over: false })
    }

    /// Writes the line, and the request's id into the answer.
    pub(in crate::api) fn record(mut self, response: &mut Response<Body>) {
        self.is_over = true;
        if !self.gets_a_line(response) {
            return;
        }
        let code = response.extensions().get::<Code>().map(|code| code.as_str());
        let Some(request_id) = self.write(response.status().as_u16(), code) else { return };
        // Hex digits are always a header's value.
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
    }

    /// Whether an answer to a write gets a line. A heartbeat, or a register call that only renews, is not a write: what follows from it is a
    /// transition, which history has. A client over its limit could write without end, so metrics count that. For the same reason, refused
    /// heartbeats, which have a large quota, and refusals of unknown callers, who may have none, get a few lines at most.
    fn gets_a_line(&self, response: &Response<Body>) -> bool {
        let (heartbeat, unknown) = (self.action == HEARTBEAT, self.principal.is_none());
        match response.status().as_u16() {
            200..=299 => !heartbeat && response.extensions().get::<NotCounted>().is_none(),
            404 | 409 | 412 if heartbeat => false,
            429 => false,
            status if heartbeat || unknown || status == 401 => self.takes_refusal_line(),
            _ => true,
        }
    }

    fn takes_refusal_line(&self) -> bool {
        let Self { state, head, peer, .. } = self;
        let writes = state.audit.is_on() && !self.is_anothers(state);
        writes && state.access.takes_refusal_line(state.access.client_address(&head.headers, *peer))
    }

    /// Returns the line's id; none where nothing is written.
    fn write(&mut self, status: u16, code: Option<&'static str>) -> Option<String> {
        if !self.state.audit.is_on() || self.is_anothers(self.state) {
            return None;
        }
        let mut known = std::mem::take(&mut self.subject).into_known();
        complete(&mut known, self.matched.params, self.state, (200..300).contains(&status));
        let request_id = self.state.audit.request_id();
        let headers = &self.head.headers;
        self.state.audit.record(&Record {
            request_id: &request_id,
            client_request_id: headers.get(&CLIENT_REQUEST_ID).and_then(|value| value.to_str().ok()),
            who: self.principal.as_ref().map_or(Who::UNVERIFIED, Principal::who),
            client: Some(self.state.access.client_address(headers, self.peer)),
            peer: Some(self.peer.ip()),
            action: known.action.unwrap_or(self.action),
            namespace: &known.namespace,
            service: &known.service,
            id: known.id,
            instance: &known.instance,
            generation: known.generation,
            revision: known.revision,
            note: &known.note,
            status,
            code,
            passed_on: headers.contains_key(&PASSED_ON),
        });
        Some(request_id)
    }

    /// Whether another replica, which the client asked, writes the line. A client cannot keep its request out of the log by that header: it has
    /// no replica's address.
    fn is_anothers(&self, state: &ApiState) -> bool {
        let is_replica = || state.pass_on.as_ref().is_some_and(|line| line.is_replica(self.peer.ip()));
        self.head.headers.contains_key(&PASSED_ON) && is_replica()
    }
}

impl Drop for Audited<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.action != HEARTBEAT {
            self.write(CLIENT_LEFT, None);
        }
    }
}

/// Adds what the catalog knows: of a request that was refused early, whose service its path names; after a write, the new state.
fn complete(known: &mut Known, params: Params<'_>, state: &ApiState, done: bool) {
    if known.instance.is_empty() {
        params.name.clone_into(&mut known.instance);
    }
    let snapshot = state.catalog.read();
    let Some(entry) = known.id.or_else(|| read_id(params.id)).and_then(|id| snapshot.by_id(&id)) else { return };
    let service = entry.service();
    if known.id.is_none() {
        known.id = Some(service.id);
        service.key.namespace().clone_into(&mut known.namespace);
        service.key.name().clone_into(&mut known.service);
    }
    let instance = service.instance(&known.instance);
    if done && (known.instance.is_empty() || instance.is_some()) {
        known.revision = Some(service.revision);
        known.generation = instance.map(Instance::shown_generation);
    }
}

/// The word for a route that writes; none for the others.
fn action(route: RouteId) -> Option<&'static str> {
    match route {
        RouteId::Register => Some("register"),
        RouteId::Deregister | RouteId::DeregisterByName | RouteId::Instance => Some("deregister"),
        RouteId::Check => Some("check"),
        RouteId::Heartbeat => Some(HEARTBEAT),
        RouteId::Drain => Some("drain"),
        RouteId::Undrain => Some("undrain"),
        RouteId::Acknowledge => Some("acknowledge"),
        RouteId::Unacknowledge => Some("unacknowledge"),
        _ => None,
    }
}

const HEARTBEAT: &str = "heartbeat";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes::{ROUTES, Verb};

    #[test]
    fn every_route_that_writes_has_a_word() {
        let without = ROUTES.iter().filter(|route| (route.verb != Verb::Get) != action(route.id).is_some());
        assert_eq!(without.map(|route| route.path).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
