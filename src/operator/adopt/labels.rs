//! Which core Services are adopted by the label `portolan.dev/adopt`, on them or on their namespace, and which objects that takes. Pure.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use uuid::Uuid;

use crate::model::name::{InstanceName, Namespace, ServiceKey};
use crate::operator::crd::{FromSpec, PortRef, ServiceResource, ServiceSpec};
use crate::operator::endpoints::{ADOPTED_LABEL, CoreService, ObjectName};
use crate::operator::ingest::Objects;
use crate::operator::kubernetes::follow::News;

/// The labels that were listed and watched.
#[derive(Debug, Default)]
pub(super) struct Labels {
    services: Option<BTreeMap<ObjectName, CoreService>>,
    /// The namespaces with the label.
    namespaces: Option<HashSet<String>>,
}

/// A write that makes the objects what the labels ask for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Creates an object that adopts a core Service.
    Create(ServiceKey, Box<ServiceResource>),
    /// Deletes the object with that uid, at that revision.
    Delete(ServiceKey, Uuid, u64),
}

/// What the labels ask for and the objects lack.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    pub(super) changes: Vec<Change>,
    /// Adopted core Services whose name another object has.
    pub(super) taken: HashSet<ServiceKey>,
}

impl Change {
    pub(super) fn key(&self) -> &ServiceKey {
        match self {
            Self::Create(key, _) | Self::Delete(key, ..) => key,
        }
    }
}

impl Labels {
    /// Whether everything was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.services.is_some() && self.namespaces.is_some()
    }

    /// Takes in news of core Services.
    pub(super) fn services(&mut self, news: &News<CoreService>) {
        let name = |service: &CoreService| (service.namespace.clone(), service.name.clone());
        match (news, &mut self.services) {
            (News::Listed(all), services) => {
                *services = Some(all.iter().map(|service| (name(service), service.clone())).collect());
            }
            (News::Put(service), Some(services)) => drop(services.insert(name(service), (**service).clone())),
            (News::Removed(service), Some(services)) => drop(services.remove(&name(service))),
            (_, None) => {}
        }
    }

    /// Takes in news of the namespaces with the label.
    pub(super) fn namespaces(&mut self, news: News<String>) {
        match (news, &mut self.namespaces) {
            (News::Listed(all), namespaces) => *namespaces = Some(all.into_iter().collect()),
            (News::Put(name), Some(namespaces)) => drop(namespaces.insert(*name)),
            (News::Removed(name), Some(namespaces)) => drop(namespaces.remove(&*name)),
            (_, None) => {}
        }
    }

    /// What `objects` lack, in the `watched` namespaces, none for all.
    pub(super) fn difference(&self, objects: &Objects, watched: &[Namespace]) -> Difference {
        let mut difference = Difference::default();
        let is_watched = |namespace: &str| watched.is_empty() || watched.iter().any(|of| of.as_str() == namespace);
        for service in self.services.iter().flat_map(BTreeMap::values).filter(|of| is_watched(&of.namespace)) {
            let (Some(from), Some(key)) = (self.asked(service), key_of(service)) else { continue };
            match objects.get(&key) {
                None => difference.changes.push(Change::Create(key, Box::new(object(service, from)))),
                Some(known) if known.adopted_for().is_none() => drop(difference.taken.insert(key)),
                Some(_) => {}
            }
        }
        for (key, known) in objects {
            let Some(uid) = known.adopted_for().filter(|_| !known.parsed.deleting && is_watched(key.namespace()))
            else {
                continue;
            };
            let service =
                self.services.as_ref().and_then(|all| all.get(&(key.namespace().to_owned(), key.name().to_owned())));
            let service = service.filter(|service| service.uid == uid && self.asked(service).is_some());
            let from = known.parsed.from.as_ref().map(|from| &from.from);
            if !service.zip(from).is_some_and(|(service, from)| is_what_is_asked(service, from)) {
                difference.changes.push(Change::Delete(key.clone(), known.id(), known.revision()));
            }
        }
        difference
    }

    /// What to adopt of a core Service; none if nothing asks for it. The label of a namespace does not ask for one whose endpoints others
    /// write.
    fn asked(&self, service: &CoreService) -> Option<FromSpec> {
        let all = || self.namespaces.as_ref().is_some_and(|labelled| labelled.contains(&service.namespace));
        let of_api_server = (&*service.namespace, &*service.name) == ("default", "kubernetes");
        match service.label.as_deref() {
            Some("false") => return None,
            Some(_) => {}
            None if all() && service.selects => {}
            None => return None,
        }
        let (_, first) = service.ports.first().filter(|_| !service.is_external && !of_api_server)?;
        let first = Some(first.as_str()).filter(|name| !name.is_empty());
        let port = named_port(service).or(first).map(|name| PortRef::Name(name.to_owned()));
        Some(FromSpec { service: service.name.clone(), port, scheme: None })
    }
}

/// The port that the label names. A value that is no port's name asks for any.
fn named_port(service: &CoreService) -> Option<&str> {
    let label = service.label.as_deref().filter(|label| *label != "true");
    label.filter(|label| label.parse::<InstanceName>().is_ok())
}

/// Whether `from` is as the label asks, so that nothing is written: with the port that it names, else with one that is there.
fn is_what_is_asked(service: &CoreService, from: &FromSpec) -> bool {
    let has = |name: &str| service.ports.iter().any(|(_, own)| own == name);
    let port = match (named_port(service), &from.port) {
        (Some(named), Some(PortRef::Name(name))) => named == name,
        (Some(_), _) => false,
        (None, None) => service.ports.len() == 1,
        (None, Some(PortRef::Name(name))) => has(name),
        (None, Some(PortRef::Number(number))) => service.ports.iter().any(|(own, _)| own == number),
    };
    port && from.service == service.name
}

fn key_of(service: &CoreService) -> Option<ServiceKey> {
    Some(ServiceKey::new(&service.namespace.parse().ok()?, &service.name.parse().ok()?))
}

/// The object, which goes with its core Service.
fn object(service: &CoreService, from: FromSpec) -> ServiceResource {
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        name: service.name.clone(),
        uid: service.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let metadata = ObjectMeta {
        name: Some(service.name.clone()),
        namespace: Some(service.namespace.clone()),
        labels: Some(BTreeMap::from([(ADOPTED_LABEL.to_owned(), "true".to_owned())])),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    let spec = ServiceSpec { from: Some(from), ..ServiceSpec::default() };
    ServiceResource { metadata, spec, status: None }
}
