//! What the cluster has: slices, core Services and the namespaces that allow publishing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::object::{Content, Held, Owner};
use super::pack::Slice;
use super::plan::CoreService;
use crate::model::name::ServiceKey;
use crate::model::tombstones::Tombstones;
use crate::operator::kubernetes::follow::News;

/// Namespace and name.
pub(super) type ObjectName = (String, String);

/// Which objects a piece of news concerns.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Concerned {
    Nobody,
    /// The owner of a slice, if it has one of ours, and everyone who publishes for the core Service.
    Slice(Option<ServiceKey>, ObjectName),
    /// Everyone who publishes for the core Service.
    Service(ObjectName),
    /// Everyone in the namespace.
    Namespace(String),
    Everyone,
}

/// A slice of ours, read for its owner.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) slice: Slice,
    pub(super) owner: Owner,
    /// The core Service, and the name of the port.
    pub(super) service: String,
    pub(super) port: String,
}

/// Slices of which late answers to writes are ignored.
const TOMBSTONES: usize = 4096;

/// Uids of slices that are gone.
#[derive(Debug)]
struct Gone(Tombstones<String>);

impl Default for Gone {
    fn default() -> Self {
        Self(Tombstones::new(TOMBSTONES))
    }
}

/// Everything that was listed and watched.
#[derive(Debug, Default)]
pub(super) struct View {
    slices: Option<HashMap<ObjectName, Held>>,
    /// Our slices by owner, by name.
    by_owner: HashMap<ServiceKey, BTreeSet<String>>,
    /// All slices by core Service, by name.
    by_service: HashMap<ObjectName, BTreeSet<String>>,
    /// Slices of ours that no longer say whose they are.
    ownerless: BTreeSet<ObjectName>,
    services: Option<HashMap<ObjectName, CoreService>>,
    allowed: Option<HashSet<String>>,
    gone: Gone,
}

impl View {
    /// Whether everything was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.slices.is_some() && self.services.is_some() && self.allowed.is_some()
    }

    /// Takes in news of slices.
    pub(super) fn slices(&mut self, news: News<EndpointSlice>) -> Concerned {
        match news {
            News::Listed(_, all) => {
                self.slices = Some(HashMap::new());
                (self.by_owner, self.by_service, self.ownerless) = Default::default();
                for slice in &all {
                    self.put(slice);
                }
                Concerned::Everyone
            }
            News::Put(slice) => self.put(&slice),
            News::Removed(slice) => self.remove(&name_of(&*slice), &Held::read(&slice).uid),
        }
    }

    /// Takes in the answer to a write. The watch may be ahead of it: a slice that is gone, or was replaced by another of its name, stays so.
    pub(super) fn written(&mut self, object: &EndpointSlice) -> Concerned {
        let held = Held::read(object);
        let known = self.slices.as_ref().and_then(|slices| slices.get(&name_of(object)));
        let replaced = known.is_some_and(|known| known.uid != held.uid && known.revision > held.revision);
        if replaced || self.gone.0.order(&held.uid).is_some() { Concerned::Nobody } else { self.put(object) }
    }

    fn put(&mut self, object: &EndpointSlice) -> Concerned {
        let (name, held) = (name_of(object), Held::read(object));
        let Some(slices) = &mut self.slices else { return Concerned::Nobody };
        if slices.get(&name).is_some_and(|before| before.uid == held.uid && before.revision >= held.revision) {
            return Concerned::Nobody;
        }
        self.gone.0.forget(&held.uid);
        self.unindex(&name);
        let service = (name.0.clone(), held.service.clone());
        let owner = held.owner().map(|owner| owner.key.clone());
        match (&held.content, &owner) {
            (_, Some(owner)) => drop(self.by_owner.entry(owner.clone()).or_default().insert(name.1.clone())),
            (Content::Ours { .. }, None) => drop(self.ownerless.insert(name.clone())),
            (Content::Foreign(_), None) => {}
        }
        self.by_service.entry(service.clone()).or_default().insert(name.1.clone());
        if let Some(slices) = &mut self.slices {
            slices.insert(name, held);
        }
        Concerned::Slice(owner, service)
    }

    /// Forgets a slice, but not another one of its name.
    pub(super) fn remove(&mut self, name: &ObjectName, uid: &str) -> Concerned {
        let known = self.slices.as_ref().and_then(|slices| slices.get(name)).filter(|known| known.uid == uid);
        self.gone.0.note(uid.to_owned(), known.map_or(0, |known| known.revision));
        if known.is_none() {
            return Concerned::Nobody;
        }
        let Some(held) = self.unindex(name) else { return Concerned::Nobody };
        Concerned::Slice(held.owner().map(|owner| owner.key.clone()), (name.0.clone(), held.service))
    }

    fn unindex(&mut self, name: &ObjectName) -> Option<Held> {
        let held = self.slices.as_mut()?.remove(name)?;
        if let Some(owner) = held.owner() {
            drop_from(&mut self.by_owner, &owner.key, &name.1);
        }
        drop_from(&mut self.by_service, &(name.0.clone(), held.service.clone()), &name.1);
        self.ownerless.remove(name);
        Some(held)
    }

    /// Takes in news of core Services.
    pub(super) fn services(&mut self, news: News<Service>) -> Concerned {
        match news {
            News::Listed(_, all) => {
                self.services = Some(all.iter().map(|service| (name_of(service), core_service(service))).collect());
                Concerned::Everyone
            }
            News::Put(service) => {
                let (name, core) = (name_of(&*service), core_service(&service));
                let Some(services) = &mut self.services else { return Concerned::Nobody };
                let before = services.insert(name.clone(), core.clone());
                if before == Some(core) { Concerned::Nobody } else { Concerned::Service(name) }
            }
            News::Removed(service) => {
                let name = name_of(&*service);
                let known = self.services.as_mut().and_then(|services| services.remove(&name)).is_some();
                if known { Concerned::Service(name) } else { Concerned::Nobody }
            }
        }
    }

    /// Takes in news of the namespaces with the label.
    pub(super) fn namespaces(&mut self, news: News<Namespace>) -> Concerned {
        match news {
            News::Listed(_, all) => {
                self.allowed = Some(all.iter().map(ResourceExt::name_any).collect());
                Concerned::Everyone
            }
            News::Put(namespace) => {
                let name = namespace.name_any();
                let new = self.allowed.as_mut().is_some_and(|allowed| allowed.insert(name.clone()));
                if new { Concerned::Namespace(name) } else { Concerned::Nobody }
            }
            News::Removed(namespace) => {
                let name = namespace.name_any();
                let known = self.allowed.as_mut().is_some_and(|allowed| allowed.remove(&name));
                if known { Concerned::Namespace(name) } else { Concerned::Nobody }
            }
        }
    }

    /// The slices of ours that the object `key` owns, or one of that name did.
    pub(super) fn owned(&self, key: &ServiceKey) -> Vec<Owned> {
        let namespace = key.namespace();
        let names = self.by_owner.get(key).into_iter().flatten();
        names.filter_map(|name| as_owned(self.held(namespace, name)?)).collect()
    }

    /// A slice.
    pub(super) fn held(&self, namespace: &str, name: &str) -> Option<&Held> {
        self.slices.as_ref()?.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The addresses and ports that others publish for the core Service, whom the object `key` gives way to: of two of our own, the first by
    /// name stays. Without a port, the address is taken at all of them.
    pub(super) fn foreign(&self, key: &ServiceKey, service: &str) -> HashSet<(IpAddr, Option<u16>)> {
        let names = self.by_service.get(&(key.namespace().to_owned(), service.to_owned()));
        let held = names.into_iter().flatten().filter_map(|name| self.held(key.namespace(), name));
        let addresses = held.flat_map(|held| match &held.content {
            Content::Foreign(addresses) => addresses.clone(),
            Content::Ours { owner: Some(owner), slice, .. } if owner.key < *key => {
                let port = slice.group.map(|group| group.port);
                slice.endpoints.iter().map(|endpoint| (endpoint.address, port)).collect()
            }
            Content::Ours { .. } => Vec::new(),
        });
        addresses.collect()
    }

    /// A core Service.
    pub(super) fn core(&self, key: &ServiceKey, service: &str) -> Option<&CoreService> {
        self.services.as_ref()?.get(&(key.namespace().to_owned(), service.to_owned()))
    }

    /// Whether the namespace has the label.
    pub(super) fn is_allowed(&self, namespace: &str) -> bool {
        self.allowed.as_ref().is_some_and(|allowed| allowed.contains(namespace))
    }

    /// Every object that owns a slice of ours, whether it exists or not.
    pub(super) fn owners(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_owner.keys()
    }

    /// Whether it owns a slice of ours.
    pub(super) fn owns_any(&self, key: &ServiceKey) -> bool {
        self.by_owner.contains_key(key)
    }

    /// Slices of ours without an owner.
    pub(super) fn ownerless(&self) -> impl Iterator<Item = &ObjectName> {
        self.ownerless.iter()
    }
}

fn as_owned(held: &Held) -> Option<Owned> {
    match &held.content {
        Content::Ours { owner: Some(owner), slice, port } => Some(Owned {
            slice: slice.clone(),
            owner: owner.clone(),
            service: held.service.clone(),
            port: port.clone(),
        }),
        _ => None,
    }
}

fn drop_from<K: std::hash::Hash + Eq>(index: &mut HashMap<K, BTreeSet<String>>, key: &K, name: &str) {
    if let Some(names) = index.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            index.remove(key);
        }
    }
}

fn name_of(object: &impl ResourceExt) -> ObjectName {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn core_service(service: &Service) -> CoreService {
    let Some(spec) = &service.spec else { return CoreService::default() };
    let ports = spec.ports.iter().flatten();
    let tcp = ports.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let names: BTreeMap<i32, String> = tcp.map(|port| (port.port, port.name.clone().unwrap_or_default())).collect();
    let place = (service.namespace(), service.name_any());
    CoreService {
        of_api_server: (place.0.as_deref(), &*place.1) == (Some("default"), "kubernetes"),
        selects: spec.selector.as_ref().is_some_and(|selector| !selector.is_empty()),
        external: spec.type_.as_deref() == Some("ExternalName"),
        ports: names.into_values().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(uid: &str, revision: u64) -> EndpointSlice {
        let metadata = json!({
            "namespace": "shop", "name": "users-1", "uid": uid, "resourceVersion": revision.to_string(),
            "labels": {"kubernetes.io/service-name": "users"},
        });
        serde_json::from_value(json!({"metadata": metadata, "addressType": "IPv4", "endpoints": []})).expect("a slice")
    }

    #[test]
    fn a_late_answer_brings_back_no_slice_and_removes_no_other_one() {
        let name = ("shop".to_owned(), "users-1".to_owned());
        let mut view = View::default();
        view.slices(News::Listed(None, Vec::new()));
        let known =
            |view: &View| view.slices.as_ref().and_then(|slices| slices.get(&name)).map(|held| held.uid.clone());
        view.slices(News::Removed(Box::new(slice("a", 3))));
        assert_eq!((view.written(&slice("a", 2)), known(&view)), (Concerned::Nobody, None));
        assert_ne!(view.written(&slice("b", 4)), Concerned::Nobody);
        view.slices(News::Put(Box::new(slice("c", 6))));
        assert_eq!((view.written(&slice("b", 5)), known(&view).as_deref()), (Concerned::Nobody, Some("c")));
        assert_eq!((view.remove(&name, "b"), known(&view).as_deref()), (Concerned::Nobody, Some("c")));
        assert_ne!(view.remove(&name, "c"), Concerned::Nobody);
        assert_eq!((view.written(&slice("c", 7)), known(&view)), (Concerned::Nobody, None));
    }
}
