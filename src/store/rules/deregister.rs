//! The rules of deregistering.

use std::sync::Arc;

use crate::catalog::Entry;
use crate::model::ports::{Caller, Removal, ServiceRef, WriteError};
use crate::model::service::{Instance, Owner, Service, Source};
use crate::model::text;

use super::state::Work;
use crate::store::queue::job::Remove;
use crate::store::schema::write::{Past, Write};

impl Work<'_> {
    /// Removes an instance or a service.
    pub(in crate::store) fn deregister(&mut self, call: &Remove) -> Result<(), WriteError> {
        let entry = self.meant(&call.removal.service).ok_or(WriteError::ServiceNotFound)?;
        let service = Arc::clone(entry.service());
        if service.source == Source::Manifest {
            return Err(WriteError::ManifestOwned(service.key.clone()));
        }
        let gone = leaving(&service, &call.removal, &call.caller)?;
        let row = self.row(&service)?;
        for instance in &gone {
            self.writes.push(Write::Remember(farewell(&service, instance, &call.caller, self.now)));
        }
        if gone.len() == service.instances.len() {
            self.remove(row, &service);
        } else {
            self.shrink(row, &entry, &gone);
        }
        Ok(())
    }

    fn meant(&self, service: &ServiceRef) -> Option<Arc<Entry>> {
        match service {
            ServiceRef::Id(id) => self.state.snapshot.by_id(id),
            ServiceRef::Key(key) => self.state.snapshot.get(key.as_str()),
        }
        .cloned()
    }

    fn shrink(&mut self, row: i64, entry: &Entry, gone: &[&Instance]) {
        let mut service = Service::clone(entry.service());
        service.instances.retain(|i| gone.iter().all(|g| g.id != i.id));
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, service));
        self.writes.extend(gone.iter().map(|i| Write::DropInstance(i.id)));
    }
}

/// The instances that the call means and may remove. Ownership is judged before anything that tells of the instance's state.
fn leaving<'a>(service: &'a Service, removal: &Removal, caller: &Caller) -> Result<Vec<&'a Instance>, WriteError> {
    let gone: Vec<&Instance> = match &removal.instance {
        Some(name) => vec![service.instance(name.as_str()).ok_or(WriteError::InstanceNotFound)?],
        None => service.instances.iter().collect(),
    };
    let mine = gone.iter().filter(|i| caller.may_change(&i.owner)).count();
    let several = gone.len() > 1 && !removal.all;
    if mine == 0 || (mine < gone.len() && !several) {
        return Err(WriteError::NotOwner);
    }
    if several {
        return Err(WriteError::HasInstances(gone.len()));
    }
    let Some(asked) = removal.if_generation else { return Ok(gone) };
    match gone.iter().find(|i| i.generation != asked) {
        Some(instance) => Err(WriteError::StaleGeneration { asked, current: instance.generation }),
        None => Ok(gone),
    }
}

fn farewell(service: &Service, instance: &Instance, caller: &Caller, at: crate::model::time::UnixMs) -> Past {
    let who = match &caller.owner {
        Owner::Anonymous => String::new(),
        Owner::Token { subject, .. } => format!(" by {}", text::escape(subject, 100)),
    };
    Past {
        service: service.id,
        key: service.key.clone(),
        instance: instance.name.clone(),
        at,
        from: instance.health,
        to: None,
        message: format!("deregistered{who}; it was registered at {}", instance.created_at),
        evidence: None,
    }
}
