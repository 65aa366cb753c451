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

/// A request for a write, and its answer.
pub(in crate::api) struct Audited<'a> {
    pub(in crate::api) matched: &'a Match<'a>,
    pub(in crate::api) head: &'a Parts,
    pub(in crate::api) peer: SocketAddr,
    /// None where the caller is not known.
    pub(in crate::api) principal: Option<&'a Principal>,
    pub(in crate::api) subject: Subject,
}

impl Audited<'_> {
    /// Writes the line, and the request's id into the answer; nothing for what is no write.
    pub(in crate::api) fn record(self, state: &ApiState, response: &mut Response<Body>) {
        let Some(action) = self.matched.route.and_then(|route| action(route.id)) else { return };
        if !gets_a_line(action, response) || !state.audit.is_on() || self.is_anothers(state) {
            return;
        }
        let Self { matched, head, peer, principal, subject } = self;
        let mut known = subject.into_known();
        complete(&mut known, matched.params, state, response.status().is_success());
        let request_id = state.audit.request_id();
        let sent = |name: &HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        state.audit.record(&Record {
            request_id: &request_id,
            client_request_id: sent(&CLIENT_REQUEST_ID),
            who: principal.map_or(Who::UNVERIFIED, Principal::who),
            client: Some(state.access.client_address(&head.headers, peer)),
            peer: Some(peer.ip()),
            action: known.action.unwrap_or(action),
            namespace: &known.namespace,
            service: &known.service,
            id: known.id,
            instance: &known.instance,
            generation: known.generation,
            revision: known.revision,
            note: &known.note,
            status: response.status().as_u16(),
            code: response.extensions().get::<Code>().map(|code| code.as_str()),
            passed_on: head.headers.contains_key(&PASSED_ON),
        });
        // Hex digits are always a header's value.
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
    }

    /// Whether another replica, which the client asked, writes the line. A client cannot keep its request out of the log by that header: it has
    /// no replica's address.
    fn is_anothers(&self, state: &ApiState) -> bool {
        let is_replica = || state.pass_on.as_ref().is_some_and(|line| line.is_replica(self.peer.ip()));
        self.head.headers.contains_key(&PASSED_ON) && is_replica()
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

/// Whether an answer to a write gets a line. A heartbeat, or a register call that only renews, is no write: what follows from it is a
/// transition, which history has. A client over its limit could write without end, so metrics count that.
fn gets_a_line(action: &str, response: &Response<Body>) -> bool {
    let renewed = response.extensions().get::<NotCounted>().is_some();
    match response.status().as_u16() {
        200..=299 => action != HEARTBEAT && !renewed,
        429 => false,
        _ => true,
    }
}
