//! Which core Services are adopted by the label `portolan.dev/adopt`, on them or on their namespace, and which objects that takes. Pure.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use uuid::Uuid;

use crate::model::name::{InstanceName, Namespace, ServiceKey};
use crate::operator::crd::{FromSpec, PortRef, ServiceResource, ServiceSpec};
use crate::operator::endpoints::{ADOPTED_LABEL, CoreService, ObjectName, REFUSED};
use crate::operator::ingest::ObservedObject;
use crate::operator::kubernetes::follow::News;

/// The labels that were listed and watched.
#[derive(Debug)]
pub(super) struct Labels {
    /// The watched namespaces, none for all.
    watched: Vec<Namespace>,
    /// Namespaces, or all of them, whose core Services were not listed yet.
    unlisted: HashSet<Option<Namespace>>,
    services: BTreeMap<ObjectName, CoreService>,
    /// The namespaces with the label; none before they were listed.
    namespaces: Option<HashSet<String>>,
    /// When it was first refused to list namespaces.
    refused_at: Option<Instant>,
}

/// Which objects news concerns.
#[derive(Debug, PartialEq)]
pub(super) enum Concerned {
    /// The objects with these names.
    Objects(Vec<ServiceKey>),
    Everyone,
}

/// A write that makes an object what the labels ask for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Creates an object that adopts a core Service.
    Create(ServiceKey, Box<ServiceResource>),
    /// Deletes the object with that uid, at that revision.
    Delete(ServiceKey, Uuid, u64),
}

/// How an object compares with what the labels ask for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Finding {
    /// It is as it should be, or there should be none and there is none.
    Fits,
    /// An adopted core Service has the name of an object that is not Portolan's.
    Taken,
    Differs(Change),
}

impl Change {
    pub(super) fn key(&self) -> &ServiceKey {
        match self {
            Self::Create(key, _) | Self::Delete(key, ..) => key,
        }
    }
}

impl Labels {
    /// Nothing is known before the first lists.
    pub(super) fn new(watched: Vec<Namespace>) -> Self {
        let unlisted = scopes(&watched).into_iter().collect();
        Self { watched, unlisted, services: BTreeMap::new(), namespaces: None, refused_at: None }
    }

    /// Whether everything was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.unlisted.is_empty() && self.namespaces.is_some()
    }

    /// Takes in news of core Services.
    pub(super) fn services(&mut self, news: &News<CoreService>) -> Concerned {
        let name = |service: &CoreService| (service.namespace.clone(), service.name.clone());
        let before = match news {
            News::Listed(scope, all) => {
                let here = |namespace: &str| scope.as_ref().is_none_or(|scope| scope.as_str() == namespace);
                self.services.retain(|(namespace, _), _| !here(namespace));
                self.services.extend(all.iter().map(|service| (name(service), service.clone())));
                self.unlisted.remove(scope);
                return Concerned::Everyone;
            }
            News::Put(service) => self.services.insert(name(service), (**service).clone()),
            News::Removed(service) => self.services.remove(&name(service)),
        };
        let (News::Put(service) | News::Removed(service)) = news else { return Concerned::Everyone };
        let same = before.as_ref() == self.services.get(&name(service));
        Concerned::Objects(if same { Vec::new() } else { key_of(service).into_iter().collect() })
    }

    /// Takes in news of the namespaces with the label.
    pub(super) fn namespaces(&mut self, news: News<String>) -> Concerned {
        match (news, &mut self.namespaces) {
            (News::Listed(_, all), namespaces) => {
                *namespaces = Some(all.into_iter().collect());
                Concerned::Everyone
            }
            (News::Put(name), Some(namespaces)) => {
                let news = namespaces.insert((*name).clone());
                Concerned::Objects(if news { self.keys_in(&name) } else { Vec::new() })
            }
            (News::Removed(name), Some(namespaces)) => {
                let news = namespaces.remove(&*name);
                Concerned::Objects(if news { self.keys_in(&name) } else { Vec::new() })
            }
            (_, None) => Concerned::Objects(Vec::new()),
        }
    }

    /// Namespaces may not be listed. True if that is for an install that watches only some, and so can do without their labels.
    pub(super) fn namespaces_refused(&mut self, now: Instant) -> bool {
        self.refused_at.get_or_insert(now);
        !self.watched.is_empty()
    }

    /// Whether the right to list namespaces has been missing for so long that they count as having no label.
    pub(super) fn gives_up_namespaces(&mut self, now: Instant) -> bool {
        let lasts = self.refused_at.is_some_and(|since| now.saturating_duration_since(since) >= REFUSED);
        let gives_up = self.namespaces.is_none() && !self.watched.is_empty() && lasts;
        if gives_up {
            self.namespaces = Some(HashSet::new());
        }
        gives_up
    }

    /// The names of all core Services.
    pub(super) fn keys(&self) -> impl Iterator<Item = ServiceKey> {
        self.services.values().filter_map(key_of)
    }

    fn keys_in(&self, namespace: &str) -> Vec<ServiceKey> {
        let from = self.services.range((namespace.to_owned(), String::new())..);
        from.take_while(|((of, _), _)| of == namespace).filter_map(|(_, service)| key_of(service)).collect()
    }

    /// Compares the object `key`, if there is one, with what the labels ask for.
    pub(super) fn compare(&self, key: &ServiceKey, known: Option<&ObservedObject>) -> Finding {
        if !self.watched.is_empty() && !self.watched.iter().any(|of| of.as_str() == key.namespace()) {
            return Finding::Fits;
        }
        let service = self.services.get(&(key.namespace().to_owned(), key.name().to_owned()));
        let asked = service.and_then(|service| Some((service, self.asked(service)?)));
        let adopted_for = known.map(ObservedObject::adopted_for);
        match (asked, known, adopted_for.flatten()) {
            (Some((service, from)), None, _) => {
                Finding::Differs(Change::Create(key.clone(), Box::new(object(service, from))))
            }
            (Some(_), Some(_), None) => Finding::Taken,
            (asked, Some(known), Some(uid)) if !known.parsed.deleting => {
                let from = known.parsed.from.as_ref().map(|from| &from.from);
                let asked = asked.filter(|(service, _)| service.uid == uid).zip(from);
                if asked.is_some_and(|((service, _), from)| is_what_is_asked(service, from)) {
                    Finding::Fits
                } else {
                    Finding::Differs(Change::Delete(key.clone(), known.id(), known.revision()))
                }
            }
            (..) => Finding::Fits,
        }
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
        let (first, _) = service.ports.first().filter(|_| !service.is_external && !of_api_server)?;
        // By number, so that the object stays as it is when its port gets another name.
        let port = named_port(service).map_or(PortRef::Number(*first), |name| PortRef::Name(name.to_owned()));
        Some(FromSpec { service: service.name.clone(), port: Some(port), scheme: None })
    }
}

/// The port that the label names. A value that is not a port's name asks for any.
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

/// What is listed: each watched namespace, or all of them at once.
pub(super) fn scopes(watched: &[Namespace]) -> Vec<Option<Namespace>> {
    if watched.is_empty() { vec![None] } else { watched.iter().cloned().map(Some).collect() }
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
