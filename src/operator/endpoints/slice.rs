//! What is kept of an EndpointSlice: a few dozen bytes for each endpoint.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint as EndpointObject, EndpointSlice};
use kube::ResourceExt as _;

use super::core_service::is_tcp;
use crate::model::service::{MAX_INSTANCES_PER_SERVICE, MAX_ZONE};
use crate::model::text;
use crate::model::time::UnixMs;

/// The core Service of a slice.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Longest name of an endpoint that is kept, in bytes: that of a pod.
const MAX_NAME: usize = 253;

/// A slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    pub(super) uid: String,
    pub(super) revision: u64,
    /// Its core Service; empty if it names none.
    pub(super) service: String,
    pub(super) ports: Vec<Port>,
    /// By name and address; no more than a service of ours may have.
    pub(super) endpoints: Vec<Endpoint>,
    /// Those beyond that.
    pub(super) beyond: usize,
    /// Those without an address that can be used.
    pub(super) unusable: usize,
}

/// A TCP port of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// That of the core Service's port; empty for its only one.
    pub(super) name: String,
    pub(super) number: u16,
    /// `http` and the like, if the port says what it speaks.
    pub(super) protocol: Option<String>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The pod's name, else the endpoint's host name; empty if it has neither.
    pub(super) name: Box<str>,
    /// Whether it is a pod's: its addresses of both families are one instance.
    pub(super) is_pod: bool,
    pub(super) address: IpAddr,
    pub(super) zone: Box<str>,
    pub(super) state: EndpointState,
    /// When the slice was written with this state, wall clock: the same on every replica.
    pub(super) since: UnixMs,
}

/// What the kubelet found, by way of the slice's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointState {
    /// Whether it may be used: its probes pass, or it is published in any case.
    pub usable: bool,
    /// Whether its pod is being deleted.
    pub terminating: bool,
}

impl From<EndpointSlice> for Slice {
    fn from(object: EndpointSlice) -> Self {
        let label = object.labels().get(SERVICE_LABEL).cloned();
        let since = written_at(&object);
        let total = object.endpoints.len();
        let mut endpoints: Vec<Endpoint> = object.endpoints.iter().filter_map(|of| endpoint(of, since)).collect();
        let unusable = total - endpoints.len();
        endpoints.sort_by(|a, b| (&a.name, a.address).cmp(&(&b.name, b.address)));
        let beyond = endpoints.len().saturating_sub(MAX_INSTANCES_PER_SERVICE);
        endpoints.truncate(MAX_INSTANCES_PER_SERVICE);
        let tcp = object.ports.iter().flatten().filter(|port| is_tcp(port.protocol.as_deref()));
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            revision: object.resource_version().and_then(|text| text.parse().ok()).unwrap_or_default(),
            service: label.unwrap_or_default(),
            ports: tcp
                .filter_map(|port| {
                    let number = u16::try_from(port.port?).ok().filter(|number| *number > 0)?;
                    let name = port.name.clone().unwrap_or_default();
                    Some(Port { name, number, protocol: port.app_protocol.clone() })
                })
                .collect(),
            endpoints,
            beyond,
            unusable,
        }
    }
}

impl Slice {
    /// Takes over since when each endpoint is in its state from the version `before`.
    pub(super) fn continue_from(&mut self, before: &Self) {
        for endpoint in &mut self.endpoints {
            let place = |known: &Endpoint| (&known.name, known.address).cmp(&(&endpoint.name, endpoint.address));
            let known = before.endpoints.binary_search_by(place).ok().and_then(|at| before.endpoints.get(at));
            if let Some(known) = known.filter(|known| known.state == endpoint.state) {
                endpoint.since = known.since;
            }
        }
    }
}

/// The last write, else the creation.
fn written_at(object: &EndpointSlice) -> UnixMs {
    let writes = object.managed_fields().iter().filter_map(|entry| entry.time.as_ref());
    let last = writes.chain(&object.metadata.creation_timestamp).map(|time| time.0.as_millisecond()).max();
    UnixMs(last.unwrap_or_default())
}

/// The endpoint, if it has an address. If it has several, the first, as all consumers do.
fn endpoint(object: &EndpointObject, since: UnixMs) -> Option<Endpoint> {
    let address: IpAddr = object.addresses.first()?.parse().ok()?;
    let target = object.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    let pod = target.and_then(|target| target.name.as_deref());
    let name = pod.or(object.hostname.as_deref()).filter(|name| name.len() <= MAX_NAME).unwrap_or_default();
    let zone = object.zone.as_deref().filter(|zone| text::accept(zone, MAX_ZONE).is_ok()).unwrap_or_default();
    let conditions = object.conditions.clone().unwrap_or_default();
    // By the API's definition: absent means ready, and serving as ready says.
    let ready = conditions.ready.unwrap_or(true);
    let terminating = conditions.terminating.unwrap_or(false);
    let usable = if terminating { conditions.serving.unwrap_or(ready) } else { ready };
    let state = EndpointState { usable, terminating };
    let is_pod = pod == Some(name);
    Some(Endpoint { name: name.into(), is_pod, address: address.to_canonical(), zone: zone.into(), state, since })
}
