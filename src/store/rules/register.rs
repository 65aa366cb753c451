//! The rules of registering: upsert by (namespace, service, instance), owners, limits, generations.

use std::sync::Arc;

use uuid::Uuid;

use crate::catalog::{Entry, LastCheck, Snapshot};
use crate::model::check::Plan;
use crate::model::outcome::{Health, Reason};
use crate::model::ports::{Caller, FullService, Registered, Registration, ReplacedUrl, WriteError};
use crate::model::service::{Instance, InstanceId, InstanceSpec, MAX_INSTANCES_PER_SERVICE, Owner, Service, Source};

use super::state::Work;
use crate::store::queue::job::Register;
use crate::store::schema::codec::int;
use crate::store::schema::write::{Past, SpecColumns, Write};

/// The answer when the call only repeats what the snapshot holds: nothing to write, no revision to move.
pub(in crate::store) fn renewal(
    snapshot: &Snapshot,
    registration: &Registration,
    caller: &Caller,
) -> Option<Registered> {
    let entry = snapshot.find(registration.namespace.as_str(), registration.service.as_str())?;
    let instance = entry.service().instance(registration.instance.as_str())?;
    let same = entry.service().source == Source::Rest
        && caller.may_change(&instance.owner)
        && *instance.spec == registration.spec;
    same.then(|| Registered {
        service: Arc::clone(entry.service()),
        generation: instance.generation,
        renewed: true,
        replaced: Vec::new(),
    })
}

fn full(service: &Service) -> FullService {
    let unhealthy = |i: &Instance| (i.health == Health::Unhealthy).then_some(i.since);
    FullService::of(service.instances.iter().map(|i| (&i.name, unhealthy(i))))
}

impl Work<'_> {
    /// Adds, changes or renews an instance.
    pub(in crate::store) fn register(&mut self, call: Register) -> Result<Registered, WriteError> {
        if let Some(renewed) = renewal(&self.state.snapshot, &call.registration, &call.caller) {
            return Ok(renewed);
        }
        let key = call.registration.key();
        let Some(entry) = self.state.snapshot.get(key.as_str()).cloned() else { return self.create(call) };
        if entry.service().source == Source::Manifest {
            return Err(WriteError::ManifestOwned(key));
        }
        let name = call.registration.instance.as_str();
        match entry.service().instances.binary_search_by(|i| i.name.as_str().cmp(name)) {
            Ok(at) => self.change(&entry, at, call),
            Err(at) => self.join(&entry, at, call),
        }
    }

    fn create(&mut self, call: Register) -> Result<Registered, WriteError> {
        let most = self.limits.services;
        if most > 0 && self.state.rest >= most {
            return Err(WriteError::TooManyServices(most));
        }
        self.room_for_instance()?;
        let key = call.registration.key();
        let row = int(self.number());
        let instance = self.instance(call.registration, call.caller.owner);
        let service = Service {
            id: Uuid::now_v7(),
            key,
            source: Source::Rest,
            registered_at: self.now,
            updated_at: self.now,
            revision: 0,
            sequence: 0,
            unreported: None,
            instances: vec![instance],
        };
        self.added.insert(service.id, row);
        self.state.rest += 1;
        let service = self.put(service, LastCheck::default());
        self.writes.push(Write::AddService(row, Arc::clone(&service)));
        Ok(self.added(row, service, 0, call.columns))
    }

    /// A further instance speaks under the service's name, so it takes an owner of one that is there: else any token could
    /// draw a name's traffic to itself.
    fn join(&mut self, entry: &Entry, at: usize, call: Register) -> Result<Registered, WriteError> {
        if !entry.service().instances.iter().any(|i| call.caller.may_change(&i.owner)) {
            return Err(WriteError::NotOwner);
        }
        if entry.service().instances.len() >= MAX_INSTANCES_PER_SERVICE {
            return Err(WriteError::ServiceFull(full(entry.service())));
        }
        self.room_for_instance()?;
        let row = self.row(entry.service())?;
        let mut service = Service::clone(entry.service());
        let instance = self.instance(call.registration, call.caller.owner);
        service.instances.insert(at, instance);
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, Arc::clone(&service)));
        Ok(self.added(row, service, at, call.columns))
    }

    fn change(&mut self, entry: &Entry, at: usize, call: Register) -> Result<Registered, WriteError> {
        let row = self.row(entry.service())?;
        let mut service = Service::clone(entry.service());
        let Some(instance) = service.instances.get_mut(at) else { return Err(WriteError::InstanceNotFound) };
        if !call.caller.may_change(&instance.owner) {
            return Err(WriteError::NotOwner);
        }
        let old = std::mem::replace(&mut instance.spec, Arc::new(call.registration.spec));
        let before = instance.health;
        let replaced = ReplacedUrl::between(&old, &instance.spec, before == Health::Healthy);
        if instance.spec.probes_differ(&old) {
            self.start_over(instance);
        }
        let (id, generation) = (instance.id, instance.generation);
        let past = (before != instance.health).then(|| Past {
            service: service.id,
            key: service.key.clone(),
            instance: instance.name.clone(),
            at: self.now,
            from: before,
            to: Some((instance.health, instance.reason)),
            message: "registered again with another address or check".to_owned(),
            evidence: None,
        });
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, Arc::clone(&service)));
        self.writes.push(Write::PutInstance(Arc::clone(&service), id, call.columns));
        self.writes.extend(past.map(Write::Remember));
        Ok(Registered { service, generation, renewed: false, replaced })
    }

    fn room_for_instance(&self) -> Result<(), WriteError> {
        let most = self.limits.instances;
        if self.state.snapshot.total().instances >= most { Err(WriteError::TooManyInstances(most)) } else { Ok(()) }
    }

    /// A new instance: its id is its first generation, so that neither is ever given twice.
    fn instance(&mut self, registration: Registration, owner: Owner) -> Instance {
        let number = self.number();
        let id = InstanceId(int(number));
        let (health, reason) = self.unproved(&registration.spec);
        Instance {
            id,
            name: registration.instance,
            spec: Arc::new(registration.spec),
            owner,
            generation: number,
            fence: None,
            created_at: self.now,
            health,
            reason,
            since: self.now,
            message: None,
        }
    }

    /// What it proved of its old address or check no longer counts.
    fn start_over(&mut self, instance: &mut Instance) {
        let (health, reason) = self.unproved(&instance.spec);
        if (instance.health, instance.reason) != (health, reason) {
            instance.since = self.now;
        }
        (instance.health, instance.reason) = (health, reason);
        instance.generation = self.number();
    }

    pub(in crate::store) fn unproved(&self, spec: &InstanceSpec) -> (Health, Reason) {
        match spec.plan(self.limits.interval) {
            Plan::Probe(..) => (Health::Unknown, Reason::Probing),
            Plan::Unchecked => (Health::Unknown, Reason::NotChecked),
        }
    }

    fn added(&mut self, row: i64, service: Arc<Service>, at: usize, columns: SpecColumns) -> Registered {
        let (id, generation) = service.instances.get(at).map_or((InstanceId(0), 0), |i| (i.id, i.generation));
        self.writes.push(Write::AddInstance(row, Arc::clone(&service), id, columns));
        Registered { service, generation, renewed: false, replaced: Vec::new() }
    }
}
