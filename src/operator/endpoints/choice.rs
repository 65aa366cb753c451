//! Which endpoints of a core Service become instances of the object that adopts it.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::slice::{Endpoint, Port, Slice};
use super::{CoreService, EndpointState, Endpoints, ObjectName};
use crate::model::name::InstanceName;
use crate::model::registration::derived_name;
use crate::model::service::{MAX_INSTANCES_PER_SERVICE, MAX_ZONE};
use crate::model::text;
use crate::model::time::UnixMs;
use crate::operator::crd::{FromSpec, PortRef};

/// The components with the rights, of which an install has one, as messages name them.
pub(in crate::operator) const COMPONENT: &str = "deploy/components/adopt (or adopt-namespaced)";

/// What became of adopting, for the object's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// Whether the instances are what the core Service has.
    pub adopted: bool,
    /// Why, in one CamelCase word.
    pub reason: &'static str,
    /// Why, in a sentence, and what to do. It says nothing that changes with the number or the health of endpoints, as long as all fit.
    pub message: String,
}

/// The endpoints for one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// In order of name.
    pub picks: Vec<Pick>,
    /// The greatest resourceVersion among the slices.
    pub revision: u64,
    /// What became of it.
    pub adoption: Adoption,
}

/// An endpoint that becomes an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// The instance's name: the pod's, if that is a label.
    pub name: InstanceName,
    /// The pod's name, if the instance's differs.
    pub full_name: Option<String>,
    /// Where it is reached: `scheme://address:port`.
    pub url: String,
    /// Its failure domain; may be empty.
    pub zone: String,
    /// What the kubelet found.
    pub state: EndpointState,
    /// Since when, wall clock.
    pub since: UnixMs,
}

impl Endpoints {
    /// The endpoints for the object in `namespace` that says `from` and has the instances `written` of its own. None while the first lists
    /// are not there.
    pub fn choose(&self, namespace: &str, from: &FromSpec, written: &HashSet<InstanceName>) -> Option<Choice> {
        if !self.is_settled() {
            return None;
        }
        let service: ObjectName = (namespace.to_owned(), from.service.clone());
        let choice = match self.ports(&service, from) {
            Ok((core, ports)) => self.picked(&service, core, &ports, from, written),
            Err((reason, message)) => {
                Choice { picks: Vec::new(), revision: 0, adoption: Adoption { adopted: false, reason, message } }
            }
        };
        Some(choice)
    }

    /// The core Service and the name of its port, then the name that it had until a moment ago; or why nothing can be adopted from it.
    fn ports(&self, service: &ObjectName, from: &FromSpec) -> Result<(&CoreService, Vec<String>), Refusal> {
        if !self.on {
            let message = format!("adopting is off; a cluster administrator switches it on with {COMPONENT}");
            return Err(("Disabled", message));
        }
        if !self.is_listed() {
            let why = self.forbidden.as_deref().unwrap_or_default();
            let message =
                format!("this ServiceAccount may not read core Services and their endpoints; apply {COMPONENT}: {why}");
            return Err(("Forbidden", message));
        }
        let former = self.former.core(service).and_then(|core| Some((core, port(core, from).ok()?)));
        let name = &from.service;
        let missing = || ("ServiceNotFound", format!("there is no core Service {name} in this namespace; create it"));
        let present = self.services.get(service).ok_or_else(missing);
        let present = present.and_then(|core| Ok((core, port(core, from)?)));
        match (present, former) {
            (Ok((core, port)), former) => Ok((core, [port].into_iter().chain(former.map(|(_, port)| port)).collect())),
            (Err(("ServiceNotFound" | "PortNotFound", _)), Some((core, port))) => Ok((core, vec![port])),
            (Err(refusal), _) => Err(refusal),
        }
    }

    fn picked(
        &self,
        service: &ObjectName,
        core: &CoreService,
        ports: &[String],
        from: &FromSpec,
        written: &HashSet<InstanceName>,
    ) -> Choice {
        let mut found = Found::default();
        for (slice, former) in self.slices_of(service) {
            found.add(
                slice,
                ports.iter().find_map(|name| named(&slice.ports, name).or(named(former, name))),
                core.is_v6,
            );
        }
        let revision = found.revision;
        let Found { by_pod, unusable, beyond, .. } = found;
        let room = MAX_INSTANCES_PER_SERVICE.saturating_sub(written.len());
        let left = beyond + by_pod.len().saturating_sub(room);
        let mut taken = written.clone();
        let picks: Vec<Pick> = by_pod
            .into_values()
            .take(room)
            .map(|(endpoint, port)| pick(endpoint, port, from.scheme.as_deref(), &mut taken))
            .collect();
        let adoption = adoption(&from.service, picks.len(), left, unusable);
        let mut picks = picks;
        picks.sort_by(|a, b| a.name.cmp(&b.name));
        Choice { picks, revision, adoption }
    }
}

/// The reason and the message.
type Refusal = (&'static str, String);

/// The name of the port of the core Service, or why it has none for `from`.
fn port(core: &CoreService, from: &FromSpec) -> Result<String, Refusal> {
    let name = &from.service;
    if core.is_external {
        let message =
            format!("the core Service {name} is an alias (ExternalName), which has no endpoints; name another");
        return Err(("ExternalName", message));
    }
    let has = core.ports.iter().map(|(number, name)| format!("{number} {name}").trim_end().to_owned());
    let has = has.collect::<Vec<_>>().join(", ");
    let missing = |what: &str| {
        let has = if has.is_empty() { "no TCP port" } else { &*has };
        Err(("PortNotFound", format!("the core Service {name} has no TCP port {what}; it has {has}")))
    };
    match (&from.port, &core.ports[..]) {
        (None, [(_, only)]) => Ok(only.clone()),
        (None, []) => Err(("PortNotFound", format!("the core Service {name} has no TCP port; give it one"))),
        (None, _) => {
            let message =
                format!("the core Service {name} has several TCP ports; name one of them in from.port: {has}");
            Err(("PortNotFound", message))
        }
        (Some(PortRef::Name(wanted)), ports) if ports.iter().any(|(_, name)| name == wanted) => Ok(wanted.clone()),
        (Some(PortRef::Number(wanted)), ports) => match ports.iter().find(|(number, _)| number == wanted) {
            Some((_, name)) => Ok(name.clone()),
            None => missing(&wanted.to_string()),
        },
        (Some(PortRef::Name(wanted)), _) => missing(wanted),
    }
}

fn named<'a>(ports: &'a [Port], name: &str) -> Option<&'a Port> {
    ports.iter().find(|port| port.name == name)
}

fn adoption(service: &str, adopted: usize, left: usize, unusable: usize) -> Adoption {
    let mut message = format!("the endpoints of the core Service {service} are instances");
    if left > 0 {
        message = format!(
            "{message}; {left} are left out, because a service has at most {MAX_INSTANCES_PER_SERVICE} instances"
        );
    }
    if unusable > 0 {
        message = format!(
            "{message}; {unusable} are left out, because their slice has no such port or they have no IP address"
        );
    }
    let (reason, message) = match (adopted, left, unusable) {
        (0, 0, 0) => {
            ("NoEndpoints", format!("the core Service {service} has no endpoints now; new ones will be adopted"))
        }
        (0, 0, _) => ("NoUsableEndpoints", message),
        (_, 0, _) => ("Adopted", message),
        _ => ("TooManyEndpoints", message),
    };
    Adoption { adopted: left == 0 && reason != "NoUsableEndpoints", reason, message }
}

#[derive(Default)]
struct Found<'a> {
    /// By the pod, else by the address: one of each, since a pod of a dual-stack Service is in two slices.
    by_pod: BTreeMap<(&'a str, Option<IpAddr>), (&'a Endpoint, &'a Port)>,
    revision: u64,
    beyond: usize,
    unusable: usize,
}

impl<'a> Found<'a> {
    fn add(&mut self, slice: &'a Slice, port: Option<&'a Port>, prefers_v6: bool) {
        self.revision = self.revision.max(slice.revision);
        self.unusable += slice.unusable;
        let Some(port) = port else {
            self.unusable += slice.endpoints.len() + slice.beyond;
            return;
        };
        self.beyond += slice.beyond;
        for endpoint in &slice.endpoints {
            let address = (!endpoint.is_pod).then_some(endpoint.address);
            let rank = |endpoint: &Endpoint| {
                (endpoint.address.is_ipv6() != prefers_v6, !endpoint.state.usable, endpoint.address)
            };
            let best = self.by_pod.entry((&endpoint.name, address)).or_insert((endpoint, port));
            if rank(endpoint) < rank(best.0) {
                *best = (endpoint, port);
            }
        }
    }
}

fn pick(endpoint: &Endpoint, port: &Port, scheme: Option<&str>, taken: &mut HashSet<InstanceName>) -> Pick {
    let Endpoint { name: full, address, zone, state, since, .. } = endpoint;
    let by_address = || derived_name(&address.to_string());
    let own = if full.is_empty() { by_address() } else { derived_name(full) };
    // A written instance keeps its name.
    let name = if taken.contains(&own) { derived_name(&format!("{full} {address}")) } else { own };
    taken.insert(name.clone());
    let full_name = (!full.is_empty() && &**full != name.as_str()).then(|| text::escape(full, MAX_ZONE * 4));
    let host = match address {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let scheme = scheme.unwrap_or_else(|| spoken(port));
    let url = format!("{scheme}://{host}:{}", port.number);
    Pick { name, full_name, url, zone: zone.to_string(), state: *state, since: *since }
}

/// What the port speaks, by its `appProtocol`, else by the prefix of its name, as service meshes read it.
fn spoken(port: &Port) -> &'static str {
    let said = port.protocol.as_deref().unwrap_or_else(|| port.name.split('-').next().unwrap_or_default());
    match said.to_ascii_lowercase().as_str() {
        "http" | "kubernetes.io/h2c" | "http2" | "kubernetes.io/ws" => "http",
        "https" | "kubernetes.io/wss" => "https",
        "grpc" => "grpc",
        _ => "tcp",
    }
}

#[cfg(test)]
mod tests;
