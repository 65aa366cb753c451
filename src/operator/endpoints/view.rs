//! The slices and core Services that were listed and watched.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::former::Former;
use super::slice::Port;
use super::{CoreService, ObjectName, Slice};
use crate::model::name::Namespace;
use crate::operator::kubernetes::follow::{Followed, News};

/// For how long a right has to be missing before it counts: an API server that has just started may refuse what it grants a moment later.
pub(in crate::operator) const REFUSED: Duration = Duration::from_secs(15);

/// News of one of the watches.
#[derive(Debug)]
pub(in crate::operator) enum EndpointNews {
    Slices(Followed<Slice>),
    Services(Followed<CoreService>),
}

/// Whose endpoints are others now.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::operator) enum Touched {
    Nobody,
    /// Those of the objects that adopt this core Service.
    Service(ObjectName),
    /// Those of every object that adopts.
    Everyone,
}

/// All slices and core Services, as far as they matter.
#[derive(Debug, Default)]
pub struct Endpoints {
    /// Whether this install adopts at all.
    pub(super) on: bool,
    /// The namespaces, or all of them, whose slices were not listed yet, and those whose core Services were not.
    unlisted: [HashSet<Option<Namespace>>; 2],
    slices: HashMap<ObjectName, Slice>,
    /// The slices of a core Service, by name.
    by_service: HashMap<ObjectName, BTreeSet<String>>,
    pub(super) services: HashMap<ObjectName, CoreService>,
    pub(super) former: Former,
    /// Why nothing can be seen, in the Kubernetes API's words.
    pub(super) forbidden: Option<String>,
    /// The first refusal since the start.
    refused_at: Option<Instant>,
}

impl Endpoints {
    /// For an install that adopts in these namespaces, or in all: nothing is known before the first lists.
    pub fn on(scopes: &[Option<Namespace>]) -> Self {
        let unlisted = || scopes.iter().cloned().collect();
        Self { on: true, unlisted: [unlisted(), unlisted()], ..Self::default() }
    }

    /// For an install that does not.
    pub fn off() -> Self {
        Self::default()
    }

    /// Whether everything was listed.
    pub(super) fn is_listed(&self) -> bool {
        self.on && self.unlisted.iter().all(HashSet::is_empty)
    }

    /// Whether objects that adopt need not wait for a list any more.
    pub(super) fn is_settled(&self) -> bool {
        !self.on || self.is_listed() || self.forbidden.is_some()
    }

    /// Takes in news.
    pub(in crate::operator) fn take(&mut self, news: EndpointNews, now: Instant) -> Touched {
        let listed = self.is_listed();
        let touched = match news {
            EndpointNews::Slices(Followed::News(news)) => self.slices(news, now),
            EndpointNews::Services(Followed::News(news)) => self.services(news, now),
            EndpointNews::Slices(Followed::NotServed) | EndpointNews::Services(Followed::NotServed) => {
                return Touched::Nobody;
            }
            EndpointNews::Slices(Followed::Forbidden(why)) | EndpointNews::Services(Followed::Forbidden(why)) => {
                // What was listed once stands until it is listed again.
                let lasts = now.saturating_duration_since(*self.refused_at.get_or_insert(now)) >= REFUSED;
                if listed || !lasts || self.forbidden.is_some() {
                    return Touched::Nobody;
                }
                self.forbidden = Some(why);
                return Touched::Everyone;
            }
        };
        if self.is_listed() && !listed {
            self.forbidden = None;
            return Touched::Everyone;
        }
        touched
    }

    /// Forgets what core Services and slices were, once that has counted long enough: which core Services that concerns.
    pub(in crate::operator) fn expire(&mut self, now: Instant) -> Vec<ObjectName> {
        self.former.expire(now)
    }

    fn slices(&mut self, news: News<Slice>, now: Instant) -> Touched {
        match news {
            News::Listed(scope, all) => {
                let listed: HashSet<ObjectName> = all.iter().map(name_of).collect();
                let gone: Vec<ObjectName> = missing(&self.slices, &listed, scope.as_ref());
                for name in &gone {
                    self.remove(name);
                }
                for slice in all {
                    self.replace(slice, now);
                }
                self.unlisted[0].remove(&scope);
                Touched::Everyone
            }
            News::Put(slice) => {
                let before = self.slices.get(&name_of(&slice));
                if before.is_some_and(|before| before.uid == slice.uid && before.revision >= slice.revision) {
                    return Touched::Nobody;
                }
                let service = service_of(&slice);
                // Its label may have changed, although no controller does that.
                let moved = self.replace(*slice, now).is_some_and(|before| before.service != service.1);
                if moved { Touched::Everyone } else { Touched::Service(service) }
            }
            News::Removed(slice) => match self.remove(&name_of(&slice)) {
                Some(gone) => Touched::Service(service_of(&gone)),
                None => Touched::Nobody,
            },
        }
    }

    /// Puts a slice in the place of its former version, which it returns.
    fn replace(&mut self, mut slice: Slice, now: Instant) -> Option<Slice> {
        let (name, service) = (name_of(&slice), service_of(&slice));
        let before = self.slices.remove(&name);
        match &before {
            Some(before) => {
                slice.continue_from(before);
                self.unindex(before);
                if before.service == slice.service {
                    self.former.ports(&service, before, &slice, now);
                }
            }
            None if !slice.endpoints.is_empty() => self.former.came(&service),
            None => {}
        }
        self.by_service.entry(service).or_default().insert(slice.name.clone());
        self.slices.insert(name, slice);
        before
    }

    fn remove(&mut self, name: &ObjectName) -> Option<Slice> {
        let slice = self.slices.remove(name)?;
        self.unindex(&slice);
        self.former.removed(&service_of(&slice), &slice);
        Some(slice)
    }

    fn unindex(&mut self, slice: &Slice) {
        let service = service_of(slice);
        if let Some(names) = self.by_service.get_mut(&service) {
            names.remove(&slice.name);
            if names.is_empty() {
                self.by_service.remove(&service);
            }
        }
    }

    fn services(&mut self, news: News<CoreService>, now: Instant) -> Touched {
        let name = |service: &CoreService| (service.namespace.clone(), service.name.clone());
        match news {
            News::Listed(scope, all) => {
                let listed: HashSet<ObjectName> = all.iter().map(name).collect();
                for gone in missing(&self.services, &listed, scope.as_ref()) {
                    self.set(gone, None, now);
                }
                for service in &all {
                    self.set(name(service), Some(service), now);
                }
                self.unlisted[1].remove(&scope);
                Touched::Everyone
            }
            News::Put(service) => self.set(name(&service), Some(&*service), now),
            News::Removed(service) => self.set(name(&service), None, now),
        }
    }

    /// The core Service is now as `after` says, or gone.
    fn set(&mut self, name: ObjectName, after: Option<&CoreService>, now: Instant) -> Touched {
        let before = match after {
            Some(after) => self.services.insert(name.clone(), after.clone()),
            None => self.services.remove(&name),
        };
        if before.as_ref() == after {
            return Touched::Nobody;
        }
        if let Some(before) = before {
            self.former.changed(before, after, now);
        }
        Touched::Service(name)
    }

    /// The slices of a core Service, each with the ports that it had until a moment ago.
    pub(super) fn slices_of(&self, service: &ObjectName) -> impl Iterator<Item = (&Slice, &[Port])> {
        let names = self.by_service.get(service).into_iter().flatten();
        let present = names.filter_map(|name| self.slices.get(&(service.0.clone(), name.clone())));
        let all = present.chain(self.former.slices_of(service));
        all.map(|slice| (slice, self.former.ports_of(service, &slice.name)))
    }
}

/// Those of `known` in the namespace, or in all, that are not listed any more.
fn missing<T>(
    known: &HashMap<ObjectName, T>,
    listed: &HashSet<ObjectName>,
    scope: Option<&Namespace>,
) -> Vec<ObjectName> {
    let here = |name: &ObjectName| scope.is_none_or(|scope| scope.as_str() == name.0);
    known.keys().filter(|name| here(name) && !listed.contains(*name)).cloned().collect()
}

fn name_of(slice: &Slice) -> ObjectName {
    (slice.namespace.clone(), slice.name.clone())
}

fn service_of(slice: &Slice) -> ObjectName {
    (slice.namespace.clone(), slice.service.clone())
}
