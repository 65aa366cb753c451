//! Registering: carries out what the rules of [`registration`] decide.

use std::sync::Arc;

use uuid::Uuid;

use super::state::Work;
use crate::catalog::{Entry, LastCheck};
use crate::model::ports::{Registered, Registration, ReplacedUrl, WriteError};
use crate::model::registration::{self, Change, Current, Limits};
use crate::model::service::{Instance, InstanceId, Owner, Service, Source};
use crate::store::queue::job::Register;
use crate::store::schema::codec::int;
use crate::store::schema::write::{HistoryRow, SpecColumns, Write};

impl Work<'_> {
    /// Adds, changes or renews an instance.
    pub(crate) fn register(&mut self, call: Register) -> Result<Registered, WriteError> {
        let entry = self.state.snapshot.get(call.registration.key().as_str()).cloned();
        let current = entry.as_ref().map(|entry| Current::from(&**entry.service()));
        let change = registration::register(current, &call.registration, &call.caller, self.limits_now())?;
        match (change, entry) {
            (Change::Renew { generation }, Some(entry)) => {
                let service = Arc::clone(entry.service());
                Ok(Registered { service, generation, renewed: true, replaced: Vec::new() })
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
        }
    }

    fn create(&mut self, call: Register) -> Registered {
        let key = call.registration.key();
        let row = int(self.next_number());
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
        self.added(row, service, 0, call.columns)
    }

    fn add(&mut self, entry: &Entry, at: usize, call: Register) -> Result<Registered, WriteError> {
        let row = self.row(entry.service())?;
        let mut service = Service::clone(entry.service());
        let instance = self.instance(call.registration, call.caller.owner);
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
        let before = instance.health;
        instance.spec = Arc::new(call.registration.spec);
        if restart {
            self.restart(instance);
        }
        let (id, generation) = (instance.id, instance.generation);
        let history = (before != instance.health).then(|| HistoryRow {
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
        self.writes.extend(history.map(Write::History));
        Ok(Registered { service, generation, renewed: false, replaced })
    }

    /// A new instance: its id is its first generation, so that neither is ever given twice.
    fn instance(&mut self, registration: Registration, owner: Owner) -> Instance {
        let number = self.next_number();
        let (health, reason) = registration.spec.unproved(self.limits.interval);
        Instance {
            id: InstanceId(int(number)),
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

    /// What it proved at its old address or with its old check no longer counts.
    fn restart(&mut self, instance: &mut Instance) {
        let (health, reason) = instance.spec.unproved(self.limits.interval);
        if (instance.health, instance.reason) != (health, reason) {
            instance.since = self.now;
        }
        (instance.health, instance.reason) = (health, reason);
        instance.generation = self.next_number();
    }

    fn added(&mut self, row: i64, service: Arc<Service>, at: usize, columns: SpecColumns) -> Registered {
        let (id, generation) = service.instances.get(at).map_or((InstanceId(0), 0), |i| (i.id, i.generation));
        self.writes.push(Write::AddInstance(row, Arc::clone(&service), id, columns));
        Registered { service, generation, renewed: false, replaced: Vec::new() }
    }
}
