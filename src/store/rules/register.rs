//! Registering: carries out what the rules of [`registration`] decide.

use std::sync::Arc;

use uuid::Uuid;

use super::state::Work;
use crate::catalog::{Entry, LastCheck};
use crate::model::name::{CheckName, InstanceName};
use crate::model::ports::{Registered, Registration, ReplacedUrl, WriteError};
use crate::model::registration::{self, Change, Current, Limits};
use crate::model::service::{Instance, InstanceId, Owner, Service, Source};
use crate::model::time::UnixMs;
use crate::store::queue::job::{Origin, Register};
use crate::store::schema::codec::int;
use crate::store::schema::write::{HistoryRow, SpecColumns, Write};

impl Work<'_> {
    /// Adds, changes or renews an instance.
    pub(crate) fn register(&mut self, mut call: Register) -> Result<Registered, WriteError> {
        let entry = self.state.snapshot.get(call.registration.key().as_str()).cloned();
        let instances = entry.as_ref().map(|entry| &entry.service().instances[..]);
        call.registration.instance = registration::name_of(instances.unwrap_or_default(), &call.registration);
        let current = entry.as_ref().map(|entry| Current::from(&**entry.service()));
        let change = registration::register(current, &call.registration, &call.caller, self.limits_now())?;
        match (change, entry) {
            (Change::Renew { generation }, Some(entry)) => {
                let service = Arc::clone(entry.service());
                let instance = call.registration.instance;
                Ok(Registered { service, instance, generation, renewed: true, replaced: Vec::new() })
            }
            (Change::Add(at), Some(entry)) => self.add(&entry, at, call),
            (Change::Update { at, restart, replaced }, Some(entry)) => self.update(&entry, at, restart, replaced, call),
            (_, _) => Ok(self.create(call)),
        }
    }

    fn limits_now(&self) -> Limits {
        Limits {
            max_services: self.limits.services,
            services: self.state.rest,
            max_instances: self.limits.instances,
            instances: self.state.snapshot.total().instances,
            per_service: None,
        }
    }

    fn create(&mut self, call: Register) -> Registered {
        let key = call.registration.key();
        let row = int(self.next_number());
        let registered_at = self.first_registered(&call.origin);
        let id = call.origin.id.unwrap_or_else(Uuid::now_v7);
        let instance = self.instance(call.registration, call.caller.owner, call.origin);
        let service = Service {
            id,
            key,
            source: Source::Rest,
            registered_at,
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
        self.added(row, service, 0, call.columns)
    }

    fn add(&mut self, entry: &Entry, at: usize, call: Register) -> Result<Registered, WriteError> {
        let row = self.row(entry.service())?;
        let mut service = Service::clone(entry.service());
        let instance = self.instance(call.registration, call.caller.owner, call.origin);
        service.instances.insert(at, instance);
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, Arc::clone(&service)));
        Ok(self.added(row, service, at, call.columns))
    }

    fn update(
        &mut self,
        entry: &Entry,
        at: usize,
        restart: bool,
        replaced: Vec<ReplacedUrl>,
        call: Register,
    ) -> Result<Registered, WriteError> {
        let row = self.row(entry.service())?;
        let mut service = Service::clone(entry.service());
        let Some(instance) = service.instances.get_mut(at) else { return Err(WriteError::InstanceNotFound) };
        let before = instance.clone();
        instance.spec = Arc::new(call.registration.spec);
        if restart {
            self.restart(instance);
        }
        let after = instance.clone();
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, Arc::clone(&service)));
        self.writes.push(Write::PutInstance(Arc::clone(&service), after.id, call.columns));
        if restart {
            self.writes.push(Write::DropNamedProbes(after.id));
        }
        if before.health != after.health {
            let message = "registered again with another address or check".to_owned();
            self.writes.push(Write::History(HistoryRow::health(&service, &before, &after, self.now, message)));
        }
        Ok(Registered { service, instance: after.name, generation: after.generation, renewed: false, replaced })
    }

    /// A new instance: its id is its first generation, so that neither is ever given twice.
    fn instance(&mut self, registration: Registration, owner: Owner, origin: Origin) -> Instance {
        let number = self.next_number();
        let unproved = registration.spec.unproved(self.limits.interval);
        let (id, spec) = (InstanceId(int(number)), Arc::new(registration.spec));
        let created_at = self.first_registered(&origin);
        let new = Instance::new(id, registration.instance, spec, unproved, self.now);
        Instance { owner, generation: number, created_at, drain: origin.drain, ..new }
    }

    /// Never in the future: another machine's clock may have been ahead.
    fn first_registered(&self, origin: &Origin) -> UnixMs {
        origin.registered_at.filter(|at| *at <= self.now).unwrap_or(self.now)
    }

    /// What it proved at its old address or with its old check no longer counts.
    fn restart(&mut self, instance: &mut Instance) {
        let (health, reason) = instance.spec.unproved(self.limits.interval);
        if (instance.health, instance.reason) != (health, reason) {
            instance.since = self.now;
        }
        (instance.health, instance.reason) = (health, reason);
        (instance.decided_by, instance.warning, instance.observed_version) = (CheckName::default(), None, None);
        instance.also_failing = Box::default();
        instance.generation = self.next_number();
    }

    fn added(&mut self, row: i64, service: Arc<Service>, at: usize, columns: SpecColumns) -> Registered {
        let of = |i: &Instance| (i.id, i.name.clone(), i.generation);
        let (id, instance, generation) =
            service.instances.get(at).map_or_else(|| (InstanceId(0), InstanceName::default(), 0), of);
        self.writes.push(Write::AddInstance(row, Arc::clone(&service), id, columns));
        Registered { service, instance, generation, renewed: false, replaced: Vec::new() }
    }
}
