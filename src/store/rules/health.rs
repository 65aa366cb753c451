//! What the prober found: changes of health, and probe rows.

use std::sync::Arc;

use crate::model::service::{InstanceId, Service};

use super::state::Work;
use crate::store::schema::write::{EncodedProbe, HistoryRow, Verdict, Write};

impl Work<'_> {
    /// Applies each change whose generation is current; returns for each whether it was.
    pub(crate) fn apply_verdicts(&mut self, verdicts: Vec<Verdict>) -> Vec<bool> {
        verdicts.into_iter().map(|verdict| self.apply_verdict(verdict).is_some()).collect()
    }

    fn apply_verdict(&mut self, verdict: Verdict) -> Option<()> {
        let entry = Arc::clone(self.state.snapshot.get(self.index.service_of(verdict.instance)?.as_str())?);
        let at = position(entry.service(), verdict.instance, verdict.generation)?;
        let row = self.row(entry.service()).ok()?;
        let old = entry.service().instances.get(at)?;
        // Only a mirror keeps the message, for status.
        let message = verdict.message.as_deref().filter(|_| self.state.mirror.is_some());
        let says_more = message.is_some_and(|message| old.message.as_deref() != Some(message));
        if (old.health, old.reason, old.since) == (verdict.health, verdict.reason, verdict.since) && !says_more {
            // No reader could notice it.
            self.writes.push(Write::PutState(verdict.instance, verdict.generation, verdict.state));
            return Some(());
        }
        let mut service = Service::clone(entry.service());
        let instance = service.instances.get_mut(at)?;
        (instance.health, instance.reason, instance.since) = (verdict.health, verdict.reason, verdict.since);
        let name = instance.name.clone();
        if let Some(mirror) = &self.state.mirror {
            instance.message = verdict.message.map(Into::into);
            service.unreported = Some(mirror.replica);
            service.updated_at = service.updated_at.max(verdict.since);
        }
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, Arc::clone(&service)));
        let past = verdict.transition.map(|t| HistoryRow {
            service: service.id,
            key: service.key.clone(),
            instance: name,
            at: t.at,
            from: t.from,
            to: Some((t.to, t.reason)),
            message: t.message,
            evidence: verdict.evidence,
        });
        self.writes.push(Write::PutHealth(service, verdict.instance, verdict.state));
        self.writes.extend(past.map(Write::History));
        Some(())
    }

    /// Keeps the rows whose generation is current. A mirror keeps none: a new leader starts from the published health.
    pub(crate) fn put_probes(&mut self, rows: Vec<EncodedProbe>) {
        if self.state.mirror.is_some() {
            return;
        }
        for row in rows {
            let current = self
                .index
                .service_of(row.instance)
                .and_then(|key| self.state.snapshot.get(key.as_str()))
                .is_some_and(|entry| position(entry.service(), row.instance, row.generation).is_some());
            if current {
                self.writes.push(Write::PutProbe(row));
            }
        }
    }
}

fn position(service: &Service, id: InstanceId, generation: u64) -> Option<usize> {
    service.instances.iter().position(|i| i.id == id && i.generation == generation)
}
