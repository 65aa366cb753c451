//! The rules of registering, draining and deregistering, for every place in which a registration becomes durable. Pure.
//!
//! The standalone store applies a [`Change`] to its catalog and its file; in a cluster the registrar applies it to the object in
//! the Kubernetes API.

use std::sync::Arc;

use uuid::Uuid;

use super::name::{InstanceName, MAX_LABEL, ServiceKey, suggest};
use super::outcome::Health;
use super::ports::{
    Caller, DrainChange, DrainOrder, FullService, InstanceRef, Registered, Registration, Removal, RemovalScope,
    ReplacedUrl, ServiceRef, WriteError,
};
use super::service::{Drain, Instance, InstanceSpec, MAX_INSTANCES_PER_SERVICE, Owner, Service, Source};
use super::time::UnixMs;
use super::url::Host;

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
    /// Its drain, if it has one.
    fn drain(&self) -> Option<&Arc<Drain>>;
    /// Whether readers do not see it, since its service has more instances than the policies of its namespace allow.
    fn is_beyond_limit(&self) -> bool;
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

    fn drain(&self) -> Option<&Arc<Drain>> {
        self.drain.as_ref()
    }

    fn is_beyond_limit(&self) -> bool {
        // The catalog has none of these.
        false
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
    /// Most instances of this service, where the policies of its namespace say so.
    pub per_service: Option<usize>,
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

/// What `registration` changes, where `current` is what is registered under its key. A call whose name is derived must have been given the
/// name by [`name_of`].
///
/// # Errors
/// The refusal: another owner's name, an external id that another instance has at this address, a manifest's service, a service that is
/// being deleted, or a bound that is reached.
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
    if let Some(other) = same_external_id(current.instances, registration)
        && *other.name() != registration.instance
    {
        return Err(WriteError::ExternalIdTaken(other.name().clone()));
    }
    match current.instances.binary_search_by(|instance| instance.name().cmp(&registration.instance)) {
        Ok(at) => update(current.instances, at, registration, caller, limits),
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
    if let Some(most) = limits.per_service.filter(|most| instances.len() >= *most) {
        return Err(WriteError::FullByPolicy(most));
    }
    limits.admit_instance()?;
    Ok(Change::Add(at))
}

fn update<I: InstanceView>(
    instances: &[I],
    at: usize,
    registration: &Registration,
    caller: &Caller,
    limits: Limits,
) -> Result<Change, WriteError> {
    let Some(instance) = instances.get(at) else { return Err(WriteError::InstanceNotFound) };
    if !caller.may_change(instance.owner()) {
        return Err(WriteError::NotOwner);
    }
    // Those that were removed since it was left out may have made room for it.
    if let Some(most) = limits.per_service.filter(|most| instance.is_beyond_limit() && instances.len() > *most) {
        return Err(WriteError::FullByPolicy(most));
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
    let name = name_of(&service.instances, registration);
    let instance = service.instance(name.as_str())?;
    let same =
        service.source == Source::Rest && caller.may_change(&instance.owner) && *instance.spec == registration.spec;
    let generation = InstanceView::generation(instance).filter(|_| same)?;
    Some(Registered { service: Arc::clone(service), instance: name, generation, renewed: true, replaced: Vec::new() })
}

/// What `removal` takes away of `current`, the service with that key.
///
/// # Errors
/// The refusal: nothing there, another owner's, a manifest's, several instances without `all`, another generation, or a last instance that
/// Portolan must not remove by itself.
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
    if leaving.len() < current.instances.len() {
        return Ok(Removed::Instances(leaving));
    }
    let is_spared = |instance: &I| !instance.spec().is_some_and(InstanceSpec::asks_for_removal);
    if removal.why.is_some() && current.instances.iter().any(is_spared) {
        return Err(WriteError::LastInstance);
    }
    Ok(Removed::Service)
}

/// The positions of the instances that the call means and may remove. Ownership is judged before anything that tells of an
/// instance's state.
fn leaving<I: InstanceView>(instances: &[I], removal: &Removal, caller: &Caller) -> Result<Vec<usize>, WriteError> {
    let is_meant = |instance: &I| match &removal.scope {
        RemovalScope::Service => true,
        RemovalScope::Instance(name) => instance.name() == name,
        RemovalScope::ExternalId(id) => instance.spec().is_some_and(|spec| spec.external_id.as_ref() == Some(id)),
    };
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
        return Err(match removal.scope {
            RemovalScope::ExternalId(_) => WriteError::SharedExternalId(meant.len()),
            RemovalScope::Service | RemovalScope::Instance(_) => WriteError::HasInstances(meant.len()),
        });
    }
    if let Some(asked) = removal.if_generation
        && let Some((_, other)) = meant.iter().find(|(_, instance)| instance.generation() != Some(asked))
    {
        return Err(WriteError::StaleGeneration { asked, current: other.generation().unwrap_or(0) });
    }
    Ok(meant.into_iter().map(|(at, _)| at).collect())
}

/// What a call changes of an instance's drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainStep {
    /// Nothing.
    Nothing,
    /// The instance at this position has this drain from now on, or none.
    Set(usize, Option<Arc<Drain>>),
}

/// What `change` does to the drain of `instance`, where `current` is the service with that key.
///
/// # Errors
/// The refusal: nothing there, another owner's, or a manifest's.
pub fn drain<I: InstanceView>(
    key: &ServiceKey,
    current: Option<Current<'_, I>>,
    instance: &InstanceRef,
    change: &DrainChange,
    caller: &Caller,
    now: UnixMs,
) -> Result<DrainStep, WriteError> {
    let current = current.filter(|current| !current.deleting).ok_or(WriteError::ServiceNotFound)?;
    if matches!(instance.service, ServiceRef::Id(id) if current.id != Some(id)) {
        return Err(WriteError::ServiceNotFound);
    }
    if current.source == Source::Manifest {
        return Err(WriteError::ManifestDrain { service: key.clone(), instance: instance.instance.clone() });
    }
    let at = current.instances.binary_search_by(|one| one.name().cmp(&instance.instance));
    let (at, found) =
        at.ok().and_then(|at| Some((at, current.instances.get(at)?))).ok_or(WriteError::InstanceNotFound)?;
    if !caller.may_change(found.owner()) {
        return Err(WriteError::NotOwner);
    }
    let old = found.drain();
    let new = match change {
        DrainChange::Start(order) => Some(started(order, old, now)),
        DrainChange::End => None,
        DrainChange::Expire(until) if old.is_some_and(|old| old.until == Some(*until)) => None,
        DrainChange::Expire(_) => return Ok(DrainStep::Nothing),
    };
    Ok(if old.map(|old| &**old) == new.as_ref() { DrainStep::Nothing } else { DrainStep::Set(at, new.map(Arc::new)) })
}

/// The drain by that order. One that only gets another reason or end began when it began.
fn started(order: &DrainOrder, old: Option<&Arc<Drain>>, now: UnixMs) -> Drain {
    let DrainOrder { reason, by, until } = order.clone();
    Drain { reason, by, since: old.map_or(now, |old| old.since), until }
}

/// The name under which `registration` registers among `instances`: the given one. One that is derived from an external id is that of the
/// instance that has this id at this address, else a new one: the id itself if it is a label, else the label most similar to it with a
/// hash; if an instance at another address has that name, a hash that includes the address is added.
pub fn name_of<I: InstanceView>(instances: &[I], registration: &Registration) -> InstanceName {
    let given = &registration.instance;
    let Some(id) = registration.spec.external_id.as_ref().filter(|_| registration.derived) else {
        return given.clone();
    };
    if let Some(known) = same_external_id(instances, registration) {
        return known.name().clone();
    }
    let is_free = |name: &InstanceName| match instances.iter().find(|instance| instance.name() == name) {
        None => true,
        // Registered under this name before, without the id.
        Some(known) => {
            known.spec().is_some_and(|spec| spec.external_id.is_none() && address(spec) == address(&registration.spec))
        }
    };
    let (host, port) = address(&registration.spec);
    let place = format!("{host}:{port}");
    let mut candidates = (0..=instances.len()).map(|more| {
        let more = if more == 0 { String::new() } else { more.to_string() };
        hashed(id, &[id, &place, &more])
    });
    // There are more candidates than instances; only a hash that is the same for several could leave none.
    std::iter::once(given.clone()).chain(candidates.by_ref()).find(is_free).unwrap_or_else(|| given.clone())
}

/// The name of the first instance that is registered with an external id: the id itself if it is a label, else the label most similar to
/// it with a hash of it.
///
/// ```
/// use portolan::model::registration::derived_name;
///
/// assert_eq!(derived_name("web-1").as_str(), "web-1");
/// assert_eq!(derived_name("192.0.2.2:user-service:18090").as_str(), "192-0-2-2-user-service-18090-7703c3");
/// ```
pub fn derived_name(external_id: &str) -> InstanceName {
    external_id.parse().unwrap_or_else(|_| hashed(external_id, &[external_id]))
}

/// The label most similar to `text`, and 6 hex digits of a hash of `parts`.
fn hashed(text: &str, parts: &[&str]) -> InstanceName {
    // FNV-1a (RFC 9923): the same in every version, since a name outlasts the server that derived it.
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 24) ^ (hash >> 48)) & 0xff_ffff;
    let mut slug = suggest(text).unwrap_or_else(|| "id".to_owned());
    // Room for a dash and the digits.
    slug.truncate(MAX_LABEL - 7);
    let slug = slug.trim_end_matches('-');
    format!("{slug}-{hash:06x}").parse().unwrap_or_default()
}

/// The instance with the registration's external id at its address. There is at most one, except in a manifest.
fn same_external_id<'a, I: InstanceView>(instances: &'a [I], registration: &Registration) -> Option<&'a I> {
    let (id, at) = (registration.spec.external_id.as_ref()?, address(&registration.spec));
    instances.iter().find(|instance| {
        instance.spec().is_some_and(|spec| spec.external_id.as_ref() == Some(id) && address(spec) == at)
    })
}

/// Where clients reach it.
fn address(spec: &InstanceSpec) -> (&Host, u16) {
    (spec.base_url.host(), spec.base_url.port())
}
