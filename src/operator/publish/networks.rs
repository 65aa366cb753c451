//! The cluster's own networks, as far as its API names them: of Services by ServiceCIDRs, of pods and nodes by Nodes. Their addresses are never
//! published. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::ResourceExt as _;

use crate::model::ports::LearnedNetwork;
use crate::operator::kubernetes::follow::{Followed, News};

const SERVICES: &str = "the cluster's Services";
const PODS: &str = "the cluster's pods";
const NODES: &str = "the cluster's nodes";

/// What one object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stated {
    name: String,
    networks: BTreeSet<(IpNet, &'static str)>,
}

/// Everything that was listed and watched; bounded by the number of nodes and ServiceCIDRs.
#[derive(Debug, Default)]
pub(super) struct Networks {
    services: Kind,
    nodes: Kind,
}

/// The objects of one kind, by name.
#[derive(Debug, Default)]
struct Kind {
    stated: BTreeMap<String, BTreeSet<(IpNet, &'static str)>>,
    /// Whether there was an answer, if only a refusal.
    is_answered: bool,
    /// Why nothing can be seen, in the Kubernetes API's words.
    refused: Option<String>,
}

impl Stated {
    /// What a ServiceCIDR says.
    pub(super) fn of_services(object: ServiceCIDR) -> Self {
        let name = object.name_any();
        let all = object.spec.and_then(|spec| spec.cidrs).unwrap_or_default();
        Self { name, networks: networks(&all, SERVICES).collect() }
    }

    /// What a Node says: the networks of its pods, where the cluster assigns them to nodes, and its addresses.
    pub(super) fn of_node(object: Node) -> Self {
        let name = object.name_any();
        let spec = object.spec.unwrap_or_default();
        let pods: Vec<String> = spec.pod_cidrs.unwrap_or_default().into_iter().chain(spec.pod_cidr).collect();
        let addresses = object.status.and_then(|status| status.addresses).unwrap_or_default();
        let own = addresses.iter().filter_map(|address| address.address.parse::<IpAddr>().ok());
        let own = own.map(|address| (IpNet::from(address.to_canonical()), NODES));
        Self { name, networks: networks(&pods, PODS).chain(own).collect() }
    }
}

fn networks(texts: &[String], of: &'static str) -> impl Iterator<Item = (IpNet, &'static str)> {
    texts.iter().filter_map(move |text| Some((text.parse::<IpNet>().ok()?.trunc(), of)))
}

impl Networks {
    /// Takes in news of ServiceCIDRs. Whether the networks are others now.
    pub(super) fn services(&mut self, followed: Followed<Stated>) -> bool {
        self.services.take(followed, "ServiceCIDRs")
    }

    /// Takes in news of Nodes.
    pub(super) fn nodes(&mut self, followed: Followed<Stated>) -> bool {
        self.nodes.take(followed, "Nodes")
    }

    /// Whether there was an answer for both, so that what can be learned is learned.
    pub(super) fn is_answered(&self) -> bool {
        self.services.is_answered && self.nodes.is_answered
    }

    /// All of them, each once.
    pub(super) fn learned(&self) -> Vec<LearnedNetwork> {
        let all: BTreeSet<_> = self.services.stated.values().chain(self.nodes.stated.values()).flatten().collect();
        all.into_iter().map(|(net, owner)| LearnedNetwork { net: *net, owner }).collect()
    }

    /// Why the networks that were learned are not enough by themselves; none if they are.
    pub(super) fn missing(&self) -> Option<String> {
        let has = |kind: &Kind, owner: &str| kind.stated.values().flatten().any(|(_, of)| *of == owner);
        for (kind, owner, help) in
            [(&self.services, SERVICES, ""), (&self.nodes, PODS, ", or apply deploy/components/node-networks")]
        {
            if !has(kind, owner) {
                let why = kind.refused.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                return Some(format!(
                    "the networks of {owner} are not known, so name them in PORTOLAN_PUBLISH_DENY, with those of nodes{help}{why}"
                ));
            }
        }
        None
    }
}

impl Kind {
    fn take(&mut self, followed: Followed<Stated>, what: &str) -> bool {
        self.is_answered = true;
        match followed {
            Followed::News(News::Listed(_, all)) => {
                self.refused = None;
                let now = all.into_iter().map(|stated| (stated.name, stated.networks)).collect();
                let before = std::mem::replace(&mut self.stated, now);
                before != self.stated
            }
            Followed::News(News::Put(stated)) => {
                let Stated { name, networks } = *stated;
                let before = self.stated.insert(name.clone(), networks);
                before.as_ref() != self.stated.get(&name)
            }
            Followed::News(News::Removed(stated)) => {
                self.stated.remove(&stated.name).is_some_and(|networks| !networks.is_empty())
            }
            Followed::Forbidden(why) => self.cannot(what, why),
            Followed::NotServed => self.cannot(what, "the API server does not have this kind".to_owned()),
        }
    }

    /// Whether that is news.
    fn cannot(&mut self, what: &str, why: String) -> bool {
        let is_news = self.refused.is_none();
        if is_news {
            tracing::info!(
                "{what} cannot be listed, so the networks that they name are not learned; this is tried again: {why}"
            );
        }
        self.refused = Some(why);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn services(name: &str, cidrs: &[&str]) -> Stated {
        let object = json!({ "metadata": { "name": name }, "spec": { "cidrs": cidrs } });
        Stated::of_services(serde_json::from_value(object).expect("a ServiceCIDR"))
    }

    fn node(name: &str, spec: &Value, addresses: &[&str]) -> Stated {
        let addresses: Vec<Value> = addresses.iter().map(|a| json!({ "type": "InternalIP", "address": a })).collect();
        let object = json!({ "metadata": { "name": name }, "spec": spec, "status": { "addresses": addresses } });
        Stated::of_node(serde_json::from_value(object).expect("a Node"))
    }

    fn listed(all: Vec<Stated>) -> Followed<Stated> {
        Followed::News(News::Listed(None, all))
    }

    fn shown(networks: &Networks) -> Vec<String> {
        networks.learned().iter().map(|learned| format!("{} {}", learned.net, learned.owner)).collect()
    }

    #[test]
    fn networks_are_learned_and_their_changes_followed() {
        let mut networks = Networks::default();
        assert!(!networks.is_answered());
        assert!(networks.services(listed(vec![services("kubernetes", &["10.96.0.0/12", "fd00:96::/112"])])));
        assert!(!networks.is_answered() && networks.missing().is_some_and(|why| why.contains("of the cluster's pods")));
        let with = |cidr: &str| json!({ "podCIDR": cidr, "podCIDRs": [cidr] });
        let a = || node("a", &with("10.244.1.0/24"), &["192.168.10.1", "a.example.com"]);
        assert!(networks.nodes(listed(vec![a()])));
        assert!(networks.is_answered() && networks.missing().is_none());
        let first = [
            "10.96.0.0/12 the cluster's Services",
            "10.244.1.0/24 the cluster's pods",
            "192.168.10.1/32 the cluster's nodes",
        ];
        assert_eq!(shown(&networks), [&first[..], &["fd00:96::/112 the cluster's Services"]].concat());
        let put = |stated| Followed::News(News::Put(Box::new(stated)));
        assert!(!networks.nodes(put(a())), "a heartbeat of the node is not news");
        assert!(networks.nodes(put(node("b", &with("10.244.2.0/24"), &[]))));
        assert!(networks.services(put(services("more", &["10.200.0.0/16"]))));
        assert_eq!(networks.learned().len(), 6);
        assert!(networks.nodes(Followed::News(News::Removed(Box::new(a())))));
        assert_eq!(networks.learned().len(), 4);
        assert!(networks.missing().is_none(), "another node says which networks pods have");
    }

    #[test]
    fn what_cannot_be_learned_must_be_named() {
        let mut networks = Networks::default();
        assert!(networks.services(Followed::Forbidden("no such kind".to_owned())));
        assert!(!networks.services(Followed::Forbidden("no such kind".to_owned())), "it is said once");
        let why = networks.missing().expect("nothing is known");
        assert!(why.contains("PORTOLAN_PUBLISH_DENY") && why.ends_with(": no such kind"), "{why}");
        assert!(networks.services(listed(vec![services("kubernetes", &["10.96.0.0/12"])])));
        // Its network plugin gives pods their addresses, and Nodes do not say which.
        assert!(networks.nodes(listed(vec![node("a", &json!({}), &["192.168.10.1"])])));
        let why = networks.missing().expect("pods have other addresses");
        assert!(networks.is_answered() && why.contains("of the cluster's pods are not known"), "{why}");
    }
}
