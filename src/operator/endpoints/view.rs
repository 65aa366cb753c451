//! The slices and core Services that were listed and watched.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::{CoreService, ObjectName, Slice};
use crate::operator::kubernetes::follow::{Followed, News};

/// For how long a right has to be missing before it counts: an API server that has just started may refuse what it grants a moment later.
const REFUSED: Duration = Duration::from_secs(15);

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
    pub(super) slices: Option<HashMap<ObjectName, Slice>>,
    /// The slices of a core Service, by name.
    by_service: HashMap<ObjectName, BTreeSet<String>>,
    pub(super) services: Option<HashMap<ObjectName, CoreService>>,
    /// Why nothing can be seen, in the Kubernetes API's words.
    pub(super) forbidden: Option<String>,
    /// The first refusal since the start.
    refused_at: Option<Instant>,
}

impl Endpoints {
    /// For an install that adopts: nothing is known before the first lists.
    pub fn on() -> Self {
        Self { on: true, ..Self::default() }
    }

    /// For an install that does not.
    pub fn off() -> Self {
        Self::default()
    }

    /// Whether everything was listed.
    pub(super) fn is_listed(&self) -> bool {
        self.slices.is_some() && self.services.is_some()
    }

    /// Whether objects that adopt need not wait for a list any more.
    pub(super) fn is_settled(&self) -> bool {
        !self.on || self.is_listed() || self.forbidden.is_some()
    }

    /// Takes in news.
    pub(in crate::operator) fn take(&mut self, news: EndpointNews, now: Instant) -> Touched {
        let listed = self.is_listed();
        let touched = match news {
            EndpointNews::Slices(Followed::News(news)) => self.slices(news),
            EndpointNews::Services(Followed::News(news)) => self.services(news),
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

    fn slices(&mut self, news: News<Slice>) -> Touched {
        match news {
            News::Listed(all) => {
                let before = self.slices.replace(HashMap::new()).unwrap_or_default();
                self.by_service = HashMap::new();
                for mut slice in all {
                    if let Some(before) = before.get(&name_of(&slice)) {
                        slice.continue_from(before);
                    }
                    self.insert(slice);
                }
                Touched::Everyone
            }
            News::Put(slice) => self.put(*slice),
            News::Removed(slice) => match self.remove(&name_of(&slice)) {
                Some(gone) => Touched::Service((gone.namespace, gone.service)),
                None => Touched::Nobody,
            },
        }
    }

    fn put(&mut self, mut slice: Slice) -> Touched {
        let name = name_of(&slice);
        let Some(slices) = &self.slices else { return Touched::Nobody };
        if let Some(before) = slices.get(&name) {
            if before.uid == slice.uid && before.revision >= slice.revision {
                return Touched::Nobody;
            }
            slice.continue_from(before);
        }
        let before = self.remove(&name);
        let service = (slice.namespace.clone(), slice.service.clone());
        // Its label may have changed, although no controller does that.
        let moved = before.is_some_and(|before| before.service != slice.service);
        self.insert(slice);
        if moved { Touched::Everyone } else { Touched::Service(service) }
    }

    fn insert(&mut self, slice: Slice) {
        let service = (slice.namespace.clone(), slice.service.clone());
        self.by_service.entry(service).or_default().insert(slice.name.clone());
        if let Some(slices) = &mut self.slices {
            slices.insert(name_of(&slice), slice);
        }
    }

    fn remove(&mut self, name: &ObjectName) -> Option<Slice> {
        let slice = self.slices.as_mut()?.remove(name)?;
        let service = (slice.namespace.clone(), slice.service.clone());
        if let Some(names) = self.by_service.get_mut(&service) {
            names.remove(&slice.name);
            if names.is_empty() {
                self.by_service.remove(&service);
            }
        }
        Some(slice)
    }

    fn services(&mut self, news: News<CoreService>) -> Touched {
        let name = |service: &CoreService| (service.namespace.clone(), service.name.clone());
        match news {
            News::Listed(all) => {
                self.services = Some(all.into_iter().map(|service| (name(&service), service)).collect());
                Touched::Everyone
            }
            News::Put(service) => {
                let name = name(&service);
                let Some(services) = &mut self.services else { return Touched::Nobody };
                let before = services.insert(name.clone(), (*service).clone());
                if before == Some(*service) { Touched::Nobody } else { Touched::Service(name) }
            }
            News::Removed(service) => {
                let name = name(&service);
                let known = self.services.as_mut().and_then(|services| services.remove(&name)).is_some();
                if known { Touched::Service(name) } else { Touched::Nobody }
            }
        }
    }

    /// The slices of a core Service, in order of name.
    pub(super) fn slices_of(&self, service: &ObjectName) -> impl Iterator<Item = &Slice> {
        let names = self.by_service.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.as_ref()?.get(&(service.0.clone(), name.clone())))
    }
}

fn name_of(slice: &Slice) -> ObjectName {
    (slice.namespace.clone(), slice.name.clone())
}
