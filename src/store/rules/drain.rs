//! Draining: carries out what the rules of [`registration`] decide.

use std::sync::Arc;

use super::state::Work;
use crate::model::ports::{Caller, DrainChange, WriteError};
use crate::model::registration::{self, Current, DrainStep};
use crate::model::service::{Drain, Owner, Service};
use crate::model::text;
use crate::store::queue::job::DrainCall;
use crate::store::schema::write::{HistoryRow, Write};

impl Work<'_> {
    /// Drains an instance, or ends that. Returns the service as it is then.
    pub(crate) fn drain(&mut self, call: &DrainCall) -> Result<Arc<Service>, WriteError> {
        let DrainCall { instance, change, caller } = call;
        let entry = self.find(&instance.service).ok_or(WriteError::ServiceNotFound)?;
        let old = entry.service();
        let current = Some(Current::from(&**old));
        let step = registration::drain(&old.key, current, instance, change, caller, self.now)?;
        let DrainStep::Set(at, drain) = step else { return Ok(Arc::clone(old)) };
        let row = self.row(old)?;
        let mut service = Service::clone(old);
        let Some(instance) = service.instances.get_mut(at) else { return Err(WriteError::InstanceNotFound) };
        instance.drain = drain;
        let instance = instance.clone();
        let service = self.put(service, entry.last_check().clone());
        let message = sentence(instance.drain.as_deref(), change, caller);
        self.writes.push(Write::Touch(row, Arc::clone(&service)));
        self.writes.push(Write::PutDrain(Arc::clone(&service), instance.id));
        self.writes.push(Write::History(HistoryRow::drain(&service, &instance, self.now, message)));
        Ok(service)
    }
}

fn sentence(drain: Option<&Drain>, change: &DrainChange, caller: &Caller) -> String {
    match (drain, change) {
        (Some(drain), _) => drained(drain),
        (None, DrainChange::Expire(_)) => "its drain ended by itself".to_owned(),
        (None, _) => match &caller.owner {
            Owner::Anonymous => "its drain was ended".to_owned(),
            Owner::Token { subject, .. } => format!("its drain was ended by {}", text::escape(subject, 100)),
        },
    }
}

/// A drain in one sentence, for the history.
pub(super) fn drained(drain: &Drain) -> String {
    let (by, reason) = (text::escape(&drain.by, 100), text::escape(&drain.reason, 256));
    let until = drain.until.map(|until| format!(", until {until}")).unwrap_or_default();
    format!("drained by {by}{until}: {reason}")
}
