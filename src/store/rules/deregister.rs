//! Deregistering: carries out what the rules of [`registration`] decide.

use std::sync::Arc;

use super::state::Work;
use crate::catalog::Entry;
use crate::model::ports::{ServiceRef, WriteError};
use crate::model::registration::{self, Current, Removed};
use crate::model::service::{Instance, Owner, Service};
use crate::model::text;
use crate::store::queue::job::Remove;
use crate::store::schema::write::{HistoryRow, Write};

impl Work<'_> {
    /// Removes an instance or a service.
    pub(crate) fn deregister(&mut self, call: &Remove) -> Result<(), WriteError> {
        let entry = self.find(&call.removal.service).ok_or(WriteError::ServiceNotFound)?;
        let service = Arc::clone(entry.service());
        let removed =
            registration::deregister(&service.key, Some(Current::from(&*service)), &call.removal, &call.caller)?;
        let row = self.row(&service)?;
        let leaving: Vec<&Instance> = match &removed {
            Removed::Service => service.instances.iter().collect(),
            Removed::Instances(at) => at.iter().filter_map(|at| service.instances.get(*at)).collect(),
        };
        for instance in &leaving {
            let message = sentence(instance, call);
            self.writes.push(Write::History(HistoryRow::removal(&service, instance, self.now, message)));
        }
        match removed {
            Removed::Service => self.remove(row, &service),
            Removed::Instances(_) => self.shrink(row, &entry, &leaving),
        }
        Ok(())
    }

    pub(super) fn find(&self, service: &ServiceRef) -> Option<Arc<Entry>> {
        match service {
            ServiceRef::Id(id) => self.state.snapshot.by_id(id),
            ServiceRef::Key(key) => self.state.snapshot.get(key.as_str()),
        }
        .cloned()
    }

    fn shrink(&mut self, row: i64, entry: &Entry, leaving: &[&Instance]) {
        let mut service = Service::clone(entry.service());
        service.instances.retain(|i| leaving.iter().all(|gone| gone.id != i.id));
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, service));
        self.writes.extend(leaving.iter().map(|i| Write::DropInstance(i.id)));
    }
}

fn sentence(instance: &Instance, call: &Remove) -> String {
    let registered = format!("it was registered at {}", instance.created_at);
    if let Some(why) = &call.removal.why {
        return format!("removed: {why}; {registered}");
    }
    match &call.caller.owner {
        Owner::Anonymous => format!("deregistered; {registered}"),
        Owner::Token { subject, .. } => format!("deregistered by {}; {registered}", text::escape(subject, 100)),
    }
}
