//! Which endpoints a core Service should have, and what the object's status says about them. Pure.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::pack::{Endpoint, EndpointState, Family, Group, Location, Slice};
use super::proofs::Addresses;
use crate::model::name::InstanceName;
use crate::model::outcome::Health;
use crate::model::ports::{LookupError, PublishGate};
use crate::model::service::{Instance, Service};
use crate::model::url::Host;
use crate::operator::crd::{PublishSpec, WhenAllDown};
use crate::operator::status::{Publication, listed};

/// Most endpoints of one core Service: what kube-proxy and DNS servers are made for.
const MAX_PER_SERVICE: usize = 1000;
/// The label that lets Portolan publish in a namespace.
pub(super) const ALLOWED: &str = "portolan.dev/publish=allowed";

/// What is read of a core Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CoreService {
    /// It has a selector, so that Kubernetes keeps its endpoints.
    pub(super) selects: bool,
    /// It is an alias of a DNS name, and has no endpoints.
    pub(super) external: bool,
    /// It is `kubernetes` in `default`, whose endpoints are the API servers.
    pub(super) of_api_server: bool,
    /// The names of its TCP ports; the name of an only port may be empty.
    pub(super) ports: Vec<String>,
}

/// What is known of a host name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Its last addresses.
    Found(Arc<[IpAddr]>),
    /// The same, while the resolver does not answer for the other family.
    Partly(Arc<[IpAddr]>),
    /// The name server says that there is no such name, but not for long.
    Missing,
    /// It has none.
    Failed(LookupError),
    /// Nothing yet.
    #[default]
    Unknown,
}

/// What a plan is made from.
pub(super) struct PlanInput<'a> {
    pub(super) namespace: &'a str,
    pub(super) publish: &'a PublishSpec,
    /// The service in the catalog; none if nothing of it can be used.
    pub(super) service: Option<&'a Service>,
    /// Whether the namespace has the label.
    pub(super) allowed: bool,
    pub(super) core: Option<&'a CoreService>,
    pub(super) names: &'a dyn Fn(&str) -> Lookup,
    pub(super) gate: &'a dyn PublishGate,
    /// Whether an instance with a host name passed a probe while the name had the address.
    pub(super) proved: &'a dyn Fn(&InstanceName, IpAddr) -> bool,
    /// Addresses that others publish for the core Service, each with its port, or none for all ports.
    pub(super) foreign: &'a HashSet<(IpAddr, Option<u16>)>,
    /// The slices as they are.
    pub(super) current: &'a [Slice],
}

/// What should be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) wanted: BTreeMap<Location, Endpoint>,
    /// The name of the core Service's port.
    pub(super) port: String,
    pub(super) publication: Publication,
    /// Addresses of healthy instances that serve once they are proved.
    pub(super) unproved: Addresses,
}

/// The plan.
pub(super) fn plan(input: &PlanInput<'_>) -> Plan {
    match port(input) {
        Ok(port) => planned(input, port),
        Err((reason, message)) => refused(reason, message),
    }
}

fn refused(reason: &'static str, message: String) -> Plan {
    let publication = Publication { published: false, reason, message };
    Plan { wanted: BTreeMap::new(), port: String::new(), publication, unproved: Addresses::new() }
}

/// The name of the port, if the core Service may have our endpoints.
fn port(input: &PlanInput<'_>) -> Result<String, (&'static str, String)> {
    let name = &input.publish.service;
    if !input.allowed {
        let message = format!(
            "endpoints are published only in namespaces that a cluster administrator has labelled: kubectl label namespace {} {ALLOWED}",
            input.namespace
        );
        return Err(("NamespaceNotAllowed", message));
    }
    let Some(core) = input.core else {
        return Err((
            "ServiceNotFound",
            format!("there is no core Service {name} in this namespace; create it, without a selector"),
        ));
    };
    if core.of_api_server {
        let message = format!("the core Service {name} is that of the Kubernetes API server; name one of your own");
        return Err(("Reserved", message));
    }
    if core.external {
        return Err((
            "ExternalName",
            format!("the core Service {name} is an alias (ExternalName); give it another type"),
        ));
    }
    if core.selects {
        let message = format!(
            "the core Service {name} has a selector, so Kubernetes keeps its endpoints; name one without a selector"
        );
        return Err(("HasSelector", message));
    }
    let has = core.ports.iter().filter(|port| !port.is_empty()).cloned().collect::<Vec<_>>().join(", ");
    match (&input.publish.port, &core.ports[..]) {
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(("PortNotFound", format!("the core Service {name} has no TCP port; give it one"))),
        (None, _) => Err((
            "PortNotFound",
            format!("the core Service {name} has several TCP ports; name one of them in publish.port: {has}"),
        )),
        (Some(port), ports) if ports.contains(port) => Ok(port.clone()),
        (Some(port), _) => {
            let has = if has.is_empty() { "none with a name".to_owned() } else { has };
            Err(("PortNotFound", format!("the core Service {name} has no TCP port named {port}; it has: {has}")))
        }
    }
}

fn planned(input: &PlanInput<'_>, port: String) -> Plan {
    let mut found = Found::default();
    for instance in input.service.iter().flat_map(|service| &service.instances) {
        found.add(input, instance);
    }
    let Found { mut wanted, left_out, unproved } = found;
    let kept = input.publish.when_all_down == WhenAllDown::Keep && keep(&mut wanted, input.current);
    let left = listed(&left_out, |(name, why)| format!("{name} ({why})"), ", ");
    let name = &input.publish.service;
    let (published, reason, message) = match (wanted.is_empty(), kept) {
        (true, _) if left_out.is_empty() => {
            (false, "NothingToPublish", "no instance can be used as written".to_owned())
        }
        (true, _) => (false, "NothingToPublish", format!("no instance can be published: {left}")),
        (false, true) => {
            let what = format!(
                "no instance can be used, and the endpoints of the Service {name} that were ready last stay ready"
            );
            (true, "KeptWhileDown", with_left_out(what, &left))
        }
        (false, false) => {
            (true, "Published", with_left_out(format!("the instances are the endpoints of the Service {name}"), &left))
        }
    };
    Plan { wanted, port, publication: Publication { published, reason, message }, unproved }
}

fn with_left_out(what: String, left: &str) -> String {
    if left.is_empty() { what } else { format!("{what}; left out: {left}") }
}

#[derive(Default)]
struct Found {
    wanted: BTreeMap<Location, Endpoint>,
    left_out: Vec<(String, String)>,
    unproved: Addresses,
}

impl Found {
    fn add(&mut self, input: &PlanInput<'_>, instance: &Instance) {
        let port = instance.spec.base_url.port();
        match addresses(input, instance, port) {
            Ok(addresses) => addresses.into_iter().for_each(|address| self.put(input, instance, address, port)),
            Err(why) => self.leave_out(instance, why),
        }
    }

    fn put(&mut self, input: &PlanInput<'_>, instance: &Instance, address: IpAddr, port: u16) {
        if input.foreign.contains(&(address, Some(port))) || input.foreign.contains(&(address, None)) {
            return self.leave_out(instance, format!("another EndpointSlice contains {address} for the same Service"));
        }
        let group = Group { family: Family::of(address), port };
        let mut endpoint =
            Endpoint { address, hostname: instance.name.to_string(), zone: zone(instance), state: state(instance) };
        if endpoint.state.serving && !is_proved(input, instance, (group, address)) {
            endpoint.state.serving = false;
            self.unproved.entry(instance.name.clone()).or_default().push(address);
        }
        let rank = |endpoint: &Endpoint| (endpoint.state.ready(), endpoint.state.serving);
        if let Some(held) = self.wanted.get_mut(&(group, address)) {
            // Two instances at one address: it is as good as the better one.
            if rank(held) < rank(&endpoint) {
                *held = endpoint;
            }
        } else if self.wanted.len() >= MAX_PER_SERVICE {
            self.leave_out(instance, format!("there are {MAX_PER_SERVICE} endpoints already"));
        } else {
            self.wanted.insert((group, address), endpoint);
        }
    }

    fn leave_out(&mut self, instance: &Instance, why: String) {
        self.left_out.push((instance.name.to_string(), why));
    }
}

/// The instance's addresses, or why it has none that may be published. One refused address refuses the name, since a name that mixes them is
/// an attack.
fn addresses(input: &PlanInput<'_>, instance: &Instance, port: u16) -> Result<Vec<IpAddr>, String> {
    let found = match instance.spec.base_url.host() {
        Host::Ip(ip) => vec![ip.to_canonical()],
        Host::Name(name) => match (input.names)(name) {
            Lookup::Found(found) => found.iter().map(IpAddr::to_canonical).collect(),
            Lookup::Partly(found) => {
                let held = as_published(input, instance, port, "").unwrap_or_default();
                let unanswered = held.into_iter().filter(|held| found.iter().all(|ip| ip.is_ipv4() != held.is_ipv4()));
                found.iter().map(IpAddr::to_canonical).chain(unanswered).collect()
            }
            Lookup::Failed(error @ (LookupError::NotFound | LookupError::TooMany)) => return Err(error.to_string()),
            // The probes resolve it, too: health decides whether what is published stays ready.
            Lookup::Missing => as_published(input, instance, port, &LookupError::NotFound.to_string())?,
            Lookup::Failed(LookupError::NoAnswer) => {
                as_published(input, instance, port, "the resolver does not answer for its name")?
            }
            Lookup::Unknown => as_published(input, instance, port, "its name is being resolved")?,
        },
    };
    for address in &found {
        input.gate.publishable(*address, port).map_err(|why| format!("{address} {why}"))?;
    }
    Ok(found)
}

/// The addresses that are published for the instance: an earlier leader may have resolved its name.
fn as_published(input: &PlanInput<'_>, instance: &Instance, port: u16, why: &str) -> Result<Vec<IpAddr>, String> {
    let at_port = input.current.iter().filter(|slice| slice.group.is_some_and(|group| group.port == port));
    let own = at_port.flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.hostname == instance.name.as_str());
    let found: Vec<IpAddr> = own.map(|endpoint| endpoint.address).collect();
    if found.is_empty() { Err(why.to_owned()) } else { Ok(found) }
}

/// Whether the instance's health is about this address: it is written in the manifest, or was proved since the name has it.
fn is_proved(input: &PlanInput<'_>, instance: &Instance, (group, address): Location) -> bool {
    let here = input.current.iter().filter(|slice| slice.group == Some(group)).flat_map(|slice| &slice.endpoints);
    let mut own = here.filter(|held| held.address == address && held.hostname == instance.name.as_str());
    matches!(instance.spec.base_url.host(), Host::Ip(_))
        || (input.proved)(&instance.name, address)
        || own.any(|held| held.state.serving)
}

/// What is not proved does not serve.
fn state(instance: &Instance) -> EndpointState {
    EndpointState { serving: instance.health == Health::Healthy, terminating: instance.is_drained() }
}

/// The zone, if it is one that Kubernetes accepts.
fn zone(instance: &Instance) -> Option<String> {
    let zone = &instance.spec.zone;
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let outer = |c: char| c.is_ascii_alphanumeric();
    (zone.starts_with(outer) && zone.ends_with(outer) && zone.chars().all(inner)).then(|| zone.clone())
}

/// If nothing is ready, makes those ready that were so last, unless they are drained by now. Whether there are any.
fn keep(wanted: &mut BTreeMap<Location, Endpoint>, current: &[Slice]) -> bool {
    if wanted.values().any(|endpoint| endpoint.state.ready()) {
        return false;
    }
    let ready = |slice: &Slice| {
        let group = slice.group;
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.state.ready());
        ready.filter_map(|endpoint| Some((group?, endpoint.address))).collect::<Vec<_>>()
    };
    let was_ready: HashSet<Location> = current.iter().flat_map(ready).collect();
    let mut kept = false;
    for (location, endpoint) in wanted {
        if was_ready.contains(location) && !endpoint.state.terminating {
            endpoint.state.serving = true;
            kept = true;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::Reason;
    use crate::model::service::InstanceSpec;

    struct NoTens;

    impl PublishGate for NoTens {
        fn publishable(&self, address: IpAddr, _: u16) -> Result<(), String> {
            if address.to_string().starts_with("10.") { Err("is a pod's".to_owned()) } else { Ok(()) }
        }

        fn learn(&self, _: Vec<crate::model::ports::LearnedNetwork>) {}
    }

    fn instance(name: &str, url: &str, health: Health, weight: u16) -> Instance {
        Instance::sample(name, InstanceSpec { weight, ..InstanceSpec::sample(url) }, (health, Reason::Passed))
    }

    fn service(instances: Vec<Instance>) -> Service {
        Service::sample("orders", instances)
    }

    fn planned_over(instances: Vec<Instance>, names: &dyn Fn(&str) -> Lookup, keep: bool, current: &[Slice]) -> Plan {
        let when_all_down = if keep { WhenAllDown::Keep } else { WhenAllDown::Empty };
        plan(&PlanInput {
            namespace: "shop",
            publish: &PublishSpec { service: "db".into(), port: None, when_all_down },
            service: Some(&service(instances)),
            allowed: true,
            core: Some(&CoreService { ports: vec![String::new()], ..CoreService::default() }),
            names,
            proved: &|_: &InstanceName, address: IpAddr| address != IpAddr::from(UNPROVED),
            gate: &NoTens,
            foreign: &HashSet::from([
                (IpAddr::from([192, 0, 2, 99]), Some(80)),
                (IpAddr::from([192, 0, 2, 6]), Some(81)),
                (IpAddr::from([192, 0, 2, 98]), None),
            ]),
            current,
        })
    }

    fn shown(plan: &Plan) -> Vec<(String, bool, bool)> {
        plan.wanted.values().map(|e| (e.address.to_string(), e.state.ready(), e.state.terminating)).collect()
    }

    const UNPROVED: [u8; 4] = [192, 0, 2, 77];
    const UP: Health = Health::Healthy;
    const DOWN: Health = Health::Unhealthy;

    #[test]
    fn the_api_servers_own_service_is_refused() {
        let refused = plan(&PlanInput {
            namespace: "shop",
            publish: &PublishSpec { service: "kubernetes".into(), port: None, when_all_down: WhenAllDown::Empty },
            service: Some(&service(vec![instance("a", "tcp://192.0.2.1:443", UP, 100)])),
            allowed: true,
            core: Some(&CoreService { of_api_server: true, ports: vec!["https".into()], ..CoreService::default() }),
            names: &|_: &str| -> Lookup { unreachable!("its host is an address") },
            gate: &NoTens,
            proved: &|_: &InstanceName, _: IpAddr| true,
            foreign: &HashSet::new(),
            current: &[],
        });
        assert!(refused.wanted.is_empty() && refused.publication.reason == "Reserved", "{refused:?}");
    }

    #[test]
    fn an_address_is_as_good_as_the_best_instance_there() {
        let both =
            |a, b| vec![instance("a", "tcp://192.0.2.1:80", a, 100), instance("b", "tcp://192.0.2.1:80", b, 100)];
        for (a, b, ready) in [(UP, DOWN, true), (DOWN, UP, true), (DOWN, DOWN, false), (Health::Unknown, DOWN, false)] {
            let plan = planned_over(both(a, b), &|_| Lookup::Unknown, false, &[]);
            assert_eq!(shown(&plan), [("192.0.2.1".to_owned(), ready, false)]);
        }
        let drained = vec![instance("a", "tcp://192.0.2.1:80", UP, 0)];
        let plan = planned_over(drained, &|_| Lookup::Unknown, false, &[]);
        assert_eq!(shown(&plan), [("192.0.2.1".to_owned(), false, true)]);
    }

    #[test]
    fn a_name_keeps_what_is_published_until_it_is_resolved() {
        let group = Group { family: Family::V4, port: 80 };
        let state = EndpointState { serving: true, terminating: false };
        let held = Endpoint { address: IpAddr::from([192, 0, 2, 5]), hostname: "a".into(), zone: None, state };
        let slice = Slice { name: "db-0".into(), group: Some(group), endpoints: vec![held], intact: true };
        let named = || vec![instance("a", "tcp://db.corp:80", UP, 100)];
        for unknown in [Lookup::Unknown, Lookup::Missing, Lookup::Failed(LookupError::NoAnswer)] {
            let plan = planned_over(named(), &|_| unknown.clone(), false, std::slice::from_ref(&slice));
            assert_eq!(shown(&plan), [("192.0.2.5".to_owned(), true, false)]);
            assert!(planned_over(named(), &|_| unknown.clone(), false, &[]).wanted.is_empty());
        }
        let other = || Lookup::Partly([IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])].into());
        let partly = planned_over(named(), &|_| other(), false, std::slice::from_ref(&slice));
        let kept = partly.wanted.values().map(|endpoint| (endpoint.address, endpoint.state.ready()));
        let new = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        assert_eq!(kept.collect::<Vec<_>>(), [(IpAddr::from([192, 0, 2, 5]), true), (new, true)]);
        let found = |ips: &[[u8; 4]]| Lookup::Found(ips.iter().map(|ip| IpAddr::from(*ip)).collect());
        let gone = |_: &str| Lookup::Failed(LookupError::NotFound);
        assert!(planned_over(named(), &gone, false, std::slice::from_ref(&slice)).wanted.is_empty());
        let mixed = found(&[[192, 0, 2, 6], [10, 0, 0, 1]]);
        let plan = planned_over(named(), &|_| mixed.clone(), false, std::slice::from_ref(&slice));
        assert_eq!((shown(&plan), plan.publication.reason), (vec![], "NothingToPublish"));
    }

    #[test]
    fn a_new_address_of_a_name_serves_once_it_is_proved() {
        let found = [IpAddr::from([192, 0, 2, 6]), IpAddr::from(UNPROVED)];
        let over = |health, current: &[Slice]| {
            let named = vec![instance("a", "tcp://db.corp:80", health, 100)];
            planned_over(named, &|_| Lookup::Found(found.into()), false, current)
        };
        let both = |first, second| [("192.0.2.6".to_owned(), first, false), ("192.0.2.77".to_owned(), second, false)];
        let plan = over(UP, &[]);
        assert_eq!(shown(&plan), both(true, false));
        assert_eq!(plan.unproved, [("a".parse().expect("a name"), vec![found[1]])].into());
        assert!(over(DOWN, &[]).unproved.is_empty(), "its health comes first");
        let group = Group { family: Family::V4, port: 80 };
        let state = EndpointState { serving: true, terminating: false };
        let held = Endpoint { address: found[1], hostname: "a".into(), zone: None, state };
        let slice = Slice { name: "db-0".into(), group: Some(group), endpoints: vec![held], intact: true };
        assert_eq!(shown(&over(UP, &[slice])), both(true, true), "an earlier leader proved it");
        let written = vec![instance("a", "tcp://192.0.2.77:80", UP, 100)];
        let plan = planned_over(written, &|_| Lookup::Unknown, false, &[]);
        assert_eq!(shown(&plan), [("192.0.2.77".to_owned(), true, false)], "its health is about that address");
    }

    #[test]
    fn an_address_of_another_is_left_out_at_that_port() {
        let found = [[192, 0, 2, 6], [192, 0, 2, 98], [192, 0, 2, 99]].map(IpAddr::from);
        let named = vec![instance("a", "tcp://db.corp:80", UP, 100)];
        let plan = planned_over(named, &|_| Lookup::Found(found.into()), false, &[]);
        assert_eq!(shown(&plan), [("192.0.2.6".to_owned(), true, false)]);
        let message = plan.publication.message;
        for taken in ["192.0.2.98", "192.0.2.99"] {
            assert!(
                message.contains(&format!("a (another EndpointSlice contains {taken} for the same Service)")),
                "{message}"
            );
        }
    }

    #[test]
    fn keep_keeps_what_was_ready_and_nothing_else() {
        let all = |a, b, weight| {
            vec![instance("a", "tcp://192.0.2.1:80", a, weight), instance("b", "tcp://192.0.2.2:80", b, 100)]
        };
        let current = |plan: &Plan| {
            let (group, _) = *plan.wanted.keys().next().expect("an endpoint");
            vec![Slice {
                name: "db-0".into(),
                group: Some(group),
                endpoints: plan.wanted.values().cloned().collect(),
                intact: true,
            }]
        };
        let over = |instances, keep, current: &[Slice]| planned_over(instances, &|_| Lookup::Unknown, keep, current);
        let before = current(&over(all(UP, DOWN, 100), true, &[]));
        let ready = |plan: &Plan| plan.wanted.values().map(|e| e.state.ready()).collect::<Vec<_>>();
        let kept = over(all(DOWN, DOWN, 100), true, &before);
        assert_eq!((ready(&kept), kept.publication.reason), (vec![true, false], "KeptWhileDown"));
        assert_eq!(ready(&over(all(DOWN, DOWN, 100), true, &current(&kept))), [true, false], "it stays so");
        assert_eq!(ready(&over(all(DOWN, DOWN, 0), true, &before)), [false, false], "it was drained on purpose");
        assert_eq!(ready(&over(all(DOWN, UP, 100), true, &before)), [false, true], "another is back");
        assert_eq!(ready(&over(all(DOWN, DOWN, 100), false, &before)), [false, false]);
        assert_eq!(ready(&over(all(DOWN, DOWN, 100), true, &[])), [false, false], "none was ready");
    }
}
