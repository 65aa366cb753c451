//! What the prober found: changes of health, and probe rows.

use std::sync::Arc;

use crate::model::history::HistoryEvent;
use crate::model::service::{Instance, InstanceId, Service};

use super::state::Work;
use crate::store::schema::write::{EncodedProbe, HistoryRow, Verdict, Write};

impl Work<'_> {
    /// Applies each change whose generation is current; returns for each whether it was.
    pub(crate) fn apply_verdicts(&mut self, verdicts: Vec<Verdict>) -> Vec<bool> {
        verdicts.into_iter().map(|verdict| self.apply_verdict(verdict).is_some()).collect()
    }

    fn apply_verdict(&mut self, mut verdict: Verdict) -> Option<()> {
        let id = verdict.state.instance;
        let entry = Arc::clone(self.state.snapshot.get(self.index.service_of(id)?.as_str())?);
        let at = position(entry.service(), id, verdict.state.generation)?;
        let row = self.row(entry.service()).ok()?;
        let old = entry.service().instances.get(at)?;
        if old.spec.check.is_readiness() {
            keep_readiness(&mut verdict, old);
        }
        // Only a mirror keeps the message, for status.
        let message = verdict.message.as_deref().filter(|_| self.state.mirror.is_some());
        let says_more = message.is_some_and(|message| old.message.as_deref() != Some(message));
        if says_what_is_known(&verdict, old) && !says_more {
            // No reader could notice it.
            self.writes.push(Write::PutState(verdict.state));
            return Some(());
        }
        let mut service = Service::clone(entry.service());
        let instance = service.instances.get_mut(at)?;
        (instance.health, instance.reason, instance.since) = (verdict.health, verdict.reason, verdict.since);
        instance.decided_by = verdict.state.check.clone();
        (instance.warning, instance.observed_version) = (verdict.warning, verdict.observed_version);
        instance.also_failing = verdict.also_failing;
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
            event: HistoryEvent::Health,
            from: t.from,
            to: Some((t.to, t.reason)),
            check: t.check,
            message: t.message,
            evidence: verdict.evidence,
        });
        self.writes.push(Write::PutHealth(service, id));
        self.writes.push(Write::PutState(verdict.state));
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

/// What probes find beside the readiness that Kubernetes reports is a warning, and changes no health.
fn keep_readiness(verdict: &mut Verdict, old: &Instance) {
    (verdict.health, verdict.reason, verdict.since) = (old.health, old.reason, old.since);
    verdict.state.check = old.decided_by.clone();
    verdict.message = old.message.as_deref().map(str::to_owned);
    verdict.transition = None;
}

/// Whether no reader could notice the verdict.
fn says_what_is_known(new: &Verdict, old: &Instance) -> bool {
    (old.health, old.reason, old.since) == (new.health, new.reason, new.since)
        && old.decided_by == new.state.check
        && old.warning == new.warning
        && old.also_failing == new.also_failing
        && old.observed_version == new.observed_version
}

fn position(service: &Service, id: InstanceId, generation: u64) -> Option<usize> {
    service.instances.iter().position(|i| i.id == id && i.generation == generation)
}
