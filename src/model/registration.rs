//! The rules of registering and deregistering, for every place in which a registration becomes durable. Pure.
//!
//! The standalone store applies a [`Change`] to its catalog and its file; in a cluster the registrar applies it to the object in
//! the Kubernetes API.

use std::sync::Arc;

use uuid::Uuid;

use super::name::{InstanceName, ServiceKey};
use super::outcome::Health;
use super::ports::{Caller, FullService, Registered, Registration, Removal, ReplacedUrl, ServiceRef, WriteError};
use super::service::{Instance, InstanceSpec, MAX_INSTANCES_PER_SERVICE, Owner, Service, Source};
use super::time::UnixMs;

/// What the rules read of an instance.
pub trait InstanceView {
    /// Its name.
    fn name(&self) -> &InstanceName;
    /// Who registered it.
    fn owner(&self) -> &Owner;
    /// What `If-Match` compares; none where its record was written by hand.
    fn generation(&self) -> Option<u64>;
    /// What was registered; none where its record cannot be read.
    fn spec(&self) -> Option<&InstanceSpec>;
    /// Whether readers see it as healthy.
    fn is_healthy(&self) -> bool;
    /// Since when readers see it as unhealthy, if they do.
    fn unhealthy_since(&self) -> Option<UnixMs>;
}

impl InstanceView for Instance {
    fn name(&self) -> &InstanceName {
        &self.name
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn generation(&self) -> Option<u64> {
        // A fence of 0 stands for a record without a generation.
        Some(self.shown_generation()).filter(|_| self.fence != Some(0))
    }

    fn spec(&self) -> Option<&InstanceSpec> {
        Some(&self.spec)
    }

    fn is_healthy(&self) -> bool {
        self.health == Health::Healthy
    }

    fn unhealthy_since(&self) -> Option<UnixMs> {
        (self.health == Health::Unhealthy).then_some(self.since)
    }
}

/// The service that a request is about, as it is now.
#[derive(Debug)]
pub struct Current<'a, I> {
    /// Its id; none where it was only just created and has none yet.
    pub id: Option<Uuid>,
    /// Who keeps it.
    pub source: Source,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its instances, in order of name.
    pub instances: &'a [I],
}

// Not derived: that would ask for an `I` that can be copied.
impl<I> Clone for Current<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Current<'_, I> {}

impl<'a> From<&'a Service> for Current<'a, Instance> {
    fn from(service: &'a Service) -> Self {
        Self { id: Some(service.id), source: service.source, deleting: false, instances: &service.instances }
    }
}

/// The bounds on registrations, and how much of each is used.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most services registered over REST; 0 is unlimited.
    pub max_services: usize,
    /// Services registered over REST.
    pub services: usize,
    /// Most instances of all services.
    pub max_instances: usize,
    /// Instances of all services.
    pub instances: usize,
}

/// What a registration changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it repeats what is registered.
    Renew {
        /// The instance's generation.
        generation: u64,
    },
    /// A new service with this instance alone.
    Create,
    /// A further instance, at this position.
    Add(usize),
    /// Other content of the instance at this position. Its owner stays.
    Update {
        /// Its position.
        at: usize,
        /// Whether it takes a new generation and has to be proved again.
        restart: bool,
        /// URLs that the registration replaces.
        replaced: Vec<ReplacedUrl>,
    },
}

/// What a removal takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// The whole service.
    Service,
    /// The instances at these positions, in order; others stay.
    Instances(Vec<usize>),
}

/// What `registration` changes, where `current` is what is registered under its key.
///
/// # Errors
/// The refusal: another owner's name, a manifest's service, a service that is being deleted, or a bound that is reached.
pub fn register<I: InstanceView>(
    current: Option<Current<'_, I>>,
    registration: &Registration,
    caller: &Caller,
    limits: Limits,
) -> Result<Change, WriteError> {
    let Some(current) = current else {
        if limits.max_services > 0 && limits.services >= limits.max_services {
            return Err(WriteError::TooManyServices(limits.max_services));
        }
        limits.admit_instance()?;
        return Ok(Change::Create);
    };
    if current.source == Source::Manifest {
        return Err(WriteError::ManifestOwned(registration.key()));
    }
    if current.deleting {
        return Err(WriteError::Terminating(registration.key()));
    }
    match current.instances.binary_search_by(|instance| instance.name().cmp(&registration.instance)) {
        Ok(at) => update(current.instances, at, registration, caller),
        Err(at) => add(current.instances, at, caller, limits),
    }
}

impl Limits {
    fn admit_instance(&self) -> Result<(), WriteError> {
        let most = self.max_instances;
        if self.instances >= most { Err(WriteError::TooManyInstances(most)) } else { Ok(()) }
    }
}

/// A further instance speaks under the service's name, so it takes an owner of one that is there: otherwise any token could draw
/// a name's traffic to itself.
fn add<I: InstanceView>(instances: &[I], at: usize, caller: &Caller, limits: Limits) -> Result<Change, WriteError> {
    if !instances.is_empty() && !instances.iter().any(|instance| caller.may_change(instance.owner())) {
        return Err(WriteError::NotOwner);
    }
    if instances.len() >= MAX_INSTANCES_PER_SERVICE {
        let instances = instances.iter().map(|instance| (instance.name(), instance.unhealthy_since()));
        return Err(WriteError::ServiceFull(FullService::of(instances)));
    }
    limits.admit_instance()?;
    Ok(Change::Add(at))
}

fn update<I: InstanceView>(
    instances: &[I],
    at: usize,
    registration: &Registration,
    caller: &Caller,
) -> Result<Change, WriteError> {
    let Some(instance) = instances.get(at) else { return Err(WriteError::InstanceNotFound) };
    if !caller.may_change(instance.owner()) {
        return Err(WriteError::NotOwner);
    }
    let (old, new) = (instance.spec(), &registration.spec);
    if let Some(generation) = instance.generation().filter(|_| old == Some(new)) {
        return Ok(Change::Renew { generation });
    }
    let restart = instance.generation().is_none() || old.is_none_or(|old| new.probes_differ(old));
    let replaced = old.map(|old| ReplacedUrl::between(old, new, instance.is_healthy())).unwrap_or_default();
    Ok(Change::Update { at, restart, replaced })
}

/// The answer to a registration that only repeats what readers see; none where it changes something or is refused.
pub fn renewal(service: &Arc<Service>, registration: &Registration, caller: &Caller) -> Option<Registered> {
    let instance = service.instance(registration.instance.as_str())?;
    let same =
        service.source == Source::Rest && caller.may_change(&instance.owner) && *instance.spec == registration.spec;
    let generation = InstanceView::generation(instance).filter(|_| same)?;
    Some(Registered { service: Arc::clone(service), generation, renewed: true, replaced: Vec::new() })
}

/// What `removal` takes away of `current`, the service with that key.
///
/// # Errors
/// The refusal: nothing there, another owner's, a manifest's, several instances without `all`, or another generation.
pub fn deregister<I: InstanceView>(
    key: &ServiceKey,
    current: Option<Current<'_, I>>,
    removal: &Removal,
    caller: &Caller,
) -> Result<Removed, WriteError> {
    let current = current.ok_or(WriteError::ServiceNotFound)?;
    if matches!(removal.service, ServiceRef::Id(id) if current.id != Some(id)) {
        return Err(WriteError::ServiceNotFound);
    }
    if current.source == Source::Manifest {
        return Err(WriteError::ManifestOwned(key.clone()));
    }
    if current.deleting || current.instances.is_empty() {
        return Err(WriteError::ServiceNotFound);
    }
    let leaving = leaving(current.instances, removal, caller)?;
    Ok(if leaving.len() == current.instances.len() { Removed::Service } else { Removed::Instances(leaving) })
}

/// The positions of the instances that the call means and may remove. Ownership is judged before anything that tells of an
/// instance's state.
fn leaving<I: InstanceView>(instances: &[I], removal: &Removal, caller: &Caller) -> Result<Vec<usize>, WriteError> {
    let is_meant = |instance: &I| removal.instance.as_ref().is_none_or(|name| instance.name() == name);
    let meant: Vec<(usize, &I)> = instances.iter().enumerate().filter(|(_, instance)| is_meant(instance)).collect();
    if meant.is_empty() {
        return Err(WriteError::InstanceNotFound);
    }
    let own = meant.iter().filter(|(_, instance)| caller.may_change(instance.owner())).count();
    let several = meant.len() > 1 && !removal.all;
    if own == 0 || (own < meant.len() && !several) {
        return Err(WriteError::NotOwner);
    }
    if several {
        return Err(WriteError::HasInstances(meant.len()));
    }
    if let Some(asked) = removal.if_generation
        && let Some((_, other)) = meant.iter().find(|(_, instance)| instance.generation() != Some(asked))
    {
        return Err(WriteError::StaleGeneration { asked, current: other.generation().unwrap_or(0) });
    }
    Ok(meant.into_iter().map(|(at, _)| at).collect())
}
